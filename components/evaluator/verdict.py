"""Whether a model is blessed, and why, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from .analysis import Analysis, SliceKey

BEYOND = {"lower_bound": "below its lower bound", "upper_bound": "above its upper bound"}
KEPT = {"lower_bound": "at or above its lower bound", "upper_bound": "at or below its upper bound"}
SIGN = {"lower_bound": "≥", "upper_bound": "≤"}
REASONS_SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One bound on one metric on one slice.

    Attributes:
        metric: The metric's name.
        slice: Column to value; empty for all rows; a value None stands for any value, where the
            slice that was asked for has no rows.
        kind: `lower_bound` or `upper_bound`.
        bound: The bound.
        value: What the metric is; None where it could not be computed or is not a number.
        passed: Whether the value keeps the bound.
        reason: One sentence.
    """

    metric: str
    slice: Mapping[str, Any]
    kind: str
    bound: float
    value: float | None
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer: every check that was made, and one sentence or a few that sum them up."""

    blessed: bool
    reason: str
    checks: tuple[Check, ...]


def judge(
    config: config_pb2.EvalConfig, analysis: Analysis, rows: int, not_finite: int = 0
) -> Verdict:
    """Decide by TFMA's own validation, and say for each bound on each slice what was found.

    A threshold without slices holds for every slice that is computed, as in TFMA. Beyond TFMA's
    rules, a model is not blessed when there are no rows or when a prediction is not finite.

    Args:
        config: What `read_eval_config` returned.
        analysis: What `analyze` returned.
        rows: Rows of the split.
        not_finite: How many of them have a prediction that is NaN or infinite.

    Returns:
        The verdict, failed checks first.
    """
    checks = [*_rows_checks(rows, not_finite)]
    if rows > not_finite:
        checks += _threshold_checks(config, analysis)
    checks.sort(key=lambda check: check.passed)
    failed = [check for check in checks if not check.passed]
    if failed:
        more = len(failed) - REASONS_SHOWN
        shown = [check.reason for check in failed[:REASONS_SHOWN]]
        reason = " ".join([*shown, f"{more} more checks failed."] if more > 0 else shown)
        return Verdict(False, reason, tuple(checks))
    if not analysis.validation.validation_ok:
        return Verdict(False, "TFMA's validation did not pass.", tuple(checks))
    return Verdict(True, _passed_in_words(checks), tuple(checks))


def metric_name(key: metric_types.MetricKey) -> str:
    """Return the metric's name, with class or aggregation where it has one."""
    parts = [key.name, key.output_name, key.sub_key, key.aggregation_type]
    return "/".join(str(part) for part in parts if part)


def slice_in_words(where: Mapping[str, Any]) -> str:
    """Return `over all rows` or `where origin = JFK`."""
    if not where:
        return "over all rows"
    return "where " + " and ".join(
        f"{name} is any value" if value is None else f"{name} = {value}"
        for name, value in where.items()
    )


def _rows_checks(rows: int, not_finite: int) -> Iterator[Check]:
    if rows == 0:
        reason = "There are no rows to evaluate on; a model is never blessed without evidence."
        yield Check("example_count", {}, "lower_bound", 1.0, 0.0, False, reason)
    if not_finite:
        reason = (
            f"The model's prediction is not a finite number for {not_finite:,} of {rows:,} rows; "
            "the metrics are over the others."
        )
        yield Check("predictions_not_finite", {}, "upper_bound", 0.0, not_finite, False, reason)


