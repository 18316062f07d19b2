"""Checks in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorflow_model_analysis.metrics import metric_types

    from .checks import Check

BEYOND = {"lower_bound": "below its lower bound", "upper_bound": "above its upper bound"}
KEPT = {"lower_bound": "at or above its lower bound", "upper_bound": "at or below its upper bound"}
SIGN = {"lower_bound": "≥", "upper_bound": "≤"}
SUBJECT = {
    "value": "{metric}",
    "change": "the change of {metric} against the champion",
    "relative_change": "the relative change of {metric} against the champion",
}


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


def place_in_words(part: Mapping[str, Any]) -> str:
    """Return where a check or a row of metrics.json is: `all rows`, `origin = JFK`."""
    slices = [part["slice"], part.get("compared_slice")]
    said = [slice_in_words(where) for where in slices if where is not None]
    return ", less ".join(w.removeprefix("where ").removeprefix("over ") for w in said)


def subject(check: Check) -> str:
    """Return what the check bounds, and where: `auc over all rows`."""
    name = SUBJECT[check.of].format(metric=check.metric)
    where = slice_in_words(check.slice)
    if check.compared_slice is not None:
        where = f"{where} less that {slice_in_words(check.compared_slice)}"
    return f"{name} {where}"


def check_in_words(check: Check, *, by_interval: bool) -> str:
    """Return one sentence: what was found, and on which side of its bound it is.

    Args:
        check: A check with a value.
        by_interval: Whether the interval decided, and not the value alone.
    """
    value = check.value if check.value is not None else math.nan
    shown, limit = apart(value, check.bound)
    below = check.kind == "lower_bound"
    kept = value >= check.bound if below else value <= check.bound
    side = (KEPT if kept else BEYOND)[check.kind]
    span = ""
    if check.interval is not None:
        low, high = check.interval
        span = f" ({_percent(check.confidence or 0)} interval {low:.4g} to {high:.4g})"
    if not by_interval or check.interval is None:
        return f"{subject(check)} is {shown}{span}, {side} {limit}."
    low, high = check.interval
    sure = low >= check.bound if kept == below else high <= check.bound
    if sure:
        return f"{subject(check)} is {shown}{span}, wholly {side} {limit}."
    return f"{subject(check)} is {shown}{span}, {side} {limit}, but not by enough to be sure."


def missing_in_words(check: Check, value: float | None, why: str) -> str:
    """Return the sentence for a check whose metric is missing or not a finite number."""
    if value is None:
        return f"{subject(check)} is missing: {why}."
    said = "not a number" if math.isnan(value) else "infinite" if value > 0 else "minus infinite"
    return f"{subject(check)} is {said}, which is no evidence for its bound."


def passed_in_words(checks: Iterable[Check]) -> str:
    """Return one clause per bound: the value over all rows, and the worst of the slices."""
    groups: dict[tuple[str, str, str, float], list[Check]] = {}
    for check in checks:
        if check.passed:
            name = SUBJECT[check.of].format(metric=check.metric)
            key = (name, "" if check.compared_slice is None else "between slices", check.kind)
            groups.setdefault((*key, check.bound), []).append(check)
    clauses = []
    for (name, between, kind, bound), group in groups.items():
        overall = [c.value or 0.0 for c in group if not c.slice and c.compared_slice is None]
        slices = [c.value or 0.0 for c in group if c.slice or c.compared_slice is not None]
        limit = f"{SIGN[kind]} {bound:g}"
        clause = f"{name} {between} {limit}".replace("  ", " ")
        if overall:
            clause = f"{name} {apart(overall[0], bound)[0]} {limit} over all rows"
        if slices:
            worst = apart((min if kind == "lower_bound" else max)(slices), bound)[0]
            what = "pair" if between else "slice"
            clause += f", {worst} at worst on {len(slices)} {what}{'s' if len(slices) > 1 else ''}"
        clauses.append(clause)
    return "; ".join(clauses) + "."


def apart(value: float, bound: float) -> tuple[str, str]:
    """Return both as text, with as many digits as it takes to tell them apart."""
    for digits in range(4, 18):
        shown = f"{value:.{digits}g}"
        if value == bound or float(shown) != bound:
            return shown, f"{bound:g}" if float(f"{bound:g}") == bound else repr(bound)
    return repr(value), repr(bound)


def _percent(level: float) -> str:
    """Return a level as people write it: 95%, 99.97%."""
    return f"{100 * level:.4g}%" if level < 0.9999 else f"{100 * level:.6g}%"
