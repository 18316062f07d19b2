"""Which rows and columns become examples, and how they are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import PenstockError
from .filters import apply_filter, check_filter, filter_columns, filter_expression
from .positions import Lines
from .row_hash import Hashes, mix, row_hashes

COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")
# What the lines are called among a file's columns, while a filter looks at them.
LINE = "\0line"
# Makes the draw of a sample independent of the draw of a split.
SAMPLE_SALT = np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True)
class Selection:
    """What is kept of the rows that are read.

    Attributes:
        columns: The columns, in this order; all when None.
        where: A filter, see `penstock.data.filters`; none when empty.
        sample_rate: The share of the rows that is kept, in (0, 1].
    """

    columns: tuple[str, ...] | None = None
    where: str = ""
    sample_rate: float = 1.0

    def read_schema(self, schema: pa.Schema, others: Sequence[str]) -> pa.Schema:
        """Return the columns to read: those kept, those of the filter, and `others`."""
        if self.columns is None:
            return schema
        wanted = [*self.columns, *(filter_columns(self.where) if self.where else []), *others]
        return pa.schema([schema.field(name) for name in dict.fromkeys(wanted)])

    def kept_schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the columns that are kept."""
        if self.columns is None:
            return schema
        return pa.schema([schema.field(name) for name in self.columns])

    def rows(self, batch: pa.RecordBatch, lines: Lines) -> tuple[pa.RecordBatch, Hashes, Lines]:
        """Return the rows that are kept with all columns, their hashes over the kept, their lines.

        The sample goes by a row's content: equal rows are kept or left out together, in every run.
        """
        if self.where:
            names = batch.schema.names
            batch = pa.RecordBatch.from_arrays(
                [*batch.columns, pa.array(lines)], names=[*names, LINE]
            )
            batch = apply_filter(batch, filter_expression(self.where))
            *columns, kept = batch.columns
            batch = pa.RecordBatch.from_arrays(columns, names=names)
            lines = kept.to_numpy()
        hashes = row_hashes(batch, self.columns)
        if self.sample_rate < 1:
            drawn = (mix(hashes ^ SAMPLE_SALT) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            chosen = drawn < self.sample_rate
            batch, hashes, lines = batch.filter(pa.array(chosen)), hashes[chosen], lines[chosen]
        return batch, hashes, lines


@dataclass(frozen=True)
class Layout:
    """How shards are written: rows in each, compression, the seed that shuffles, if any."""

    shard_rows: int | None = None
    compression: str = "zstd"
    shuffle_seed: int | None = None


def selection_of(columns: Sequence[str] | None, where: str, sample_rate: float) -> Selection:
    """Return the selection that the parameters stand for.

    Raises:
        PenstockError: A column is named twice, none is, the filter does not parse, or the rate is
            not above 0 and at most 1.
    """
    if columns is not None and (not columns or len(set(columns)) < len(columns)):
        raise PenstockError(
            f"columns is {list(columns)!r}; name each column to keep once, or leave it out."
        )
    number = isinstance(sample_rate, (int, float)) and not isinstance(sample_rate, bool)
    if not number or not 0 < sample_rate <= 1:
        raise PenstockError(
            f"sample_rate is {sample_rate!r}; give a share above 0 and at most 1, such as 0.1."
        )
    if where:
        filter_columns(where)
    return Selection(None if columns is None else tuple(columns), where, float(sample_rate))


def check_selection(selection: Selection, schema: pa.Schema) -> None:
    """Check a selection against the columns there are.

    Raises:
        PenstockError: It names no column, or its filter does not fit the types.
    """
    for name in selection.columns or ():
        if name not in schema.names:
            raise PenstockError(
                f"columns names {name!r}, which is no column of the data; there are "
                f"{', '.join(schema.names)}."
            )
    if selection.where:
        check_filter(selection.where, schema)


def layout_of(shards: Mapping[str, Any] | None, shuffle_seed: int | None) -> Layout:
    """Return the layout that a parameter such as `{"rows": 100_000}` stands for.

    Raises:
        PenstockError: A key is unknown, or a value is not of its kind.
    """
    given = dict(shards or {})
    rows, compression = given.pop("rows", None), given.pop("compression", "zstd")
    if given:
        raise PenstockError(
            f"shards has the unknown key {next(iter(given))!r}; known are rows, compression."
        )
    number = isinstance(rows, (int, float)) and not isinstance(rows, bool)
    if rows is not None and (not number or rows < 1 or rows != rows // 1):
        raise PenstockError(f"shards gives rows as {rows!r}; expected a whole number from 1 on.")
    if compression not in COMPRESSIONS:
        raise PenstockError(
            f"shards gives compression as {compression!r}; expected {', '.join(COMPRESSIONS)}."
        )
    return Layout(None if rows is None else int(rows), compression, shuffle_seed)
