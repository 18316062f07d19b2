"""Which row goes into which fold: in order of time, by a hash, by group, in strata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError
from .division import Division, Places, division_of, resolve
from .examples import Manifest, iter_batches, read_schema
from .first_look import ValueCounts, look
from .fold_rule import FoldRule, span_stretches
from .row_hash import Hashes, row_hashes
from .spans import SourceFile

# The spans as a column beside the data's own; no column of theirs can have this name.
SPAN = "\0span"


@dataclass(frozen=True)
class Plan:
    """Pieces of rows, and of which of them each fold is made.

    Attributes:
        pieces: How many there are.
        places: Gives each row of a batch, with its hashes, its piece.
        folds: Per fold the pieces to learn from, those to score on, and where the latter begin.
    """

    pieces: int
    places: Callable[[pa.RecordBatch, Hashes], Places]
    folds: tuple[tuple[list[int], list[int], str], ...]


def plan_folds(rows: Rows, rule: FoldRule) -> Plan:
    """Return how the rows are divided; one pass over them.

    Raises:
        PenstockError: A time is missing, or the rows, times, groups or strata do not suffice for so
            many folds.
    """
    by = {"time": _by_time, "kfold": _by_row, "group": _by_group, "stratified": _by_stratum}
    return by[rule.kind](rows, rule)


class Rows:
    """The rows of a split, with what the rule looks at."""

    def __init__(
        self, examples: str | os.PathLike[str], manifest: Manifest, split: str, rule: FoldRule
    ) -> None:
        self.examples, self.split, self.rule = examples, split, rule
        self.schema = read_schema(examples, split)
        self.stretches = span_stretches(manifest, split)
        self.count = manifest.rows(split)
        self.time = (rule.columns or (SPAN,))[0]

    def full_schema(self) -> pa.Schema:
        """Return the columns that batches have."""
        return self.schema.append(pa.field(SPAN, pa.int64())) if self._spanned else self.schema

    def batches(
        self, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, Hashes]]:
        """Yield the rows, of all columns or some, with their hashes.

        The hash is of the whole row, or with groups of these columns; in order of time none counts.
        """
        hashed = {"time": (), "group": self.rule.columns}.get(self.rule.kind)
        place = 0
        for batch in iter_batches(self.examples, self.split, columns):
            hashes = row_hashes(batch, hashed)
            if self._spanned:
                spans = self._spans(place, batch.num_rows)
                batch = pa.RecordBatch.from_arrays(
                    [*batch.columns, spans], names=[*batch.schema.names, SPAN]
                )
            place += batch.num_rows
            yield batch, hashes

    @property
    def _spanned(self) -> bool:
        return self.rule.kind == "time" and self.time == SPAN

    def _spans(self, start: int, rows: int) -> pa.Array:
        spans, lengths = zip(*self.stretches, strict=True)
        ends = np.cumsum(lengths)
        return pa.array(
            np.array(spans)[np.searchsorted(ends, np.arange(start, start + rows), side="right")]
        )


def _by_time(rows: Rows, rule: FoldRule) -> Plan:
    counts = ValueCounts()
    for batch, _ in rows.batches(rule.columns or rows.schema.names[:1]):
        times = batch.column(batch.schema.get_field_index(rows.time))
        if pa.types.is_floating(times.type) and pc.any(pc.is_nan(times)).as_py():
            raise PenstockError(
                f"Column {rows.time!r} has NaN as a time; fill it in, or filter such rows."
            )
        counts.add(times)
    values, at = counts.sorted()
    what = "spans" if rows.time == SPAN else f"distinct values of {rows.time!r}"
    if len(values) < rule.folds + 1:
        raise PenstockError(
            f"{rule.folds} folds in order of time need {rule.folds + 1} times or more, and there "
            f"are {len(values)} {what} in split {rows.split!r}; ask for fewer folds, or name a "
            "finer time_column."
        )
    starts = [values[place] for place in _cuts(at, rule.folds + 1)]
    limits = [_minus(start, rule.gap, rows.time) for start in starts]
    edges = sorted({scalar.as_py() for scalar in (*starts, *limits)})
    names = [f"piece-{number:03d}" for number in range(len(edges) + 1)]
    division = resolve(
        division_of(
            dict.fromkeys(names, 1.0), None, {"time": rows.time, "order": names, "cuts": edges}
        ),
        rows.full_schema(),
    )
    place_of = {edge: number + 1 for number, edge in enumerate(edges)}
    ends = [*(place_of[start.as_py()] for start in starts[1:]), len(names)]
    folds = tuple(
        (
            list(range(place_of[limit.as_py()])),
            list(range(place_of[start.as_py()], end)),
            str(start.as_py()),
        )
        for start, limit, end in zip(starts, limits, ends, strict=True)
    )
    return Plan(len(names), _places(division, rows), folds)


def _cuts(counts: np.ndarray[Any, Any], blocks: int) -> list[int]:
    """Return where blocks but the first begin, among values that occur so often.

    Each cut comes as near to an even share of the rows as leaves every block a value.
    """
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    wanted = np.arange(1, blocks) * counts.sum() / blocks
    cuts: list[int] = []
    for number, target in enumerate(wanted):
        nearest = int(np.abs(before - target).argmin())
        least = cuts[-1] + 1 if cuts else 1
        cuts.append(min(max(nearest, least), len(counts) - (blocks - 1 - number)))
    return cuts


def _minus(start: pa.Scalar, gap: float, column: str) -> pa.Scalar:
    """Return the time before which training rows must lie."""
    kind = start.type
    if not gap:
        return start
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        number = start.as_py() - gap
        return pa.scalar(number if pa.types.is_floating(kind) else int(np.ceil(number)), kind)
    if pa.types.is_date32(kind):
        return (
            pa.scalar(start.cast(pa.int32()).as_py() - int(np.floor(gap)))
            .cast(pa.int32())
            .cast(kind)
        )
    if pa.types.is_timestamp(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        ticks = start.cast(pa.int64()).as_py() - int(np.floor(gap * per_second))
        return pa.scalar(ticks, pa.int64()).cast(kind)
    raise PenstockError(
        f"A gap needs times that can be subtracted, and {column!r} is {kind}; declare it as a "
        "date, a timestamp or a number, or leave the gap out."
    )


def _by_row(rows: Rows, rule: FoldRule) -> Plan:
    hashes = np.sort(np.concatenate([found for _, found in rows.batches()]))
    starts = hashes[np.arange(1, rule.folds) * len(hashes) // rule.folds]
    return Plan(
        rule.folds,
        lambda _, found: np.searchsorted(starts, found, side="right"),
        _one_against_the_rest(rule.folds),
    )


def _by_group(rows: Rows, rule: FoldRule) -> Plan:
    found = np.concatenate([hashes for _, hashes in rows.batches(rule.columns)])
    groups, sizes = np.unique(found, return_counts=True)
    if len(groups) < rule.folds:
        raise PenstockError(
            f"{rule.folds} folds by group need as many groups, and {', '.join(rule.columns)} "
            f"tell {len(groups)} in split {rows.split!r}; ask for fewer folds."
        )
    part_of, filled = np.zeros(len(groups), np.int64), np.zeros(rule.folds, np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        part_of[group] = filled.argmin()
        filled[part_of[group]] += sizes[group]
    return Plan(
        rule.folds,
        lambda _, hashes: part_of[np.searchsorted(groups, hashes)],
        _one_against_the_rest(rule.folds),
    )


def _by_stratum(rows: Rows, rule: FoldRule) -> Plan:
    (column,) = rule.columns
    parts = dict.fromkeys((f"part-{number:03d}" for number in range(rule.folds)), 1.0)
    division = resolve(division_of(parts, None, {"stratify": column}), rows.schema)
    division = look(division, rows.batches())
    if len(division.strata) * rule.folds > rows.count:
        raise PenstockError(
            f"{column!r} has {len(division.strata):,} values in {rows.count:,} rows, too many to "
            f"keep their shares in {rule.folds} folds; name a column of few values, such as a "
            "class."
        )
    return Plan(rule.folds, _places(division, rows), _one_against_the_rest(rule.folds))


def _places(division: Division, rows: Rows) -> Callable[[pa.RecordBatch, Hashes], Places]:
    source = SourceFile(Path(rows.examples), f"split {rows.split!r}", shown=f"split {rows.split!r}")
    return lambda batch, hashes: division.places(batch, hashes, source)


def _one_against_the_rest(folds: int) -> tuple[tuple[list[int], list[int], str], ...]:
    return tuple(
        ([part for part in range(folds) if part != fold], [fold], "") for fold in range(folds)
    )
