"""The rows of files to shards of splits, with every row accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...data.examples import Shard
from ...data.quarantine import Quarantine, Reject
from ...data.row_hash import ContentSum, row_hashes
from ...data.shards import ShardWriter
from ...data.sources import Reading, read_batches
from ...data.spans import SourceFile
from ...data.splits import assign_splits


@dataclass(frozen=True)
class Conversion:
    """What was written: shards and sums of hashes by split, rows by file, accounts of all rows.

    `accounts` has the rows `in` the files, and of these the rows `out`, `quarantined` and
    `filtered`.
    """

    shards: dict[str, tuple[Shard, ...]]
    sums: dict[str, ContentSum]
    rows_of: dict[SourceFile, int]
    accounts: dict[str, int]
    first_rejects: list[Reject]


def convert(
    folder: Path,
    files: Sequence[SourceFile],
    schema: pa.Schema,
    reading: Reading,
    weights: Mapping[str, float],
    split_columns: Sequence[str] | None,
    max_share: float,
) -> Conversion:
    """Write the rows of the files as shards into `folder`.

    Raises:
        PenstockError: A file cannot be read, or too many rows of it are malformed.
    """
    heaviest_first = sorted(weights, key=lambda split: -weights[split])
    writers = {split: ShardWriter(folder, split, schema) for split in heaviest_first}
    sums = dict.fromkeys(weights, ContentSum())
    quarantine = Quarantine(folder, max_share)
    rows_of = {}
    good = 0
    for file in files:
        before = good + quarantine.rows
        for batch in read_batches(file, schema, reading, quarantine.add):
            good += batch.num_rows
            for split, part, content in divide(batch, weights, split_columns):
                writers[split].write(part)
                sums[split] += content
        rows_of[file] = good + quarantine.rows - before
    quarantine.close()
    shards = {split: writer.close() for split, writer in writers.items()}
    out = sum(shard.rows for parts in shards.values() for shard in parts)
    accounts = {
        "in": sum(rows_of.values()),
        "out": out,
        "quarantined": quarantine.rows,
        "filtered": good - out,
    }
    return Conversion(shards, sums, rows_of, accounts, quarantine.first)


def divide(
    batch: pa.RecordBatch, weights: Mapping[str, float], split_columns: Sequence[str] | None
) -> Iterator[tuple[str, pa.RecordBatch, ContentSum]]:
    """Yield each split's rows of `batch` with the sum of their hashes."""
    hashes = row_hashes(batch)
    keys = row_hashes(batch, split_columns) if split_columns else hashes
    places = assign_splits(keys, weights)
    for place, split in enumerate(weights):
        chosen = places == place
        yield split, batch.filter(pa.array(chosen)), ContentSum.of(hashes[chosen])
