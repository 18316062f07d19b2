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
from ...data.spool import Prepared


@dataclass(frozen=True)
class Conversion:
    """What was written: shards and sums of hashes by split, rows by file, accounts of all rows.

    `accounts` has the rows `in` the files, and of these the rows `out`, `quarantined` and
    `filtered`.
    """

    shards: dict[str, tuple[Shard, ...]]
    sums: dict[str, ContentSum]
    rows_of: dict[Prepared, int]
    accounts: dict[str, int]
    first_rejects: list[Reject]


def convert(
    folder: Path,
    sources: Sequence[Prepared],
    schema: pa.Schema,
    reading: Reading,
    division: Division,
    leakage: Leakage | None,
    quarantine: Quarantine,
) -> Conversion:
    """Write the rows of the files as shards into `folder`.

    Args:
        folder: The examples' folder.
        sources: What to read.
        schema: The columns common to all files.
        reading: How to read.
        division: Which split a row falls in.
        leakage: Sees every row with its split; None to save its memory.
        quarantine: Takes the malformed rows; closed at the end.

    Raises:
        PenstockError: A file cannot be read, or too many rows of it are malformed.
    """
    weights = division.weights
    heaviest_first = sorted(weights, key=lambda split: -weights[split])
    writers = {split: ShardWriter(folder, split, schema) for split in heaviest_first}
    sums = dict.fromkeys(weights, ContentSum())
    rows_of = {}
    good = 0
    for source in sources:
        before = good + quarantine.rows
        for file in source.pieces:
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
        rows_of[source] = good + quarantine.rows - before + source.rejected
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
