"""How rows are divided into splits: by hash, by time, in strata, by a column, by file, in folds."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError
from .row_hash import Hashes, row_hashes
from .spans import SourceFile
from .splits import assign_splits, check_weights

Places = np.ndarray[Any, Any]
KINDS = ("time", "stratify", "column", "folds")
KEYS = (*KINDS, "order", "cuts")


@dataclass(frozen=True)
class Division:
    """A rule that gives every row its split.

    Attributes:
        weights: The splits in the order of their names, with their weights.
        kind: `hash`, `time`, `stratify`, `column` or `file`.
        column: The column that `time`, `stratify` and `column` look at.
        keys: The columns whose hash decides with `hash`; the whole row when None.
        order: With `time`: the splits from the earliest to the latest.
        cuts: With `time`: the first value of each split but the earliest.
        strata: With `stratify`: the sorted hashes of the strata.
        thresholds: With `stratify`: the row hash at which each split but the first begins, shape
            `[strata, splits - 1]`.
    """

    weights: Mapping[str, float]
    kind: str = "hash"
    column: str = ""
    keys: tuple[str, ...] | None = None
    order: tuple[str, ...] = ()
    cuts: tuple[Any, ...] | None = None
    strata: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    thresholds: Hashes = field(default_factory=lambda: np.zeros((0, 0), np.uint64))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits' names, in their order."""
        return tuple(self.weights)

    @property
    def needs_a_first_look(self) -> bool:
        """Whether the rows must be seen once before they can be divided."""
        return self.kind == "stratify" or (self.kind == "time" and self.cuts is None)

    def places(self, batch: pa.RecordBatch, hashes: Hashes, file: SourceFile) -> Places:
        """Return the index of each row's split in `splits`, shape `[rows]`.

        Args:
            batch: The rows.
            hashes: Their hashes, of the whole row.
            file: Where they come from.

        Raises:
            PenstockError: A row has no time, or its column names no split.
        """
        if self.kind == "file":
            return np.full(batch.num_rows, self.splits.index(file.split or ""))
        if self.kind == "hash":
            keys = hashes if self.keys is None else row_hashes(batch, self.keys)
            return assign_splits(keys, self.weights)
        values = batch.column(batch.schema.get_field_index(self.column))
        if self.kind == "stratify":
            stratum = np.searchsorted(self.strata, row_hashes(batch, [self.column]))
            return (hashes[:, None] > self.thresholds[stratum]).sum(axis=1)
        if values.null_count:
            raise PenstockError(
                f"Column {self.column!r} has a missing value in {file.label}, so that its row "
                "falls in no split; fill it in, or filter such rows."
            )
        if self.kind == "time":
            rank = np.zeros(batch.num_rows, np.int64)
            for cut in self.cuts or ():
                rank += pc.greater_equal(values, cut).to_numpy(zero_copy_only=False)
            return np.array([self.splits.index(split) for split in self.order])[rank]
        names = pa.array(self.splits)
        found = pc.index_in(values.cast(pa.string()), value_set=names)
        if found.null_count:
            stranger = values.filter(found.is_null())[0].as_py()
            raise PenstockError(
                f"Column {self.column!r} of {file.label} has {stranger!r}, which is no split; "
                f"there are {', '.join(self.splits)}, so correct it or add it to splits."
            )
        return found.to_numpy()