def _threshold_checks(config: config_pb2.EvalConfig, analysis: Analysis) -> Iterator[Check]:
    failures = {
        (
            slicer_lib.deserialize_slice_key(record.slice_key),
            metric_types.MetricKey.from_proto(failure.metric_key),
            failure.metric_threshold.value_threshold.SerializeToString(deterministic=True),
        ): failure.message
        for record in analysis.validation.metric_validations_per_slice
        for failure in record.failures
    }
    thresholds = metric_specs.metric_thresholds_from_metrics_specs(
        config.metrics_specs, eval_config=config
    )
    for key, pairs in thresholds.items():
        for slicing, threshold in pairs:
            applies = slicer_lib.SingleSliceSpec(spec=slicing) if slicing else None
            found = [s for s in analysis.slices if not applies or applies.is_slice_applicable(s)]
            if not found:
                yield from _missing_slice(key, slicing, threshold)
            for where in found:
                failed = (where, key, threshold.SerializeToString(deterministic=True)) in failures
                yield from _bounds(key, where, threshold, analysis, failed)


def _bounds(
    key: metric_types.MetricKey, where: SliceKey, threshold: Any, analysis: Analysis, failed: bool
) -> Iterator[Check]:
    """Yield a check per bound of a threshold on a slice; together they fail if TFMA says so."""
    value = analysis.slices[where].get(key)
    bounds = list(_bounds_of(threshold))
    kept = [_keeps(value, kind, bound) for kind, bound in bounds]
    name, place = metric_name(key), dict(where)
    words = f"{name} {slice_in_words(place)}"
    for (kind, bound), passed in zip(bounds, kept, strict=True):
        if failed and all(kept):
            passed = False
        if value is None:
            said = analysis.errors.get(where, "TFMA did not compute it").rstrip(".")
            reason = f"{words} is missing: {said}."
        elif not math.isfinite(value):
            reason = f"{words} is {_not_a_number(value)}, which is no evidence for its bound."
        else:
            shown, limit = apart(value, bound)
            reason = f"{words} is {shown}, {KEPT[kind] if passed else BEYOND[kind]} {limit}."
        finite = value if value is not None and math.isfinite(value) else None
        yield Check(name, place, kind, bound, finite, passed, reason)


def _missing_slice(key: metric_types.MetricKey, slicing: Any, threshold: Any) -> Iterator[Check]:
    where: dict[str, Any] = {}
    if slicing:
        where = {**dict.fromkeys(slicing.feature_keys), **slicing.feature_values}
    for kind, bound in _bounds_of(threshold):
        reason = (
            f"There are no rows {slice_in_words(where)}, so {metric_name(key)} cannot be held "
            "against its bound."
        )
        yield Check(metric_name(key), where, kind, bound, None, False, reason)


def _bounds_of(threshold: Any) -> Iterator[tuple[str, float]]:
    for kind in BEYOND:
        if threshold.HasField(kind):
            yield kind, float(getattr(threshold, kind).value)


def _keeps(value: float | None, kind: str, bound: float) -> bool:
    if value is None:
        return False
    return value >= bound if kind == "lower_bound" else value <= bound


def _passed_in_words(checks: Iterable[Check]) -> str:
    """Return one clause per bound: the value over all rows, and the worst of the slices."""
    groups: dict[tuple[str, str, float], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.metric, check.kind, check.bound), []).append(check)
    clauses = []
    for (metric, kind, bound), group in groups.items():
        overall = [check.value or 0.0 for check in group if not check.slice]
        slices = [check.value or 0.0 for check in group if check.slice]
        limit = f"{SIGN[kind]} {bound:g}"
        clause = f"{metric} {limit}"
        if overall:
            clause = f"{metric} {apart(overall[0], bound)[0]} {limit} over all rows"
        if slices:
            worst = apart((min if kind == "lower_bound" else max)(slices), bound)[0]
            clause += f", {worst} at worst on {len(slices)} slice{'s' if len(slices) > 1 else ''}"
        clauses.append(clause)
    return "; ".join(clauses) + "."


def apart(value: float, bound: float) -> tuple[str, str]:
    """Return both as text, with as many digits as it takes to tell them apart."""
    for digits in range(4, 18):
        shown = f"{value:.{digits}g}"
        if value == bound or float(shown) != bound:
            return shown, f"{bound:g}" if float(f"{bound:g}") == bound else repr(bound)
    return repr(value), repr(bound)


def _not_a_number(value: float) -> str:
    return "not a number" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
