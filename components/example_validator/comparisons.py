"""Drift against the previous span and skew against serving, where the schema has no comparator."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from ...data.statistics import read_statistics, statistics_splits
from ...drift.comparison import compare
from ...drift.findings import DRIFT, INSUFFICIENT, Finding
from ...drift.rules import MIN_N, Rule
from ...drift.statistics import distributions_of_statistics
from ...errors import PenstockError
from .anomaly_types import (
    COMPARATOR_CANNOT_MEASURE,
    COMPARISON_INSUFFICIENT_ROWS,
    DRIFT_HIGH,
    SKEW_HIGH,
)

# What the comparator is called in the schema, the other side, and the anomaly.
KINDS = {
    "drift": ("drift_comparator", "previous span", DRIFT_HIGH),
    "skew": ("skew_comparator", "serving", SKEW_HIGH),
}
_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "l_infinity",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "jensen_shannon_divergence",
    anomalies_pb2.DriftSkewInfo.Measurement.NORMALIZED_ABSOLUTE_DIFFERENCE: (
        "normalized_absolute_difference"
    ),
}


@dataclass(frozen=True)
class Compared:
    """What a comparison says: anomalies as (type, feature, sentence), and every measurement."""

    anomalies: tuple[tuple[str, str | None, str], ...] = ()
    measurements: tuple[Mapping[str, Any], ...] = ()


def other_side(
    path: str | os.PathLike[str] | None, split: str, what: str
) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    """Return the statistics that a split is compared with; None when none are given.

    They are those of the split of the same name, or of the only split there is.

    Raises:
        PenstockError: There are several splits, and none of this name.
    """
    if path is None:
        return None
    splits = statistics_splits(path)
    if split not in splits and len(splits) > 1:
        raise PenstockError(
            f"{what} have no split {split!r} to compare with (they have {', '.join(splits)}); give "
            "statistics of the same splits, or of a single one."
        )
    return read_statistics(path, split if split in splits else splits[0])


def compare_split(
    kind: str,
    current: statistics_pb2.DatasetFeatureStatistics,
    other: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    rules: Sequence[Rule],
) -> Compared:
    """Compare a split with the previous span (`drift`) or with serving (`skew`).

    Features with a comparator in the schema are left to TFDV. Serving need not have every feature:
    only those on both sides are compared.

    Raises:
        PenstockError: A rule names a feature that has a comparator or is not there.
    """
    field, side, anomaly = KINDS[kind]
    if not other.num_examples:
        text = f"There are no rows of {_the(side)} to compare with."
        return Compared(((COMPARISON_INSUFFICIENT_ROWS, None, text),))
    compared = features_with(schema, field)
    for rule in rules:
        if rule.features in compared:
            raise PenstockError(
                f"The feature {rule.features!r} has a {field} in the schema and a rule for "
                f"{rule.measure} among the policy's {kind}_rules; keep one of them."
            )
    sides = [distributions_of_statistics(dataset) for dataset in (other, current)]
    names = set(sides[0]) & set(sides[1]) if kind == "skew" else set(sides[0]) | set(sides[1])
    chosen = [
        {name: part[name] for name in part if name in names and name not in compared}
        for part in sides
    ]
    findings = compare(chosen[0], chosen[1], rules) if rules else []
    moved: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.verdict == DRIFT:
            moved.setdefault(finding.feature, []).append(finding)
    anomalies: list[tuple[str, str | None, str]] = [
        (anomaly, feature, f"Against {_the(side)}, {_in_words(found)}")
        for feature, found in moved.items()
    ]
    short = [finding.sentence for finding in findings if finding.verdict == INSUFFICIENT]
    if compared and min(current.num_examples, other.num_examples) < MIN_N:
        short += [
            f"{feature}: {current.num_examples:,} and {other.num_examples:,} rows are too few for "
            f"its {field}: {MIN_N:,} a side are needed."
            for feature in sorted(compared)
        ]
    if short:
        anomalies.append((COMPARISON_INSUFFICIENT_ROWS, None, _too_few(short, side)))
    return Compared(
        tuple(anomalies), tuple({"against": side, **finding.to_dict()} for finding in findings)
    )


def tfdv_measurements(found: anomalies_pb2.Anomalies) -> list[Mapping[str, Any]]:
    """Return what TFDV measured for the schema's comparators."""
    measurements: list[Mapping[str, Any]] = []
    for info in found.drift_skew_info:
        for kind, measured in (
            ("drift", info.drift_measurements),
            ("skew", info.skew_measurements),
        ):
            measurements += [
                {
                    "against": KINDS[kind][1],
                    "feature": ".".join(info.path.step),
                    "measure": _MEASURES.get(each.type, "unknown"),
                    "value": each.value,
                    "threshold": each.threshold,
                    "verdict": DRIFT if each.value > each.threshold else "OK",
                    "effect": each.value / each.threshold if each.threshold else 0.0,
                    "sentence": "",
                }
                for each in measured
            ]
    return measurements


def unmeasurable(
    schema: schema_pb2.Schema, dataset: statistics_pb2.DatasetFeatureStatistics
) -> list[tuple[str, str | None, str]]:
    """Return the comparators that TFDV takes and cannot measure: L-infinity of a number."""
    numeric = {
        ".".join(feature.path.step) or feature.name
        for feature in dataset.features
        if feature.WhichOneof("stats") == "num_stats"
    }
    return [
        (
            COMPARATOR_CANNOT_MEASURE,
            feature.name,
            f"The {field} asks for the L-infinity distance of a number, which TFDV takes to be 0; "
            "use jensen_shannon_divergence.",
        )
        for feature in schema.feature
        for field, *_ in KINDS.values()
        if feature.name in numeric and getattr(feature, field).infinity_norm.HasField("threshold")
    ]


def features_with(schema: schema_pb2.Schema, field: str) -> set[str]:
    """Return the features of the schema that have a comparator."""
    return {feature.name for feature in schema.feature if feature.HasField(field)}


def _in_words(found: Sequence[Finding]) -> str:
    """Return what moved by the strongest measure, and by which others too."""
    others = ", ".join(finding.measure.replace("_", " ") for finding in found[1:])
    return f"{found[0].sentence.rstrip('.')}{f'; so does its {others}' if others else ''}."


def _too_few(short: Sequence[str], side: str) -> str:
    more = f" ({len(short) - 1} more like it)" if len(short) > 1 else ""
    return f"There are too few values to compare with {_the(side)}: {short[0].rstrip('.')}{more}."


def _the(side: str) -> str:
    return side if side == "serving" else f"the {side}"
