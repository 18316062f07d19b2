"""Training against serving: their columns, their distributions, and their values row by row."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ...data.output import new_folder
from ...data.schemas import load_schema
from ...drift.comparison import compare
from ...drift.findings import DRIFT, INSUFFICIENT, KIND, PRESENCE
from ...errors import PenstockError
from ...reports.distribution import Plot
from ...schemas.features import dotted, environments, is_in, walk_features
from .choices import Choices, checked_choices
from .findings import Finding, Skew, checked_severity, in_order, refusal, summary_of
from .key_skew import compare_by_key, key_findings
from .overlay import overlaid_plots
from .page import skew_page, skew_summary
from .samples import PlacedSample, sample_table
from .schema_skew import columns_skew, contract_skew
from .sides import Known, known_side

PLOTTED = 50
VERDICT, SAMPLES, PAGE = "verdict.json", "samples.parquet", "skew.html"
# Measures that look at a part of the values alone.
OF_A_PART = ("missing_rate_change", "new_category_share")


@dataclass(frozen=True)
class Detected:
    """What a step gives: metadata, metrics, and the sentence to fail with, `""` when it passes."""

    metadata: dict[str, Any]
    metrics: dict[str, float]
    refusal: str

    def stop(self) -> None:
        """Fail when the verdict is `fail`.

        Raises:
            PenstockError: It is; the sentence names features, shares and a sample key.
        """
        if self.refusal:
            raise PenstockError(self.refusal)


def detect_skew(
    skew_path: str | os.PathLike[str],
    *,
    training_examples_path: str | os.PathLike[str] | None = None,
    serving_examples_path: str | os.PathLike[str] | None = None,
    training_statistics_path: str | os.PathLike[str] | None = None,
    serving_statistics_path: str | os.PathLike[str] | None = None,
    schema_path: str | os.PathLike[str] | None = None,
    report_path: str | os.PathLike[str] | None = None,
    summary_path: str | os.PathLike[str] | None = None,
    keys: Sequence[str] | None = None,
    training_splits: Sequence[str] | None = None,
    serving_splits: Sequence[str] | None = None,
    environment: str = "SERVING",
    exclude_features: Sequence[str] | None = None,
    tolerance: Mapping[str, float] | None = None,
    duplicates: str = "refuse",
    max_skew: Mapping[str, float] | None = None,
    min_pairs: int = 1000,
    rules: Sequence[Mapping[str, Any]] | None = None,
    severity: Mapping[str, str] | None = None,
    samples: int = 5,
    beam_pipeline_args: Sequence[str] | None = None,
) -> Detected:
    """Compare training with serving, and write what was found; nothing fails until `stop`.

    Args:
        skew_path: The folder to write.
        training_examples_path: The folder of the examples that training reads.
        serving_examples_path: The folder of the rows that serving logged.
        training_statistics_path: The folder of training's statistics, in place of a pass over it.
        serving_statistics_path: Likewise of serving.
        schema_path: The folder of a schema.
        report_path: Where the page shall lie a second time, for Kubeflow's UI.
        summary_path: Where the Markdown summary shall lie.
        keys: Key columns; no comparison by key without.
        training_splits: Splits to use; all when None.
        serving_splits: Likewise of serving.
        environment: The environment of the schema that serving rows belong to.
        exclude_features: Columns to leave out.
        tolerance: `relative` and `absolute`; see `penstock.drift.equality.Tolerance`.
        duplicates: One of `penstock.drift.keys.DUPLICATES`.
        max_skew: By patterns of features the share of pairs that may differ.
        min_pairs: The least pairs to tell by.
        rules: As `penstock.drift.rules.Rule` takes them.
        severity: By part `fail`, `warn` or `ignore`.
        samples: The number of differing pairs to keep of each feature.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Raises:
        PenstockError: A choice or an input is wrong.
    """
    chosen = checked_choices(
        keys, exclude_features, tolerance, duplicates, max_skew, min_pairs, rules, samples
    )
    does = checked_severity(dict(severity or {}))
    schema = None if schema_path is None else load_schema(schema_path)
    absent = _absent(schema, environment)
    exclude = [*chosen.exclude, *sorted(absent)]
    rows_alone = does["schema"] == does["distribution"] == "ignore"
    training, serving = (
        known_side(name, examples, statistics, splits, chosen.exclude, rows_alone)
        for name, examples, statistics, splits in (
            ("training", training_examples_path, training_statistics_path, training_splits),
            ("serving", serving_examples_path, serving_statistics_path, serving_splits),
        )
    )
    findings = _empty_sides(training, serving)
    if does["schema"] != "ignore" and not findings:
        findings += columns_skew(training, serving, does["schema"], absent)
        if schema is not None:
            findings += contract_skew(schema, serving, environment, does["schema"], chosen.exclude)
    distributions: list[dict[str, Any]] = []
    if does["distribution"] != "ignore" and not findings_of_rows(findings):
        left_out = [*exclude, *chosen.keys]
        found, distributions = _distribution_skew(
            training, serving, chosen, left_out, does["distribution"]
        )
        findings += found
    with new_folder(skew_path) as folder:
        counts, limits = None, {}
        differing: dict[str, list[PlacedSample]] = {}
        if chosen.keys and does["key"] != "ignore":
            with tempfile.TemporaryDirectory(prefix=".partitions-", dir=folder) as work:
                paths = (training_examples_path, serving_examples_path)
                splits = (training_splits, serving_splits)
                counts, differing = compare_by_key(
                    paths, splits, chosen, exclude, work, beam_pipeline_args
                )
            limits = {name: chosen.limit(name) for name in counts.features}
            findings += key_findings(counts, limits, chosen, does["key"])
        skew = Skew(
            in_order(findings),
            (training.rows, serving.rows),
            tuple(distributions),
            counts,
            limits,
            differing,
            tuple(_notes(chosen, does, absent, schema_path is not None)),
            tuple(_plots(findings, training, serving)),
        )
        _write(folder, skew, report_path, summary_path)
    told = refusal(skew, skew_path) if skew.verdict == "fail" else ""
    return Detected(_metadata(skew), _metrics(skew), told)


def findings_of_rows(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings about the rows as such, not about a feature."""
    return [finding for finding in findings if finding.feature is None]


