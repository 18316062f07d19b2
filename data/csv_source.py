"""CSV files as Arrow record batches.

The first line names the columns unless names are given; the text is UTF-8. Blank lines are skipped.
A field that is empty or one of the spellings of null is a missing value in columns of every type,
as in pandas. Arrow reads the file in blocks; from the first block that it cannot read on,
`csv_faults` goes on record by record, so that malformed rows are told from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..errors import PenstockError
from .csv_faults import careful_batches, header_is_utf8, unreadable
from .csv_lines import RowLines
from .csv_options import CsvOptions
from .csv_ranges import ByteRange, byte_ranges, open_range
from .positions import Lines
from .quarantine import Reject

# Types are inferred from a file's first block; memory holds some forty blocks at most,
# because Arrow reads ahead.
BLOCK_BYTES = 4 << 20


def csv_schema(
    file: Path, options: CsvOptions, declared: Mapping[str, pa.DataType] | None = None
) -> pa.Schema:
    """Return the columns of a CSV file and their types, as its first block shows them.

    A column without a value in the first block takes its type from the whole file; without a value
    in the whole file its type is null. Malformed rows do not count.

    Args:
        file: The file, compressed when its ending says so.
        options: How it is written.
        declared: The types that are known, by column.

    Raises:
        PenstockError: The file is empty or not CSV, a column's name is missing or used twice, or
            a column holds whole numbers that 64 bits do not.
    """
    if file.stat().st_size == 0:
        raise _empty(file)
    declared = declared or {}
    try:
        with _open(file, options, skip_ragged=True) as reader:
            schema = reader.schema
            _check_names(file, schema)
            unknown = [f.name for f in schema if pa.types.is_null(f.type)]
            first = next(iter(reader), None)
        if unknown and first is not None and first.num_rows:
            table = pacsv.read_csv(
                file,
                read_options=options.read(block_size=BLOCK_BYTES),
                parse_options=options.parse(invalid_row_handler=lambda row: "skip"),
                convert_options=options.convert(include_columns=unknown),
            )
            for field in table.schema:
                schema = schema.set(schema.get_field_index(field.name), field)
        if first is not None:
            _check_integers(file, options, first, declared)
    except StopIteration:
        pass
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if "Empty CSV" in str(error):
            raise _empty(file) from error
        header_is_utf8(file, options)
        raise unreadable(file, error, BLOCK_BYTES) from error
    header_is_utf8(file, options)
    return pa.schema(
        [pa.field(f.name, declared.get(f.name, _kept_type(f.type, options))) for f in schema]
    )


def csv_ranges(file: Path, options: CsvOptions) -> list[ByteRange | None]:
    """Return the byte ranges that a CSV file is read in; None stands for a file that stays whole.

    Raises:
        PenstockError: The file is not CSV.
    """
    ranges = byte_ranges(file, options)
    if len(ranges) == 1:
        return [None]
    try:
        with _open(file, options, skip_ragged=True) as reader:
            names = tuple(reader.schema.names)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise unreadable(file, error, BLOCK_BYTES) from error
    return [replace(part, names=names) for part in ranges]


def csv_batches(
    file: Path,
    schema: pa.Schema,
    options: CsvOptions,
    reject: Callable[[Reject], None],
    label: str = "",
    part: ByteRange | None = None,
) -> Iterator[tuple[pa.RecordBatch, Lines]]:
    """Yield the rows of a CSV file as batches of `schema`, a block of the file at a time.

    With each batch come the numbers of the lines on which its rows begin, from the top of the file.

    Args:
        file: The file, compressed when its ending says so.
        schema: The columns to read.
        options: How the file is written.
        reject: Takes each row with too many or too few fields, a value that does not convert to
            its column's type, or bytes that are not UTF-8.
        label: What to call the file; its path when empty.
        part: Which bytes of the file; all when None.

    Raises:
        PenstockError: The file cannot be read further, because it is truncated or has an endless
            line.
    """
    rows = 0
    if part is not None and part.start:
        options = replace(options, columns=part.names, skip_lines=0)
    try:
        with (
            closing(RowLines(file, options, part, BLOCK_BYTES)) as lines,
            _open(file, options, schema, part=part) as reader,
        ):
            for batch in reader:
                found = lines.take(batch.num_rows)
                if batch.num_rows:
                    yield batch, found
                    rows += batch.num_rows
            lines.finish()
            return
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        fault = error
    if part is not None and "Empty CSV" in str(fault):
        return
    if "straddling" in str(fault) or not isinstance(fault, (pa.ArrowInvalid, UnicodeDecodeError)):
        raise unreadable(file, fault, BLOCK_BYTES) from fault
    yield from careful_batches(
        file, schema, options, rows, reject, label or str(file), BLOCK_BYTES, part
    )


@contextmanager
def _open(
    file: Path,
    options: CsvOptions,
    schema: pa.Schema | None = None,
    skip_ragged: bool = False,
    part: ByteRange | None = None,
) -> Iterator[pacsv.CSVStreamingReader]:
    ragged = {"invalid_row_handler": lambda row: "skip"} if skip_ragged else {}
    with (
        open_range(file, part) as stream,
        pacsv.open_csv(
            stream,
            read_options=options.read(block_size=BLOCK_BYTES),
            parse_options=options.parse(**ragged),
            convert_options=options.convert(
                column_types=schema, include_columns=None if schema is None else schema.names
            ),
        ) as reader,
    ):
        yield reader


def _kept_type(kind: pa.DataType, options: CsvOptions) -> pa.DataType:
    if pa.types.is_temporal(kind):
        held = pa.types.is_date32(kind) or pa.types.is_timestamp(kind)
        return kind if options.dates and held else pa.string()
    # Arrow takes text that is not UTF-8 for binary; its rows are malformed.
    return pa.string() if pa.types.is_binary(kind) else kind


def _check_names(file: Path, schema: pa.Schema) -> None:
    seen: set[str] = set()
    for place, name in enumerate(schema.names):
        if not name.strip():
            raise PenstockError(
                f"Column {place + 1} of {file} has no name; name every column in the first line."
            )
        if name in seen:
            raise PenstockError(
                f"{file} has two columns named {name!r}; give each column its own name."
            )
        seen.add(name)


def _check_integers(
    file: Path, options: CsvOptions, first: pa.RecordBatch, declared: Mapping[str, pa.DataType]
) -> None:
    """Refuse a column of whole numbers that Arrow made floats because some exceed 64 bits."""
    for name in first.schema.names:
        values = first.column(first.schema.get_field_index(name))
        if name in declared or not pa.types.is_floating(values.type):
            continue
        largest = pc.max(pc.abs(values)).as_py()
        if largest is None or largest < 2**63:
            continue
        texts = _first_texts(file, options, name)
        whole = pc.match_substring_regex(texts, r"^\s*[+-]?[0-9]+\s*$")
        if pc.all(whole).as_py():
            sizes = [abs(int(text)) for text in texts.drop_null().to_pylist()]
            example = texts.drop_null()[sizes.index(max(sizes))].as_py().strip()
            raise PenstockError(
                f"Column {name!r} of {file} holds {example}, a whole number beyond 64 bits, which "
                "a float would round; declare the column in a schema, as BYTES to keep its digits "
                "or as FLOAT."
            )


def _first_texts(file: Path, options: CsvOptions, name: str) -> pa.Array:
    """Return the column `name` of the first block as text."""
    reader = pacsv.open_csv(
        file,
        read_options=options.read(block_size=BLOCK_BYTES),
        parse_options=options.parse(invalid_row_handler=lambda row: "skip"),
        convert_options=options.convert(column_types={name: pa.string()}, include_columns=[name]),
    )
    with reader:
        return reader.read_next_batch().column(0)


def _empty(file: Path) -> PenstockError:
    return PenstockError(f"{file} is empty; a CSV file needs a first line with the columns' names.")