def division_of(
    splits: Mapping[str, float],
    split_columns: Sequence[str] | None,
    split_by: Mapping[str, Any] | None,
    patterns: Mapping[str, str] | None = None,
) -> Division:
    """Return the rule that the parameters stand for; see example_gen's README for them.

    Raises:
        PenstockError: They are wrong by themselves or contradict each other.
    """
    if split_columns is not None and not split_columns:
        raise PenstockError(
            "split_columns is an empty list; name at least one column, or leave it out."
        )
    if patterns:
        if split_by or split_columns:
            raise PenstockError(
                "patterns gives every file its split, so split_by and split_columns mean nothing; "
                "leave them out."
            )
        return Division(check_weights(dict.fromkeys(patterns, 1.0)), "file")
    keys = None if split_columns is None else tuple(split_columns)
    rule = dict(split_by or {})
    if not rule:
        return Division(check_weights(splits), keys=keys)
    kinds = [key for key in rule if key in KINDS]
    unknown = [key for key in rule if key not in KEYS]
    if unknown or len(kinds) != 1:
        wrong = f"has the unknown key {unknown[0]!r}" if unknown else "needs one kind of rule"
        raise PenstockError(
            f"split_by {wrong}; give one of {', '.join(KINDS)}, and with time order and cuts."
        )
    kind, value = kinds[0], rule[kinds[0]]
    if kind != "time" and len(rule) > 1:
        raise PenstockError(f"split_by has order or cuts beside {kind}; they belong to time alone.")
    if kind == "folds":
        return Division(check_weights(_folds(value)), keys=keys)
    if keys:
        raise PenstockError(
            f"split_columns means nothing beside split_by {kind}; leave one of the two out."
        )
    if not isinstance(value, str) or not value:
        raise PenstockError(f"split_by gives {kind} as {value!r}; expected the name of a column.")
    division = Division(check_weights(splits), kind, value)
    return _timed(division, rule) if kind == "time" else division


def resolve(division: Division, schema: pa.Schema) -> Division:
    """Return the rule for the data's columns, its cuts in the column's type.

    Raises:
        PenstockError: A column is not there, or a cut is no value of its column.
    """
    parameter = f"split_by's {division.kind}" if division.column else "split_columns"
    for name in [division.column] if division.column else division.keys or ():
        if name not in schema.names:
            raise PenstockError(
                f"{parameter} names {name!r}, which is no column of the data; there are "
                f"{', '.join(schema.names)}."
            )
    if division.kind == "column" and pa.types.is_nested(schema.field(division.column).type):
        raise PenstockError(
            f"split_by's column names {division.column!r}, which is "
            f"{schema.field(division.column).type}; give a column whose values name the splits."
        )
    if division.kind != "time":
        return division
    kind = schema.field(division.column).type
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        raise PenstockError(
            f"split_by's time names {division.column!r}, which is {kind}; give a column of dates, "
            "timestamps, numbers or text that sorts by time."
        )
    if division.cuts is None:
        return division
    try:
        cuts = [_scalar(cut, kind) for cut in division.cuts]
    except (ValueError, TypeError, NotImplementedError) as error:
        raise PenstockError(
            f"split_by's cuts {list(division.cuts)} are no values of {division.column!r}, which "
            f"is {kind}; write them as in the data."
        ) from error
    if any(not pc.less(a, b).as_py() for a, b in itertools.pairwise(cuts)):
        raise PenstockError(
            f"split_by's cuts {list(division.cuts)} do not ascend; give them from early to late."
        )
    return replace(division, cuts=tuple(cuts))


def _scalar(cut: Any, kind: pa.DataType) -> pa.Scalar:
    if isinstance(cut, str) and pa.types.is_date32(kind):
        cut = datetime.date.fromisoformat(cut)
    elif isinstance(cut, str) and not pa.types.is_string(kind):
        return pc.cast(pa.array([cut]), kind)[0]
    if isinstance(cut, float) and cut == int(cut) and pa.types.is_integer(kind):
        cut = int(cut)
    return pa.scalar(cut, kind)


def _folds(value: Any) -> dict[str, float]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or value != int(value) or value < 2:
        raise PenstockError(
            f"split_by gives folds as {value!r}; expected a whole number from 2 on."
        )
    width = len(str(int(value) - 1))
    return {f"fold-{fold:0{width}d}": 1.0 for fold in range(int(value))}


def _timed(division: Division, rule: Mapping[str, Any]) -> Division:
    order = rule.get("order")
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(division.splits):
        raise PenstockError(
            f"split_by gives order as {order!r}; expected the splits "
            f"{', '.join(division.splits)}, from the earliest to the latest."
        )
    cuts = rule.get("cuts")
    if cuts is not None and (not isinstance(cuts, list) or len(cuts) != len(order) - 1):
        raise PenstockError(
            f"split_by gives cuts as {cuts!r}; expected a list of {len(order) - 1}, the first time "
            "of each split but the earliest."
        )
    return replace(division, order=tuple(order), cuts=None if cuts is None else tuple(cuts))
