"""Where every row stood in its source: the file, and the line, row or record there, from 1.

Beside each shard `part-00000.parquet` lies `_part-00000.positions`, Parquet with a row for each of
the shard's: `file`, the place of the source among the manifest's files, and `step`, how many lines
after the row before it stands (after line 0 where a row group begins). Rows mostly keep the order
of their source, so that the steps take a few bits each. Whoever reads rows does not see the file:
the ending is not that of a shard, and readers of whole folders leave out what begins with an
underscore. It counts in no digest of the content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import PenstockError
from .examples import read_manifest, shard_paths, split_folder

SCHEMA = pa.schema({"file": pa.int32(), "line": pa.int64()})
STORED = pa.schema({"file": pa.int32(), "step": pa.int64()})
# What a line is called in formats that have none.
NOUNS = {"parquet": "row", "sql": "row", "tfrecord": "record", "avro": "record"}

Lines = np.ndarray[Any, Any]


def positions_file(shard: Path) -> Path:
    """Return where the positions of a shard's rows lie, when they are known."""
    return shard.with_name(f"_{shard.stem}.positions")


def positions(file: int, lines: Lines) -> pa.RecordBatch:
    """Return the positions of rows that stand on `lines` of one source."""
    files = pa.array(np.full(len(lines), file, np.int32))
    return pa.RecordBatch.from_arrays([files, pa.array(lines, pa.int64())], schema=SCHEMA)


class PositionsWriter:
    """Writes the positions of a shard's rows, in their order.

    Args:
        shard: The shard.
    """

    def __init__(self, shard: Path) -> None:
        self._writer = pq.ParquetWriter(
            positions_file(shard), STORED, compression="zstd", write_statistics=False
        )

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Append positions, as one row group."""
        table = pa.Table.from_batches(batches, schema=SCHEMA)
        steps = np.diff(table["line"].to_numpy(), prepend=0)
        stored = pa.Table.from_arrays([table["file"], pa.array(steps)], schema=STORED)
        self._writer.write_table(stored, row_group_size=max(len(table), 1))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class ShardPositions:
    """The positions of a shard's rows, read where they are asked for; one row group is held.

    Args:
        shard: The shard, whose positions are known.

    Raises:
        PenstockError: The positions cannot be read.
    """

    def __init__(self, shard: Path) -> None:
        file = positions_file(shard)
        try:
            self._reader = pq.ParquetFile(file)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise PenstockError(
                f"The positions {file} cannot be read ({reason}); run example_gen again."
            ) from error
        metadata = self._reader.metadata
        sizes = [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._held: tuple[int, pa.Table] | None = None

    def take(self, rows: Lines) -> pa.RecordBatch:
        """Return the positions of rows by their numbers in the shard, from 0, which ascend."""
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        parts = [
            self._group(int(group)).take(pa.array(rows[groups == group] - self._starts[group]))
            for group in np.unique(groups)
        ]
        table = pa.concat_tables([SCHEMA.empty_table(), *parts]).combine_chunks()
        return table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], SCHEMA)

    def slice(self, start: int, rows: int) -> pa.RecordBatch:
        """Return the positions of so many rows from the row numbered `start` on."""
        return self.take(np.arange(start, start + rows))

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _group(self, group: int) -> pa.Table:
        if self._held is None or self._held[0] != group:
            stored = self._reader.read_row_group(group)
            lines = pa.array(np.cumsum(stored["step"].to_numpy()))
            self._held = (group, pa.Table.from_arrays([stored["file"], lines], schema=SCHEMA))
        return self._held[1]


def open_positions(shard: Path) -> ShardPositions | None:
    """Return the positions of a shard's rows; None when they are not known."""
    return ShardPositions(shard) if positions_file(shard).is_file() else None


class SourcePlaces:
    """Where the rows of a split stood in their sources; the positions of one shard are held.

    Args:
        path: The examples' folder.
        split: The split.

    Raises:
        PenstockError: The split is unknown, or a shard is missing.
    """

    def __init__(self, path: str | os.PathLike[str], split: str) -> None:
        files = read_manifest(path).source.get("files", [])
        self._names = np.array([*(str(file["path"]) for file in files), None], object)
        self._nouns = {str(f["path"]): NOUNS.get(str(f.get("format")), "line") for f in files}
        self._shards = shard_paths(path, split)
        self._split = split_folder(split)
        self._held: tuple[int, ShardPositions | None] | None = None

    @property
    def shards(self) -> list[str]:
        """The shards' paths in the artifact, such as `Split-train/part-00000.parquet`."""
        return [f"{self._split}/{file.name}" for file in self._shards]

    def find(self, shards: Lines, rows: Lines) -> pa.Table:
        """Return the places of rows by their shards' numbers and theirs in the shard, from 0.

        Returns:
            `file` and `line`, null where they are not known, and `shard` and `row`, all rows in the
            order given.
        """
        found = np.full(len(rows), len(self._names) - 1)
        lines = np.zeros(len(rows), np.int64)
        for shard in np.unique(shards):
            if known := self._positions(int(shard)):
                here = np.flatnonzero(shards == shard)
                here = here[np.argsort(rows[here], kind="stable")]
                taken = known.take(rows[here])
                found[here] = taken.column(0).to_numpy()
                lines[here] = taken.column(1).to_numpy()
        unknown = found == len(self._names) - 1
        return pa.table(
            {
                "file": pa.array(self._names[found], pa.string()),
                "line": pa.array(lines, pa.int64(), mask=unknown),
                "shard": pa.array(np.array(self.shards, object)[shards], pa.string()),
                "row": pa.array(rows, pa.int64()),
            }
        )

    def in_words(self, place: Mapping[str, Any]) -> str:
        """Return a place as people say it, such as `flights-2013-01.csv, line 4,711`.

        Args:
            place: A row of what `find` returns.
        """
        if place["file"] is None:
            return f"{place['shard']}, row {place['row']:,}"
        return f"{place['file']}, {self._nouns[place['file']]} {place['line']:,}"

    def close(self) -> None:
        """Close what is open."""
        if self._held and self._held[1]:
            self._held[1].close()
        self._held = None

    def _positions(self, shard: int) -> ShardPositions | None:
        if self._held is None or self._held[0] != shard:
            self.close()
            self._held = (shard, open_positions(self._shards[shard]))
        return self._held[1]
