"""What cross-validation goes by: time, a hash of the row, groups, or strata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PenstockError
from .examples import Manifest

KINDS = ("time", "kfold", "group", "stratified")


@dataclass(frozen=True)
class FoldRule:
    """How the rows of a split become folds.

    Attributes:
        kind: `time`, `kfold`, `group` or `stratified`.
        folds: How many, at least 2; with `time` at least 1.
        columns: The column of times or of strata, or the columns that tell the groups. Empty with
            `kfold`, and with `time` when the spans are the times.
        gap: With `time`: training rows up to so long before the validation begins are left out;
            spans, days of a date, seconds of a timestamp, else the column's own unit.
    """

    kind: str
    folds: int = 5
    columns: tuple[str, ...] = ()
    gap: float = 0.0

    def describe(self) -> str:
        """Return the rule in words, such as `5 folds in order of time_hour`."""
        by = " and ".join(self.columns)
        words = {
            "time": f"in order of {by or 'the spans'}",
            "kfold": "by a hash of the row",
            "group": f"by groups of {by}",
            "stratified": f"in strata of {by}",
        }[self.kind]
        gap = f", {self.gap:g} apart" if self.gap else ""
        return f"{self.folds} fold{'s'[: self.folds != 1]} {words}{gap}"


def fold_rule(
    manifest: Manifest,
    split: str,
    kind: str = "time",
    folds: int = 5,
    *,
    time_column: str = "",
    group_columns: Sequence[str] | None = None,
    stratify_column: str = "",
    gap: float = 0.0,
) -> FoldRule:
    """Return the rule that the parameters stand for.

    In order of time, the time is `time_column`; without it the only column of dates or timestamps;
    without one the span, when the rows are of several.

    Args:
        manifest: The examples' manifest.
        split: The split whose rows are divided.
        kind: One of `KINDS`.
        folds: How many folds.
        time_column: The column that tells the time.
        group_columns: The columns whose values together tell a row's group.
        stratify_column: The column whose values' shares every fold keeps.
        gap: See `FoldRule`.

    Raises:
        PenstockError: The kind is unknown, a number is out of range, a column is missing or is
            unknown, or nothing tells the time.
    """
    _check_numbers(kind, folds, gap)
    given = {
        "time_column": ("time", [time_column] if time_column else []),
        "group_columns": ("group", list(group_columns or [])),
        "stratify_column": ("stratified", [stratify_column] if stratify_column else []),
    }
    known = {column.name for column in manifest.columns}
    columns: list[str] = []
    for parameter, (belongs_to, names) in given.items():
        for name in names:
            if name not in known:
                raise PenstockError(
                    f"{parameter} names {name!r}, which is no column of the examples; they have "
                    f"{', '.join(sorted(known))}."
                )
        if belongs_to == kind:
            if not names and kind != "time":
                raise PenstockError(
                    f"Cross-validation {kind!r} needs {parameter}; name what the folds go by."
                )
            columns = names or _time_column(manifest, split)
    return FoldRule(kind, int(folds), tuple(columns), float(gap))


def span_stretches(manifest: Manifest, split: str) -> list[tuple[int, int]]:
    """Return (span, rows) of the stretches of rows of one span, in the order on disk.

    Empty when the examples do not tell: they have no spans, were shuffled, or came from Beam.
    """
    return [(span, rows) for span, rows in manifest.source.get("span_rows", {}).get(split, ())]


def _check_numbers(kind: str, folds: Any, gap: Any) -> None:
    if kind not in KINDS:
        raise PenstockError(f"Cross-validation is {kind!r}; expected one of {', '.join(KINDS)}.")
    least = 1 if kind == "time" else 2
    if folds != int(folds) or folds < least:
        raise PenstockError(f"folds is {folds!r}; expected a whole number from {least} on.")
    if not math.isfinite(gap) or gap < 0 or (gap and kind != "time"):
        raise PenstockError(
            f"gap is {gap!r} with cross-validation {kind!r}; it is a finite number of 0 or more, "
            "and belongs to time alone."
        )


def _time_column(manifest: Manifest, split: str) -> list[str]:
    times = [c.name for c in manifest.columns if c.type.startswith(("timestamp", "date"))]
    if len(times) == 1:
        return times
    if not times and len({span for span, _ in span_stretches(manifest, split)}) > 1:
        return []
    found = (
        f"the columns {', '.join(times)} are all dates or timestamps"
        if times
        else "no column is a date or a timestamp, and the rows are not of several known spans"
    )
    raise PenstockError(
        f"Cross-validation in order of time must know the time, and {found}; name the one to go by "
        'as time_column, or choose cross_validation "kfold", "group" or "stratified".'
    )
