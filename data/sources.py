"""The files that examples come from: their format, their common columns, their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ..errors import PenstockError
from .csv_options import CsvOptions
from .csv_source import csv_batches, csv_schema
from .parquet_source import parquet_batches, parquet_schema
from .quarantine import Reject
from .spans import SourceFile

Rejecter = Callable[[Reject], None]

ENDINGS = {
    "csv": (".csv", ".csv.gz", ".csv.bz2", ".csv.zst"),
    "parquet": (".parquet",),
}


@dataclass(frozen=True)
class Reading:
    """How to read: the format or `auto`, how CSV is written, the types that are declared."""

    file_format: str = "auto"
    csv: CsvOptions = field(default_factory=CsvOptions)
    declared: Mapping[str, pa.DataType] = field(default_factory=dict)


def format_of(file: SourceFile, file_format: str) -> str:
    """Return the format of a file, by its ending when `file_format` is `"auto"`.

    Raises:
        PenstockError: The format is unknown, or the ending tells none.
    """
    formats = f"{', '.join(list(ENDINGS)[:-1])} or {list(ENDINGS)[-1]}"
    if file_format != "auto":
        if file_format not in ENDINGS:
            raise PenstockError(f"The file format {file_format!r} is unknown; use auto, {formats}.")
        return file_format
    for known, endings in ENDINGS.items():
        if file.name.lower().endswith(endings):
            return known
    known_endings = ", ".join(ending for endings in ENDINGS.values() for ending in endings)
    raise PenstockError(
        f"The ending of {file.name} tells no format (known are {known_endings}); set file_format "
        f"to {formats}."
    )


def file_schema(file: SourceFile, reading: Reading) -> pa.Schema:
    """Return the columns of one file and their types.

    Raises:
        PenstockError: The file cannot be read.
    """
    if format_of(file, reading.file_format) == "csv":
        return csv_schema(file.path, reading.csv, reading.declared)
    return parquet_schema(file.path, reading.declared)


def common_schema(files: Sequence[SourceFile], reading: Reading) -> pa.Schema:
    """Return the columns that all files share, in the first file's order.

    Files must have the same columns, in any order. Types agree when they are the same, when one is
    null (no value in that file), or when they are numbers: integers become int64, integers and
    floats float64.

    Raises:
        PenstockError: A file cannot be read, or two files disagree; the sentence names both.
    """
    common: dict[str, tuple[pa.DataType, SourceFile]] = {}
    for file in files:
        schema = file_schema(file, reading)
        if not schema.names:
            raise PenstockError(f"{file.label} has no columns; examples need at least one.")
        if file is files[0]:
            common = {column.name: (column.type, file) for column in schema}
            continue
        _check_columns(files[0], list(common), file, schema.names)
        for column in schema:
            kind, first = common[column.name]
            merged = _merge(kind, column.type)
            if merged is None:
                raise PenstockError(
                    f"Column {column.name!r} is {kind} in {first.label} and {column.type} in "
                    f"{file.label}; write it in one type throughout, or declare it in a schema."
                )
            if merged != kind:
                common[column.name] = (merged, file)
    return pa.schema([pa.field(name, kind) for name, (kind, _) in common.items()])


def read_batches(
    file: SourceFile, schema: pa.Schema, reading: Reading, reject: Rejecter
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one file in the types of `schema`, the malformed ones to `reject`.

    Raises:
        PenstockError: The file is broken or disagrees with `schema`; the sentence says where.
    """
    if format_of(file, reading.file_format) == "csv":
        yield from csv_batches(file.path, schema, reading.csv, reject, file.label)
    else:
        yield from parquet_batches(file.path, schema, file.label)


def _check_columns(
    first: SourceFile, expected: Sequence[str], file: SourceFile, names: Sequence[str]
) -> None:
    missing = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected]
    if missing or extra:
        parts = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"has {', '.join(map(repr, extra))} besides"] if extra else []
        raise PenstockError(
            f"{file.label} {' and '.join(parts)}, compared with {first.label}; give all files the "
            "same columns."
        )


def _merge(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    kinds = (one, other)
    if all(pa.types.is_signed_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        floats = any(pa.types.is_floating(kind) for kind in kinds)
        return pa.float64() if floats else pa.int64()
    return None
