"""Bringing sources to local CSV and Parquet files, which the rest of example_gen reads.

Remote files are copied; formats that are read record by record become Parquet files of bounded
size, each in the types of its own records. Nothing is read twice from the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import PenstockError
from .json_source import json_batches
from .positions import Lines, PositionsWriter, positions
from .quarantine import Quarantine
from .record_sources import Numbered, avro_batches, sql_batches, tfrecord_batches
from .remote import copy_remote, is_url
from .sources import Reading, format_of
from .spans import SourceFile

READERS = {"jsonl": json_batches, "tfrecord": tfrecord_batches, "avro": avro_batches}


@dataclass(frozen=True)
class Prepared:
    """A source as local files: its format, pieces, size in bytes, its rows that were malformed.

    The size is None for a query. `changed` is when a local file was last changed, in nanoseconds.
    """

    file: SourceFile
    format: str
    pieces: tuple[SourceFile, ...]
    bytes: int | None
    rejected: int = 0
    changed: int = 0


def check_unchanged(sources: Sequence[Prepared]) -> None:
    """Check that no local file was written to since it was prepared.

    Raises:
        PenstockError: One was.
    """
    for source in sources:
        if not source.changed:
            continue
        path = source.file.path
        now = path.stat() if path.is_file() else None
        if now is None or (now.st_size, now.st_mtime_ns) != (source.bytes, source.changed):
            raise PenstockError(
                f"{path} changed while it was read; run example_gen again once nothing writes to "
                "it, or write new files under a name of their own and rename them."
            )


def prepare(
    files: Sequence[SourceFile], reading: Reading, folder: Path, quarantine: Quarantine
) -> list[Prepared]:
    """Return the sources as local files, those that had to be written in `folder`.

    Raises:
        PenstockError: A source cannot be read, or has too many malformed rows.
    """
    prepared = []
    for number, file in enumerate(files):
        local = file
        if is_url(file.shown) and not file.query:
            place = folder / f"{number:05d}-{Path(file.name).name}"
            copy_remote(file.shown, place)
            local = replace(file, path=place)
        status = None if file.query else local.path.stat()
        size = status.st_size if status else None
        changed = status.st_mtime_ns if status and local is file else 0
        before = quarantine.rows
        kind = "sql" if file.query else format_of(file, reading.file_format)
        pieces: tuple[SourceFile, ...] = (local,)
        if kind not in ("csv", "parquet"):
            batches = (
                sql_batches(file.shown, file.query, file.label)
                if kind == "sql"
                else READERS[kind](local.path, file.label, quarantine.add)
            )
            pieces = tuple(_write(batches, folder, number, file, kind))
            if local is not file:
                local.path.unlink()
        prepared.append(Prepared(file, kind, pieces, size, quarantine.rows - before, changed))
    return prepared


def _write(
    batches: Iterator[Numbered], folder: Path, number: int, file: SourceFile, kind: str
) -> Iterator[SourceFile]:
    """Write batches as Parquet files, a new one where the columns or types change."""
    piece: _Piece | None = None
    count = 0
    try:
        for batch, lines in batches:
            if piece is None or batch.schema != piece.schema:
                if piece is not None:
                    piece.close()
                path = folder / f"{number:05d}-{count:05d}.parquet"
                piece = _Piece(path, batch.schema, file.label)
                yield replace(file, path=path, shown=file.label, query="", piece_of=kind)
                count += 1
            piece.write(batch, lines)
    finally:
        if piece is not None:
            piece.close()


class _Piece:
    """A Parquet file of rows with the lines that they have in their source."""

    def __init__(self, path: Path, schema: pa.Schema, label: str) -> None:
        self.schema = schema
        try:
            self._rows = pq.ParquetWriter(path, schema, compression="lz4")
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise PenstockError(
                f"{label} has columns that Examples do not hold ({error}); make them booleans, "
                "numbers, dates, timestamps, strings, or lists or structs of these, with at least "
                "one field."
            ) from error
        self._positions = PositionsWriter(path)

    def write(self, batch: pa.RecordBatch, lines: Lines) -> None:
        """Append rows."""
        self._rows.write_table(pa.Table.from_batches([batch]))
        self._positions.write([positions(0, lines)])

    def close(self) -> None:
        """Finish the file."""
        self._rows.close()
        self._positions.close()
