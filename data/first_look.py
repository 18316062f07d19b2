"""Where to cut, when that takes a first look at all rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .division import Division
from .row_hash import Hashes, row_hashes


class ValueCounts:
    """Counts how often each value of a column occurs, in ascending order of the values."""

    def __init__(self) -> None:
        self._table: pa.Table | None = None

    def add(self, values: pa.Array) -> None:
        """Count the values, missing ones excepted."""
        counted = values.drop_null().value_counts()
        table = pa.table({"value": counted.field(0), "rows": counted.field(1)})
        if self._table is not None:
            both = pa.concat_tables([self._table, table])
            summed = both.group_by("value").aggregate([("rows", "sum")])
            table = pa.table({"value": summed["value"], "rows": summed["rows_sum"]})
        self._table = table

    def sorted(self) -> tuple[pa.Array, np.ndarray[Any, Any]]:
        """Return the distinct values in ascending order and how often each occurs."""
        if self._table is None:
            return pa.array([]), np.zeros(0, np.int64)
        order = pc.sort_indices(self._table, sort_keys=[("value", "ascending")])
        ordered = self._table.take(order).combine_chunks()
        return ordered["value"].chunk(0), ordered["rows"].to_numpy()


def look(division: Division, batches: Iterable[tuple[pa.RecordBatch, Hashes]]) -> Division:
    """Return the rule with its cuts or thresholds, from one pass over the rows.

    Args:
        division: A rule that `needs_a_first_look`.
        batches: All rows with their hashes. By time, memory holds the distinct times; in strata,
            16 bytes per row.
    """
    return _time(division, batches) if division.kind == "time" else _strata(division, batches)


def _time(division: Division, batches: Iterable[tuple[pa.RecordBatch, Hashes]]) -> Division:
    """Cut where the rows before come closest to the splits' shares; equal times stay together."""
    counts = ValueCounts()
    for batch, _ in batches:
        counts.add(batch.column(batch.schema.get_field_index(division.column)))
    values, rows = counts.sorted()
    before = np.concatenate([[0], np.cumsum(rows)])
    weights = np.array([division.weights[split] for split in division.order])
    wanted = np.cumsum(weights)[:-1] / weights.sum() * before[-1]
    places = [int(np.abs(before[:-1] - rows_before).argmin()) for rows_before in wanted]
    return replace(division, cuts=tuple(values[place] for place in places))


def _strata(division: Division, batches: Iterable[tuple[pa.RecordBatch, Hashes]]) -> Division:
    """Cut each stratum's row hashes, in ascending order, at the splits' shares."""
    parts: list[tuple[Hashes, Hashes]] = [(np.zeros(0, np.uint64), np.zeros(0, np.uint64))]
    for batch, hashes_of_rows in batches:
        parts.append((row_hashes(batch, [division.column]), hashes_of_rows))
    strata, hashes = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((hashes, strata))
    strata, hashes = strata[order], hashes[order]
    names, starts, sizes = np.unique(strata, return_index=True, return_counts=True)
    shares = np.cumsum(list(division.weights.values()))
    # The last row before each cut; a stratum too small for a split gives it nothing.
    counts = np.rint(np.outer(sizes, shares[:-1] / shares[-1])).astype(np.int64)
    last = np.maximum(counts - 1, 0) + starts[:, None]
    thresholds = np.where(counts > 0, hashes[last], np.uint64(0))
    return replace(division, strata=names, thresholds=thresholds)