def _absent(schema: Any, environment: str) -> set[str]:
    """Return the features that serving does not have by the schema."""
    if schema is None:
        return set()
    known = environments(schema)
    if environment and known and environment not in known:
        raise PenstockError(
            f"The schema has no environment {environment!r} (it has {', '.join(known)}); use one "
            "of these or add it to the schema's default_environment."
        )
    if environment not in known:
        return set()
    return {dotted(path) for path, f in walk_features(schema) if not is_in(schema, f, environment)}


def _empty_sides(training: Known, serving: Known) -> list[Finding]:
    sides = (("training", training), ("serving", serving))
    return [
        Finding("schema", None, "NO_ROWS", "fail", f"There are no {name} rows.")
        for name, side in sides
        if not side.rows
    ]


def _distribution_skew(
    training: Known,
    serving: Known,
    chosen: Choices,
    left_out: Sequence[str],
    severity: str,
) -> tuple[list[Finding], list[dict[str, Any]]]:
    one, other = (
        {
            name: distribution
            for name, distribution in side.distributions.items()
            if name not in left_out and name.partition(".")[0] not in left_out
        }
        for side in (training, serving)
    )
    # A feature on one side only is the columns' skew.
    both = one.keys() & other.keys()
    found = compare(
        {n: one[n] for n in one if n in both},
        {n: other[n] for n in other if n in both},
        chosen.rules,
    )
    verdicts = {DRIFT: severity, INSUFFICIENT: "insufficient"}
    # One divergence may need more values than there are where another has answered.
    answered = {
        f.feature for f in found if f.verdict != INSUFFICIENT and f.measure not in OF_A_PART
    }
    findings = [
        Finding(
            "distribution",
            f.feature,
            f.measure,
            verdicts[f.verdict],
            f.sentence,
            f.value,
            f.threshold,
        )
        for f in found
        if f.measure not in (PRESENCE, KIND)
        and (f.verdict == DRIFT or (f.verdict == INSUFFICIENT and f.feature not in answered))
    ]
    return findings, [f.to_dict() for f in found]


def _plots(
    findings: Sequence[Finding], training: Known, serving: Known
) -> Iterator[tuple[str, tuple[Plot, Plot]]]:
    """Yield the histograms of the numbers whose distributions are skewed."""
    names = dict.fromkeys(
        f.feature
        for f in in_order(findings)
        if f.feature and f.part == "distribution" and f.verdict in ("fail", "warn")
    )
    for name in list(names)[:PLOTTED]:
        drawn = overlaid_plots(training.distributions[name], serving.distributions[name])
        if drawn is not None:
            yield name, drawn


def _notes(chosen: Choices, does: Mapping[str, str], absent: set[str], reviewed: bool) -> list[str]:
    notes = [f"The part {part!r} is left out." for part, what in does.items() if what == "ignore"]
    if not chosen.keys and does["key"] != "ignore":
        notes.append("There are no keys, so values are not compared row by row.")
    if chosen.keys:
        notes.append(f"Rows are joined on {', '.join(chosen.keys)}.")
    if absent:
        notes.append(
            f"By the schema serving does not have {', '.join(sorted(absent))}, which are left out."
        )
    if not reviewed:
        notes.append("There is no schema: labels and domains are not known.")
    return notes


def _write(
    folder: Path,
    skew: Skew,
    report_path: str | os.PathLike[str] | None,
    summary_path: str | os.PathLike[str] | None,
) -> None:
    content = json.dumps(_finite(skew.document()), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / VERDICT).write_text(content + "\n", encoding="utf-8")
    pq.write_table(sample_table(skew.samples), folder / SAMPLES)
    page, text = skew_page(skew), skew_summary(skew)
    (folder / PAGE).write_text(page, encoding="utf-8")
    for path, written in ((report_path, page), (summary_path, text)):
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(written, encoding="utf-8")


def _finite(value: Any) -> Any:
    """Return a value with null in the place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _metadata(skew: Skew) -> dict[str, Any]:
    return {
        "summary": summary_of(skew),
        "verdict": skew.verdict,
        "findings": len(skew.findings),
    }


def _metrics(skew: Skew) -> dict[str, float]:
    failed = {f.feature for f in skew.findings if f.verdict == "fail" and f.feature}
    found: dict[str, float] = {
        "training_rows": skew.rows[0],
        "serving_rows": skew.rows[1],
        "failed_features": len(failed),
    }
    if skew.counts is not None:
        share = skew.counts.skewed_pairs / skew.counts.pairs if skew.counts.pairs else 0.0
        found |= {"pairs": skew.counts.pairs, "skewed_share": share}
    return found
