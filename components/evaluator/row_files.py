"""The rows that are evaluated, in files: what every later pass over them reads.

A pipeline that held the rows itself would carry them around; with files, any worker reads its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

# The row's number within the split, by which it is the same row in every pass.
NUMBER = "__row"


@dataclass(frozen=True)
class RowFile:
    """An Arrow file of one record batch: flat columns, and each row's number; never empty."""

    path: str
    rows: int


def write_rows(
    path: Path, batches: Sequence[pa.RecordBatch], numbers: Sequence[Array]
) -> RowFile | None:
    """Write batches with the numbers of their rows; nothing and None where there are no rows."""
    if not sum(batch.num_rows for batch in batches):
        return None
    table = pa.Table.from_batches(batches)
    table = table.append_column(NUMBER, pa.array(np.concatenate(numbers), pa.int64()))
    (whole,) = table.combine_chunks().to_batches()
    with pa.ipc.new_file(str(path), whole.schema) as writer:
        writer.write_batch(whole)
    return RowFile(str(path), whole.num_rows)


def read_rows(file: RowFile) -> tuple[pa.RecordBatch, Array]:
    """Return a file's columns and its rows' numbers `[rows]`, mapped into memory, not read."""
    with pa.memory_map(file.path) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    place = batch.schema.get_field_index(NUMBER)
    numbers = batch.column(place).to_numpy()
    kept = [field for field in range(batch.num_columns) if field != place]
    columns = [batch.column(field) for field in kept]
    return (
        pa.RecordBatch.from_arrays(columns, names=[batch.schema.names[field] for field in kept]),
        numbers,
    )


def read_together(files: Iterable[RowFile]) -> pa.RecordBatch:
    """Return the columns of several files as one batch."""
    table = pa.Table.from_batches([read_rows(file)[0] for file in files])
    (whole,) = table.combine_chunks().to_batches()
    return whole


def schema_of(files: Sequence[RowFile]) -> pa.Schema:
    """Return the columns of the files; none where there are no rows."""
    return read_rows(files[0])[0].schema if files else pa.schema([])


def grouped(files: Sequence[RowFile], most_rows: int) -> Iterator[tuple[RowFile, ...]]:
    """Yield the files in their order, in groups of at most so many rows; a larger one is alone."""
    group: list[RowFile] = []
    for file in files:
        if group and sum(f.rows for f in group) + file.rows > most_rows:
            yield tuple(group)
            group = []
        group.append(file)
    if group:
        yield tuple(group)
