"""Shards as the Arrow batches that TFDV reads."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.examples import iter_shard
from ...data.list_arrays import has_list_array, list_batch
from ...errors import PenstockError


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
    for _, batch in read_numbered_batches(shard, columns, sample_rate):
        yield batch


def read_numbered_batches(
    shard: str, columns: Sequence[str], sample_rate: float = 1.0
) -> Iterator[tuple[np.ndarray[Any, Any], pa.RecordBatch]]:
    """Yield what `read_list_batches` does, each batch with the numbers of its rows, from 0."""
    draw = np.random.default_rng(zlib.crc32("/".join(Path(shard).parts[-2:]).encode()))
    start = 0
    for batch in iter_shard(shard, columns):
        numbers = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        if sample_rate < 1:
            drawn = draw.random(batch.num_rows) < sample_rate
            batch, numbers = batch.filter(pa.array(drawn)), numbers[drawn]
        if batch.num_rows:
            yield numbers, list_batch(batch)


def check_types(schema: pa.Schema) -> None:
    """Check that TFDV has statistics for every column.

    Raises:
        PenstockError: A column has a type, perhaps within a list or struct, that is no number,
            string, boolean, date or time.
    """
    for field in schema:
        if not has_list_array(field.type):
            raise PenstockError(
                f"Column {field.name!r} has type {field.type}, for which TFDV has no statistics; "
                "leave it out by exclude_columns, or turn it into numbers or strings before "
                "example_gen."
            )
