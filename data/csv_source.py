"""CSV files as Arrow record batches, with faults named by file, line and column.

The first line names the columns; fields are separated by commas, quoted by `"`, and may hold line
breaks when quoted; the text is UTF-8. Blank lines are skipped. A field that is empty or one of
Arrow's spellings of null (`NA`, `N/A`, `NULL`, `null`, `NaN`, `nan`, ...) is a missing value in
columns of every type, as in pandas. Dates and times stay the text they are.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.csv as pacsv

from ..errors import PenstockError

# Types are inferred from a file's first block; memory holds some forty blocks at most,
# because Arrow reads ahead.
BLOCK_BYTES = 4 << 20


def csv_schema(file: Path) -> pa.Schema:
    """Return the columns of a CSV file and their types, as its first block shows them.

    A column without a value in the first block takes its type from the whole file; without a value
    in the whole file its type is null.

    Raises:
        PenstockError: The file is empty, not CSV, not UTF-8, ragged in its first block, or a
            column's name is missing or used twice.
    """
    if file.stat().st_size == 0:
        raise PenstockError(
            f"{file} is empty; a CSV file needs a first line with the columns' names."
        )
    try:
        with _open(file) as reader:
            schema = reader.schema
            _check_names(file, schema)
            unknown = [field.name for field in schema if pa.types.is_null(field.type)]
            if unknown and reader.read_next_batch().num_rows:
                table = pacsv.read_csv(
                    file,
                    read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES),
                    parse_options=_parse_options(),
                    convert_options=_convert_options(None, unknown),
                )
                for field in table.schema:
                    schema = schema.set(schema.get_field_index(field.name), field)
    except StopIteration:
        pass
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise _explain(file, error, None) from error
    fields = [pa.field(field.name, _kept_type(field.type)) for field in schema]
    for field in fields:
        if pa.types.is_binary(field.type):
            raise _not_utf8(file)
    return pa.schema(fields)


def csv_batches(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a CSV file as batches of `schema`, a block of the file at a time.

    Raises:
        PenstockError: A line has too many or too few fields, a value does not convert to its
            column's type, or the text is not UTF-8; the sentence names file and line.
    """
    try:
        with _open(file, schema) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield batch
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise _explain(file, error, schema) from error


def _open(file: Path, schema: pa.Schema | None = None) -> pacsv.CSVStreamingReader:
    return pacsv.open_csv(
        file,
        read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=_parse_options(),
        convert_options=_convert_options(schema, None if schema is None else schema.names),
    )


def _parse_options() -> pacsv.ParseOptions:
    return pacsv.ParseOptions(newlines_in_values=True)


def _convert_options(schema: pa.Schema | None, columns: list[str] | None) -> pacsv.ConvertOptions:
    return pacsv.ConvertOptions(
        column_types=schema, include_columns=columns, strings_can_be_null=True
    )


def _kept_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_temporal(kind) else kind


def _check_names(file: Path, schema: pa.Schema) -> None:
    for place, name in enumerate(schema.names):
        if not name.strip():
            raise PenstockError(
                f"Column {place + 1} of {file} has no name; name every column in the first line."
            )
        if schema.names.index(name) != place:
            raise PenstockError(
                f"{file} has two columns named {name!r}; give each column its own name."
            )


def _explain(file: Path, error: Exception, schema: pa.Schema | None) -> PenstockError:
    """Say what Arrow's error means, and find the line, which Arrow does not tell."""
    message = str(error).partition("\n")[0]
    ragged = re.search(r"Expected (\d+) columns, got (\d+)", message)
    if ragged:
        width = int(ragged[1])
        line, row = _find_line(file, lambda row: len(row) not in (0, width))
        have = len(row) if row else int(ragged[2])
        return PenstockError(
            f"{file}{line} has {have} field{'s'[: have != 1]}, expected {width} as in the first "
            "line; mend the line, or quote a field that holds a comma."
        )
    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in message:
        return _not_utf8(file)
    value = re.search(r"CSV column #(\d+): CSV conversion error to (.+?): invalid value '", message)
    if value and schema is not None:
        text = message[value.end() :].rstrip("'")
        name, place = _column(file, int(value[1]), schema)
        line, _ = _find_line(file, lambda row: len(row) > place and row[place].strip() == text)
        return PenstockError(
            f"{file}{line} has {text!r} in column {name!r}, expected {value[2]} as in the first "
            f"{BLOCK_BYTES >> 20} MiB of each file; mend the value, or write the column in one "
            "type throughout."
        )
    if "Empty CSV" in message:
        return PenstockError(
            f"{file} is empty; a CSV file needs a first line with the columns' names."
        )
    if "straddling" in message:
        return PenstockError(
            f"{file} has a line longer than {BLOCK_BYTES >> 20} MiB, which is more than Penstock "
            "reads at once; look for a quote that is never closed, or split the line."
        )
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowInvalid) and file.is_file():
        return PenstockError(
            f"{file} cannot be read ({message.rstrip('.')}); if it is compressed, check that it is "
            "whole and that its ending says how."
        )
    return PenstockError(f"{file} is not readable as CSV: {message.rstrip('.')}; mend the file.")


def _column(file: Path, number: int, schema: pa.Schema) -> tuple[str, int]:
    """Return a column's name and place in the file's own first line."""
    with _text(file) as stream:
        names = next(csv.reader(stream), [])
    return (names[number], number) if number < len(names) else (schema.names[number], number)


def _find_line(file: Path, fault: Callable[[list[str]], bool]) -> tuple[str, list[str]]:
    """Return `, line <n>,` of the first record with the fault, and the record."""
    with _text(file) as stream:
        reader = csv.reader(stream)
        start = 1
        try:
            for row in reader:
                if start > 1 and fault(row):
                    return f", line {start},", row
                start = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError, EOFError, OSError):
            # The record is not findable by these means; the sentence goes without its line.
            return "", []
    return "", []


def _not_utf8(file: Path) -> PenstockError:
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return PenstockError(
                    f"{file}, line {number}, is not UTF-8 (byte 0x{line[error.start]:02x} at "
                    f"position {error.start + 1}); save the file in UTF-8."
                )
    return PenstockError(f"{file} is not UTF-8; save the file in UTF-8.")


def _text(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")
