"""Distributions from raw Arrow columns, batch by batch.

Types are taken as TFDV's statistics take them: integers, floats, booleans, dates and times are
numbers, strings and bytes are categories, and a list's items are the values of its row. Decimals
are floats; dates and times are the integers of their own unit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from ..data.arrow_kinds import is_text
from ..errors import PenstockError
from .distribution import Array, Categorical, Distribution, categorical, merge, numeric


def distributions_of_batches(
    batches: Iterable[pa.RecordBatch | pa.Table], categories: Collection[str] = ()
) -> dict[str, Distribution]:
    """Return the distribution of every column, merged over batches.

    Args:
        batches: All with the same columns.
        categories: Columns of numbers that are categories.

    Raises:
        PenstockError: A column has a type that has no distribution, as a struct.
    """
    found: dict[str, Distribution] = {}
    for batch in batches:
        for name in batch.schema.names:
            part = distribution_of_column(batch[name], name, categorical=name in categories)
            found[name] = merge(found[name], part) if name in found else part
    return found


def distribution_of_column(
    column: pa.Array | pa.ChunkedArray, name: str = "column", categorical: bool = False
) -> Distribution:
    """Return the distribution of a column's values.

    Args:
        column: Numbers, strings, booleans, dates, times, or lists of them.
        name: What the column is called, for errors.
        categorical: Whether its numbers are categories.

    Raises:
        PenstockError: The column has a type that has no distribution, as a struct.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):  # before Arrow 12 combining several may leave chunks
        whole = pa.concat_arrays(whole.chunks)
    missing = float(whole.null_count)
    values = whole
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = values.flatten()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    values = values.drop_null()
    if pa.types.is_null(values.type):
        return Categorical({}, 0.0, missing)
    if categorical or is_text(values.type):
        return _categories(values, missing)
    return numeric(_numbers(values, name), missing)


def _categories(values: pa.Array, missing: float) -> Categorical:
    counted = values.value_counts()
    names = (
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        for value in counted.field("values").to_pylist()
    )
    counts = counted.field("counts").to_pylist()
    return categorical(dict(zip(names, map(float, counts), strict=True)), 0.0, missing)


def _numbers(values: pa.Array, name: str) -> Array:
    kind = values.type
    if pa.types.is_decimal(kind):
        values = pc.cast(values, pa.float64())
    elif pa.types.is_boolean(kind):
        values = pc.cast(values, pa.int8())
    elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
        values = values.view(pa.int32())
    elif pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        values = values.view(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise PenstockError(
            f"Column {name!r} has type {kind}, which has no distribution; leave it out, or turn it "
            "into numbers or strings."
        )
    numbers: Array = values.to_numpy(zero_copy_only=False)
    return numbers
