"""Shuffling a split that does not fit into memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .examples import Shard, iter_shard, split_folder
from .positions import SCHEMA as POSITIONS
from .positions import open_positions
from .row_hash import Hashes, mix, row_hashes
from .selection import Layout
from .shards import SHARD_ROWS, ShardWriter


def shuffle_split(
    path: Path, split: str, shards: tuple[Shard, ...], schema: pa.Schema, layout: Layout
) -> tuple[Shard, ...]:
    """Write a split's rows anew in the order of a hash of their content and the seed.

    The order is that of a random permutation, except that equal rows come one after another; it
    depends on neither the files' order nor their sizes. Rows go to as many buckets as there are
    shards by the upper bits of their keys, then each bucket is sorted, so that memory holds about
    one shard.

    Args:
        path: The examples' folder.
        split: The split.
        shards: Its shards, which are removed.
        schema: Its columns.
        layout: The size and compression of the new shards, and the seed.
    """
    folder = path / split_folder(split)
    source = folder.with_name(f"unshuffled-{split}")
    folder.rename(source)
    rows = sum(shard.rows for shard in shards)
    count = max(1, -(-rows // (layout.shard_rows or SHARD_ROWS)))
    buckets = [source / f"bucket-{n:05d}.parquet" for n in range(min(count, 512))]
    names = [str(place) for place in range(len(schema) + len(POSITIONS))]
    stored = pa.schema([f.with_name(n) for n, f in zip(names, [*schema, *POSITIONS], strict=True)])
    writers = [pq.ParquetWriter(bucket, stored, compression="lz4") for bucket in buckets]
    for shard in shards:
        for batch, positions in _with_positions(source / shard.file, schema):
            places = (_keys(batch, layout) >> np.uint64(33)) * np.uint64(len(buckets))
            places >>= np.uint64(31)
            both = pa.RecordBatch.from_arrays([*batch.columns, *positions.columns], schema=stored)
            for place in np.unique(places):
                part = both.filter(pa.array(places == place))
                writers[int(place)].write_table(pa.Table.from_batches([part]))
    writer = ShardWriter(path, split, schema, layout.shard_rows, layout.compression)
    for bucket, bucket_writer in zip(buckets, writers, strict=True):
        bucket_writer.close()
        with pq.ParquetFile(bucket) as reader:
            table = reader.read()
        if len(table):
            columns = table.combine_chunks().to_batches()[0].columns
            whole = pa.RecordBatch.from_arrays(columns[: len(schema)], schema=schema)
            positions = pa.RecordBatch.from_arrays(columns[len(schema) :], schema=POSITIONS)
            order = pa.array(np.argsort(_keys(whole, layout), kind="stable"))
            writer.write(whole.take(order), positions.take(order))
    written = writer.close()
    shutil.rmtree(source)
    return written


def _with_positions(
    shard: Path, schema: pa.Schema
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Yield a shard's rows and where they stood; a shard without rows has nowhere."""
    known, start = open_positions(shard), 0
    for batch in iter_shard(shard, schema.names):
        if known is not None:
            yield batch, known.slice(start, batch.num_rows)
        start += batch.num_rows
    if known is not None:
        known.close()


def _keys(batch: pa.RecordBatch, layout: Layout) -> Hashes:
    seed = np.array([(layout.shuffle_seed or 0) % 2**64], np.uint64)
    return mix(row_hashes(batch) ^ mix(seed + np.uint64(1)))
