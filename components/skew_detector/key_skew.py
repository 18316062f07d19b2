"""Skew of the values themselves: the same rows on both sides, told by their keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from ...drift.by_key import KeySkew, count_skew
from ...drift.key_counts import FeatureCounts, KeyCounts
from ...drift.keys import check_keys
from ...reports.page import cut
from .choices import Choices
from .findings import Finding
from .samples import PlacedSample, placed_samples
from .sides import rows_by_key

Paths = tuple[str | os.PathLike[str] | None, str | os.PathLike[str] | None]


def compare_by_key(
    examples: Paths,
    splits: tuple[Sequence[str] | None, Sequence[str] | None],
    chosen: Choices,
    exclude: Sequence[str],
    work: str,
    beam_pipeline_args: Sequence[str] | None,
) -> tuple[KeyCounts, dict[str, list[PlacedSample]]]:
    """Return how the rows of both sides agree, joined by key, and by feature pairs that differ.

    Args:
        examples: The folders of training's and serving's examples.
        splits: The splits to use of each, all when None.
        chosen: Keys, tolerance, the rule for duplicates.
        exclude: Features to leave out: those that serving does not have, and those not wanted.
        work: A folder for what lies there meanwhile.
        beam_pipeline_args: Beam's flags.

    Raises:
        PenstockError: There are no examples of a side, or the keys are none.
    """
    training, serving = (
        rows_by_key(name, path, chosen_splits)
        for name, path, chosen_splits in zip(("training", "serving"), examples, splits, strict=True)
    )
    keys = check_keys(chosen.keys, training.schema, serving.schema)
    # A column that only the log has is no feature of the model's.
    left_out = {*keys.names, *exclude}
    features = tuple(name for name in training.schema.names if name not in left_out)
    skew = KeySkew(
        keys, features, chosen.tolerance, chosen.duplicates, chosen.samples, frozenset(exclude)
    )
    counts = count_skew(training, serving, skew, work, beam_pipeline_args)
    # Neither is None: rows_by_key refuses that.
    folders = [path for path in examples if path is not None]
    return counts, placed_samples(counts, folders, splits)


def key_findings(
    counts: KeyCounts, limits: Mapping[str, float], chosen: Choices, severity: str
) -> Iterator[Finding]:
    """Yield what the counts come to."""
    if chosen.duplicates == "refuse" and counts.duplicate_keys:
        number = counts.duplicate_keys
        yield Finding(
            "key",
            None,
            "DUPLICATE_KEYS",
            severity,
            f"{number:,} key{'s'[: number != 1]} occur{'s'[: number == 1]} more than once on a "
            f"side, such as {_first(counts.repeated)}: name more key columns, or choose what "
            "becomes of them by duplicates.",
            float(number),
            0.0,
        )
    if not counts.pairs:
        sentence = f"No row of serving has the key of a training row{_such(counts)}."
        yield Finding("key", None, "NO_PAIRS", severity, sentence, 0.0, float(chosen.min_pairs))
        return
    if counts.pairs < chosen.min_pairs:
        yield Finding(
            "key",
            None,
            "FEW_PAIRS",
            "insufficient",
            f"{counts.pairs:,} pairs by key are fewer than the {chosen.min_pairs:,} to tell by.",
            float(counts.pairs),
            float(chosen.min_pairs),
        )
    verdict = severity if counts.pairs >= chosen.min_pairs else "insufficient"
    for name, feature in counts.features.items():
        if feature.share > limits[name]:
            sentence = _sentence(name, feature, limits[name])
            yield Finding("key", name, "VALUES", verdict, sentence, feature.share, limits[name])


def _sentence(name: str, feature: FeatureCounts, limit: float) -> str:
    sentence = (
        f"{name} differs in {feature.share:.3%} of {feature.pairs:,} pairs by key, more than "
        f"{limit:.3%}"
    )
    if feature.samples:
        first = feature.samples[0]
        told = [cut(value or "missing") for value in (first.training, first.serving)]
        sentence += f" (such as {first.key}: {told[0]} in training, {told[1]} in serving)"
    return f"{sentence}."


def _first(keys: Sequence[tuple[int, str]]) -> str:
    return keys[0][1] if keys else "none kept"


def _such(counts: KeyCounts) -> str:
    if not counts.only_serving or not counts.only_training:
        return ""
    return (
        f" (such as {_first(counts.only_serving)} in serving, {_first(counts.only_training)} in "
        "training)"
    )
