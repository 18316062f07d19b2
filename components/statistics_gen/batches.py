"""Shards as the Arrow batches that TFDV reads."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from tfx_bsl.arrow import array_util

from ...data.examples import iter_shard


def read_list_batches(
    shard: str, columns: Sequence[str], sample_rate: float = 1.0
) -> Iterator[pa.RecordBatch]:
    """Yield a shard's rows as TFDV wants them: a list of values per cell, null when missing.

    Args:
        shard: A Parquet file of the examples.
        columns: Which columns, in this order.
        sample_rate: The chance of each row to be taken, drawn with a seed from the shard's name.

    Raises:
        PenstockError: The file is not readable Parquet.
    """
    draw = np.random.default_rng(zlib.crc32("/".join(Path(shard).parts[-2:]).encode()))
    for batch in iter_shard(shard, columns):
        if sample_rate < 1:
            batch = batch.filter(pa.array(draw.random(batch.num_rows) < sample_rate))
        if batch.num_rows:
            arrays = [_list_array(batch.column(place)) for place in range(batch.num_columns)]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _list_array(column: pa.Array) -> pa.Array:
    kind = column.type
    # TFDV knows strings as bytes; some of its generators know no others.
    if pa.types.is_string(kind):
        column = column.cast(pa.binary())
    elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        column = column.cast(pa.list_(pa.binary()))
    if pa.types.is_null(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return column
    if pa.types.is_boolean(kind) or pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    return array_util.ToSingletonListArray(column)
