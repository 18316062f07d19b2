"""Drift of a whole data set: which share of its features drifted, by how much they matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import PenstockError
from .findings import DRIFT, INSUFFICIENT, OK, Finding


@dataclass(frozen=True)
class FeatureDrift:
    """A feature in one line.

    Attributes:
        feature: Its path.
        verdict: DRIFT if any finding is, else INSUFFICIENT if any is, else OK.
        effect: The largest effect of its findings, in units of their thresholds.
        importance: How much it matters, as a share of all features' importance, from 0 to 1; the
            same for each where importance is not known.
    """

    feature: str
    verdict: str
    effect: float
    importance: float


@dataclass(frozen=True)
class DatasetDrift:
    """A data set in one line.

    Attributes:
        share: The importance of the drifted features in that of all for which there is a verdict,
            from 0 to 1; None where there is none for any that matters.
        told: The importance of the features for which there is a verdict, from 0 to 1.
        features: The one that most deserves a look first: by verdict, then by effect times
            importance.
        sentence: For people.
    """

    share: float | None
    told: float
    features: tuple[FeatureDrift, ...]
    sentence: str


def dataset_drift(
    findings: Sequence[Finding], importance: Mapping[str, float] | None = None
) -> DatasetDrift:
    """Return how much of a data set drifted.

    Args:
        findings: As `penstock.drift.comparison.compare` returns them.
        importance: Per feature how much it matters to the model, at least 0, in any unit; a feature
            that is not named matters 0, and one that was not compared is left aside. By default all
            matter the same.

    Raises:
        PenstockError: An importance is negative or not finite.
    """
    for feature, value in (importance or {}).items():
        if not math.isfinite(value) or value < 0:
            raise PenstockError(
                f"The importance of {feature!r} is {value}: give a number of at least 0."
            )
    by_feature: dict[str, list[Finding]] = {}
    for finding in findings:
        by_feature.setdefault(finding.feature, []).append(finding)
    weights = {f: 1.0 if importance is None else importance.get(f, 0.0) for f in by_feature}
    total = math.fsum(weights.values())
    features = [
        FeatureDrift(
            feature,
            _verdict(found),
            max(finding.effect for finding in found),
            weights[feature] / total if total else 0.0,
        )
        for feature, found in by_feature.items()
    ]
    order = {DRIFT: 0, INSUFFICIENT: 1, OK: 2}
    features.sort(key=lambda f: (order[f.verdict], -f.effect * f.importance, -f.effect, f.feature))
    told = math.fsum(f.importance for f in features if f.verdict != INSUFFICIENT)
    drifted = math.fsum(f.importance for f in features if f.verdict == DRIFT)
    share = min(drifted / told, 1.0) if told else None
    sentence = _sentence(features, share, importance is not None)
    return DatasetDrift(share, told, tuple(features), sentence)


def _verdict(findings: Sequence[Finding]) -> str:
    verdicts = {finding.verdict for finding in findings}
    return next(verdict for verdict in (DRIFT, INSUFFICIENT, OK) if verdict in verdicts)


def _sentence(features: Sequence[FeatureDrift], share: float | None, weighed: bool) -> str:
    drifted = [f.feature for f in features if f.verdict == DRIFT]
    unknown = sum(f.verdict == INSUFFICIENT for f in features)
    said = f"{len(drifted)} of {len(features)} features drifted"
    if weighed and share is not None:
        said += f", {share:.0%} by importance"
    if drifted:
        said += f": {', '.join(drifted[:5])}" + (" and others" if len(drifted) > 5 else "")
    if unknown:
        said += f"; of {unknown} too little is known"
    return f"{said}."
