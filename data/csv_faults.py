"""Reading a CSV file record by record, to tell malformed rows from the others.

This is slower than Arrow's own reader, by an order of magnitude, and runs only from the first
block on that Arrow refuses. Arrow still decides what a value is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from ..errors import PenstockError
from .csv_options import CsvOptions
from .csv_ranges import ByteRange, open_range
from .positions import Lines
from .quarantine import Reject, parse_around

GROUP_RECORDS = 20_000


@dataclass(frozen=True)
class Record:
    """A record as it is written, with the number of its first line and its fields."""

    line: int
    text: str
    fields: list[str]

    def bytes(self) -> bytes:
        """Return the record's bytes in the file, without the line's end."""
        return self.text.rstrip("\r\n").encode("utf-8", "surrogateescape")


def careful_batches(
    file: Path,
    schema: pa.Schema,
    options: CsvOptions,
    skip: int,
    reject: Callable[[Reject], None],
    label: str,
    max_bytes: int,
    part: ByteRange | None = None,
) -> Iterator[tuple[pa.RecordBatch, Lines]]:
    """Yield the rows of a CSV file after the first `skip`, handing the malformed to `reject`.

    With each batch come the numbers of the lines on which its rows begin.

    Args:
        file: The file, compressed when its ending says so.
        schema: The columns to read.
        options: How the file is written.
        skip: The number of rows to pass over, all of them known to be good.
        reject: Takes each malformed row.
        label: What rejects call the file.
        max_bytes: The size of a record beyond which reading stops.
        part: Which bytes of the file; all when None. Lines count from the top of the file.

    Raises:
        PenstockError: A record is longer than `max_bytes`, or the file is truncated.
    """

    def refuse(record: Record, fault: Exception) -> None:
        refused.append(Reject(label, record.line, _reason(record, fault, names), record.bytes()))

    def finish() -> Iterator[tuple[pa.RecordBatch, Lines]]:
        yield from parse_around(group, parse, refuse)
        for row in sorted(refused, key=lambda r: r.line):
            reject(row)
        group.clear()
        refused.clear()

    def parse(records: Sequence[Record]) -> tuple[pa.RecordBatch, Lines]:
        text = "".join(r.text for r in records).encode()
        lines = np.array([r.line for r in records], np.int64)
        return _parse(text, names, schema, options), lines

    names: list[str] = list(options.columns or ())
    group: list[Record] = []
    refused: list[Reject] = []
    first_line = part.first_line if part else 1
    with open_text(file, part) as stream:
        records = _records(file, stream, options, max_bytes, first_line)
        if options.columns is None:
            names = next(records).fields
        for record in records:
            if skip:
                skip -= 1
            elif len(record.fields) != len(names):
                refuse(record, ValueError("ragged"))
            elif _invalid_byte(record) is not None:
                refuse(record, ValueError("not UTF-8"))
            else:
                group.append(record)
            if len(group) + len(refused) >= GROUP_RECORDS:
                yield from finish()
        yield from finish()


@contextmanager
def open_text(file: Path, part: ByteRange | None = None) -> Iterator[TextIO]:
    """Open a text file or a part of it, decompressed; odd bytes become lone surrogates."""
    encoding = "utf-8" if part and part.start else "utf-8-sig"
    with (
        open_range(file, part) as raw,
        io.TextIOWrapper(
            io.BufferedReader(raw), encoding=encoding, errors="surrogateescape", newline=""
        ) as stream,
    ):
        yield stream


def header_is_utf8(file: Path, options: CsvOptions) -> None:
    """Check the first line's bytes.

    Raises:
        PenstockError: They are not UTF-8.
    """
    try:
        with open_text(file) as stream:
            for _ in range(options.skip_lines):
                stream.readline()
            header = Record(options.skip_lines + 1, stream.readline(), [])
    except OSError:
        # Whoever reads the rows says what is wrong.
        return
    if options.columns is None and (found := _invalid_byte(header)):
        raise PenstockError(f"{file}, line {header.line}, is {found}; save the file in UTF-8.")


def unreadable(file: Path, error: Exception, max_bytes: int) -> PenstockError:
    """Return what Arrow's error about a whole file means."""
    message = str(error).partition("\n")[0].rstrip(".")
    if "straddling" in message:
        return _endless(file, max_bytes)
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowInvalid) and file.is_file():
        return PenstockError(
            f"{file} cannot be read ({message}); if it is compressed, check that it is whole and "
            "that its ending says how."
        )
    return PenstockError(f"{file} is not readable as CSV: {message}; mend the file.")


def _endless(file: Path, max_bytes: int) -> PenstockError:
    return PenstockError(
        f"{file} has a line longer than {max_bytes >> 20} MiB, which is more than Penstock reads "
        "at once; look for a quote that is never closed, or split the line."
    )


def _records(
    file: Path, stream: TextIO, options: CsvOptions, max_bytes: int, first_line: int
) -> Iterator[Record]:
    """Yield the records that are not blank, in the file's order."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        size = 0
        while line := stream.readline(max_bytes):
            size = size + len(line) if taken else len(line)
            if size >= max_bytes:
                raise _endless(file, max_bytes)
            taken.append(line)
            yield line

    for _ in range(options.skip_lines):
        stream.readline()
    quoting: dict[str, Any] = (
        {"quotechar": options.quote} if options.quote else {"quoting": csv.QUOTE_NONE}
    )
    limit = csv.field_size_limit(max_bytes)
    try:
        reader = csv.reader(lines(), delimiter=options.delimiter, **quoting)
        before = first_line + options.skip_lines
        start = before
        for fields in reader:
            if fields:
                yield Record(start, "".join(taken), fields)
            taken.clear()
            start = before + reader.line_num
    except OSError as error:
        raise unreadable(file, error, max_bytes) from error
    finally:
        csv.field_size_limit(limit)


def _parse(data: bytes, names: list[str], schema: pa.Schema, options: CsvOptions) -> pa.RecordBatch:
    table = pacsv.read_csv(
        pa.BufferReader(data),
        read_options=pacsv.ReadOptions(
            column_names=names, block_size=len(data) + 1, use_threads=False
        ),
        parse_options=options.parse(),
        convert_options=options.convert(column_types=schema, include_columns=schema.names),
    )
    return table.combine_chunks().to_batches()[0]


def _invalid_byte(record: Record) -> str | None:
    """Say which byte of the record's text is not UTF-8."""
    if record.text.isascii():
        return None
    try:
        data = record.text.encode("utf-8", "surrogateescape")
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte 0x{data[error.start]:02x} at position {error.start + 1})"
    return None


def _reason(record: Record, fault: Exception, names: list[str]) -> str:
    if (have := len(record.fields)) != len(names):
        return f"{have} field{'s'[: have != 1]}, expected {len(names)}"
    if invalid := _invalid_byte(record):
        return invalid
    message = str(fault).partition("\n")[0].rstrip(".")
    value = re.search(
        r"column #(\d+): (?:Row #\d+: )?CSV conversion error to (.+?): invalid value '", message
    )
    if value and int(value[1]) < len(names):
        text = message[value.end() :].rstrip("'")
        return f"column {names[int(value[1])]!r} has {text!r}, expected {value[2]}"
    return message
