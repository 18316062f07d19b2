"""Slices made by SQL: TFMA's `slice_keys_sql`, which DuckDB evaluates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ...data.sql_slices import SliceKey, SqlSlicer, columns_named, slice_queries

PLACE = "slice_keys_sql of eval_config"


def columns_in_sql(sql: str, columns: list[str]) -> list[str]:
    """Return the columns of the Examples that `sql` may name, in their order there.

    Raises:
        PenstockError: It is not of the form of a slicing query.
    """
    (query,) = slice_queries([sql], [PLACE])
    return columns_named(query, columns)


def check_sql(sql: str, schema: pa.Schema) -> None:
    """Check that `sql` is a slicing query over the columns of the Examples.

    Raises:
        PenstockError: It is not of the form, names what is not there, or is no SQL.
    """
    nothing = pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)
    slices_by_sql(nothing, sql)


def slices_by_sql(
    batch: pa.RecordBatch, sql: str
) -> dict[SliceKey, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the rows of each slice that `sql` makes, ascending.

    As in TFMA, a value is text, `NULL` where there is none, and true is 1.
    """
    queries = slice_queries([sql], [PLACE])
    names = columns_named(queries[0], batch.schema.names)
    if not names:
        # A column carries the number of rows.
        names = batch.schema.names[:1]
    columns = [_as_number(batch.column(batch.schema.get_field_index(name))) for name in names]
    seen = pa.RecordBatch.from_arrays(columns, names=names)
    return SqlSlicer(queries, batch.schema).slices_of_batch(seen)


def _as_number(column: pa.Array) -> pa.Array:
    return column.cast(pa.int64()) if pa.types.is_boolean(column.type) else column
