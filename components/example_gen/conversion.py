"""The rows of files to shards of splits, with every row accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from ...data.division import Division
from ...data.examples import Shard
from ...data.leakage import Leakage
from ...data.parquet_source import matching_row_groups
from ...data.parts import Part, parts_of, read_batches
from ...data.positions import positions
from ...data.quarantine import Quarantine, Reject
from ...data.row_hash import ContentSum
from ...data.selection import Layout, Selection
from ...data.shards import ShardWriter
from ...data.sources import Reading
from ...data.spool import Prepared


@dataclass(frozen=True)
class Plan:
    """What is done to every row.

    Attributes:
        schema: The columns that are read.
        kept: The columns that are written.
        reading: How files are read.
        selection: Which rows are kept.
        division: Which split a row falls in.
        layout: How shards are written.
    """

    schema: pa.Schema
    kept: pa.Schema
    reading: Reading
    selection: Selection
    division: Division
    layout: Layout

    def writers(
        self, folder: Path, prefix: str = "part-", keep_empty: bool = True
    ) -> dict[str, ShardWriter]:
        """Return a writer of shards in `folder` for every split, the heaviest first."""
        weights = self.division.weights
        rows, compression = self.layout.shard_rows, self.layout.compression
        return {
            split: ShardWriter(folder, split, self.kept, rows, compression, prefix, keep_empty)
            for split in sorted(weights, key=lambda split: -weights[split])
        }


@dataclass
class Counted:
    """Rows that were read and rows that were left out, and what was written, by split."""

    good: int = 0
    filtered: int = 0
    sums: dict[str, ContentSum] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """What was written: shards and sums of hashes by split, rows by source, accounts of all rows.

    `accounts` has the rows `in` the sources, and of these the rows `out`, `quarantined` and
    `filtered`. `span_rows` has, by split, stretches of rows of one span in the order on disk; empty
    where that order is not the sources'.
    """

    shards: dict[str, tuple[Shard, ...]]
    sums: dict[str, ContentSum]
    rows_of: dict[Prepared, int]
    accounts: dict[str, int]
    first_rejects: list[Reject]
    span_rows: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def convert(
    folder: Path,
    sources: Sequence[Prepared],
    plan: Plan,
    leakage: Leakage | None,
    quarantine: Quarantine,
) -> Conversion:
    """Write the rows of the sources as shards into `folder`.

    Args:
        folder: The examples' folder.
        sources: What to read.
        plan: What to do to every row.
        leakage: Sees every row with its split; None to save its memory.
        quarantine: Takes the malformed rows; closed at the end.

    Raises:
        PenstockError: A file cannot be read, or too many rows of it are malformed.
    """
    writers = plan.writers(folder)
    counted = Counted(sums=dict.fromkeys(plan.division.splits, ContentSum()))
    rows_of = {}
    span_rows: dict[str, list[tuple[int, int]]] = {split: [] for split in writers}
    for number, source in enumerate(sources):
        before, by_split = counted.good + quarantine.rows, dict(counted.sums)
        for piece in source.pieces:
            for part in parts_of(piece, plan.reading):
                convert_part(part, number, plan, writers, counted, quarantine, leakage)
        rows_of[source] = counted.good + quarantine.rows - before + source.rejected
        for split, total in counted.sums.items():
            rows = total.rows - by_split[split].rows
            if source.file.span is not None and rows:
                span_rows[split].append((source.file.span, rows))
    quarantine.close()
    shards = {split: writer.close() for split, writer in writers.items()}
    accounts = account(rows_of, shards, quarantine.rows, counted.filtered)
    return Conversion(shards, counted.sums, rows_of, accounts, quarantine.first, span_rows)


def convert_part(
    part: Part,
    source: int,
    plan: Plan,
    writers: Mapping[str, ShardWriter],
    counted: Counted,
    quarantine: Quarantine,
    leakage: Leakage | None = None,
) -> None:
    """Write the rows of a part of a file, adding to what was counted.

    Args:
        part: What to read.
        source: The number of its source.
        plan: What to do to every row.
        writers: Where rows go, by split.
        counted: What was counted so far.
        quarantine: Takes the malformed rows.
        leakage: Sees every row with its split.
    """
    where = plan.selection.where
    if where and part.row_groups is not None:
        groups = list(part.row_groups)
        groups, passed = matching_row_groups(part.file.path, plan.schema, where, groups)
        part = replace(part, row_groups=tuple(groups))
        counted.good += passed
        counted.filtered += passed
    for batch, lines in read_batches(part, plan.schema, plan.reading, quarantine.add):
        rows, hashes, lines = plan.selection.rows(batch, lines)
        counted.good += batch.num_rows
        counted.filtered += batch.num_rows - rows.num_rows
        places = plan.division.places(rows, hashes, part.file)
        kept = pa.RecordBatch.from_arrays(
            [rows.column(rows.schema.get_field_index(name)) for name in plan.kept.names],
            schema=plan.kept,
        )
        if leakage is not None:
            leakage.add(kept, hashes, places)
        for place, split in enumerate(plan.division.splits):
            chosen = places == place
            writers[split].write(kept.filter(pa.array(chosen)), positions(source, lines[chosen]))
            counted.sums[split] += ContentSum.of(hashes[chosen])


def account(
    rows_of: Mapping[Prepared, int],
    shards: Mapping[str, Sequence[Shard]],
    quarantined: int,
    filtered: int,
) -> dict[str, int]:
    """Return the accounts of all rows, after checking that they balance."""
    rows_in = sum(rows_of.values())
    out = sum(shard.rows for parts in shards.values() for shard in parts)
    if rows_in != out + quarantined + filtered:
        raise AssertionError(f"{rows_in} rows in, {out} out, {quarantined} and {filtered} not")
    return {"in": rows_in, "out": out, "quarantined": quarantined, "filtered": filtered}
