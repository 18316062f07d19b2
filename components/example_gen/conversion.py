"""The rows of files to shards of splits, with every row accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...data.division import Division
from ...data.examples import Shard
from ...data.leakage import Leakage
from ...data.quarantine import Quarantine, Reject
from ...data.row_hash import ContentSum, row_hashes
from ...data.shards import ShardWriter
from ...data.sources import Reading, read_batches
from ...data.spans import SourceFile


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
    division: Division,
    leakage: Leakage | None,
    max_share: float,
) -> Conversion:
    """Write the rows of the files as shards into `folder`.

    Args:
        folder: The examples' folder.
        files: What to read.
        schema: The columns common to all files.
        reading: How to read.
        division: Which split a row falls in.
        leakage: Sees every row with its split; None to save its memory.
        max_share: The share of malformed rows that is allowed.

    Raises:
        PenstockError: A file cannot be read, or too many rows of it are malformed.
    """
    weights = division.weights
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
            hashes = row_hashes(batch)
            places = division.places(batch, hashes, file)
            if leakage is not None:
                leakage.add(batch, hashes, places)
            for place, split in enumerate(division.splits):
                chosen = places == place
                writers[split].write(batch.filter(pa.array(chosen)))
                sums[split] += ContentSum.of(hashes[chosen])
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
