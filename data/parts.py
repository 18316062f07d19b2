"""What one worker reads at a time: a run of a Parquet file's row groups, or a CSV file's range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from .csv_ranges import ByteRange
from .csv_source import csv_batches, csv_ranges
from .parquet_source import parquet_batches, row_group_runs
from .positions import Lines
from .sources import Reading, Rejecter, format_of
from .spans import SourceFile

PART_ROWS = 262_144


@dataclass(frozen=True)
class Part:
    """Some of a local file, or all of it.

    Attributes:
        file: The file.
        row_groups: Which row groups of a Parquet file; all when None.
        bytes: Which bytes of a CSV file; all when None.
    """

    file: SourceFile
    row_groups: tuple[int, ...] | None = None
    bytes: ByteRange | None = None


def parts_of(file: SourceFile, reading: Reading) -> list[Part]:
    """Return the parts of a file in their order, together all of its rows.

    Raises:
        PenstockError: The file cannot be read.
    """
    if format_of(file, reading.file_format) == "csv":
        return [Part(file, bytes=part) for part in csv_ranges(file.path, reading.csv)]
    runs = row_group_runs(file.path, PART_ROWS)
    return [Part(file, row_groups=run) for run in runs]


def read_batches(
    part: Part, schema: pa.Schema, reading: Reading, reject: Rejecter
) -> Iterator[tuple[pa.RecordBatch, Lines]]:
    """Yield the rows of a part in the types of `schema`, the malformed ones to `reject`.

    With each batch come the numbers in the source of its rows' lines, rows or records, from 1.

    Args:
        part: What to read.
        schema: The columns to read.
        reading: How to read.
        reject: Takes each malformed row.

    Raises:
        PenstockError: The file is broken or disagrees with `schema`; the sentence says where.
    """
    file = part.file
    if format_of(file, reading.file_format) == "csv":
        yield from csv_batches(file.path, schema, reading.csv, reject, file.label, part.bytes)
    else:
        groups = None if part.row_groups is None else list(part.row_groups)
        piece = bool(file.piece_of)
        yield from parquet_batches(file.path, schema, file.label, piece, groups)
