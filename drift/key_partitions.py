"""Rows scattered by the hash of their key into files, so that each partition fits in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ..data.examples import iter_shard
from .key_counts import KeyCounts
from .keys import Keys

SIDES = ("training", "serving")
ROW, HASH = "\0row", "\0hash"
# A partition holds about so many cells of both sides together, some 100 MB.
CELLS = 8_000_000
MOST_PARTITIONS = 512


@dataclass(frozen=True)
class Side:
    """One side's rows: its shards in their order, and the columns to read of them."""

    shards: tuple[str, ...]
    schema: pa.Schema
    rows: int


@dataclass(frozen=True)
class Shard:
    """A shard to scatter: of which side, the how manieth, where, and its columns to read."""

    side: int
    order: int
    path: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A shard's rows of one partition."""

    side: int
    order: int
    file: str
    shard: str


def partitions_of(training: Side, serving: Side, columns: int) -> int:
    """Return into how many partitions the rows are scattered, from their number of cells."""
    cells = (training.rows + serving.rows) * max(columns, 1)
    return min(max(math.ceil(cells / CELLS), 1), MOST_PARTITIONS)


class Scatter(beam.DoFn):
    """Write a shard's rows by partition, and count those without a key."""

    def __init__(self, keys: Keys, parts: int, folder: str) -> None:
        self.keys, self.parts, self.folder = keys, parts, folder

    def process(self, shard: Shard) -> Iterator[Any]:
        """Yield a part by its partition, and the counts as the output `counts`."""
        rows = without = 0
        writers: dict[int, tuple[pa.ipc.RecordBatchFileWriter, Path, Path]] = {}
        try:
            for batch in iter_shard(shard.path, shard.columns):
                hashes, there = self.keys.hashes(batch)
                places = np.where(
                    there, (hashes >> np.uint64(40)) % np.uint64(self.parts), self.parts
                )
                extended = _extended(batch, rows, hashes)
                for part, found in _divided(extended, places, self.parts):
                    if part not in writers:
                        writers[part] = self._open(shard, part, found.schema)
                    writers[part][0].write_batch(found)
                rows += batch.num_rows
                without += int((~there).sum())
        finally:
            for writer, _, _ in writers.values():
                writer.close()
        for part, (_, work, file) in writers.items():
            work.rename(file)
            yield part, Part(shard.side, shard.order, str(file), shard.path)
        sides = (rows, 0) if shard.side == 0 else (0, rows)
        nulls = (without, 0) if shard.side == 0 else (0, without)
        yield beam.pvalue.TaggedOutput("counts", KeyCounts(rows=sides, null_keys=nulls))

    def _open(self, shard: Shard, part: int, schema: pa.Schema) -> Any:
        name = f"{part:04d}-{SIDES[shard.side]}-{shard.order:06d}.arrow"
        file = Path(self.folder) / name
        work = file.with_name(f".{name}.{os.getpid()}.tmp")
        return pa.ipc.new_file(str(work), schema), work, file


def _extended(batch: pa.RecordBatch, start: int, hashes: Any) -> pa.RecordBatch:
    """Return rows with their numbers in the shard, from 0, and the hashes of their keys."""
    numbers = pa.array(np.arange(start, start + batch.num_rows))
    arrays = [*batch.columns, numbers, pa.array(hashes)]
    return pa.RecordBatch.from_arrays(arrays, names=[*batch.schema.names, ROW, HASH])


def _divided(
    batch: pa.RecordBatch, places: Any, parts: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of each partition that has any, in their order."""
    order = np.argsort(places, kind="stable")
    counts = np.bincount(places.astype(np.int64), minlength=parts + 1)[:parts]
    table = pa.Table.from_batches([batch]).take(pa.array(order))
    start = 0
    for part, count in enumerate(counts):
        if count:
            found = table.slice(start, int(count)).combine_chunks().to_batches()
            for piece in found:
                yield part, piece
        start += int(count)


@dataclass(frozen=True)
class Rows:
    """Rows of one side: their table, and which shard each block of them is from."""

    table: Any
    shards: tuple[str, ...]
    ends: tuple[int, ...]

    @staticmethod
    def read(parts: Sequence[Part]) -> Rows:
        """Read the files of one side's partition, in the shards' order."""
        tables = []
        for part in parts:
            with pa.memory_map(part.file) as source:
                tables.append(pa.ipc.open_file(source).read_all())
        if not tables:
            return Rows(None, (), ())
        ends = np.cumsum([table.num_rows for table in tables])
        shards = tuple("/".join(Path(part.shard).parts[-2:]) for part in parts)
        return Rows(pa.concat_tables(tables), shards, tuple(int(end) for end in ends))

    def position(self, place: int) -> tuple[str, int]:
        """Return where a row stands: its shard and its number there, from 0."""
        assert self.table is not None
        shard = self.shards[int(np.searchsorted(self.ends, place, side="right"))]
        return shard, int(self.table[ROW][place].as_py())
