"""The files that examples come from: their format, their common columns, their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import PenstockError
from .csv_source import csv_batches, csv_schema
from .parquet_source import parquet_batches, parquet_schema
from .spans import SourceFile


@dataclass(frozen=True)
class Format:
    """How to read one file format: its columns, then its rows in the types asked for."""

    schema: Callable[[Path], pa.Schema]
    batches: Callable[[Path, pa.Schema], Iterator[pa.RecordBatch]]
    endings: tuple[str, ...]


FORMATS = {
    "csv": Format(csv_schema, csv_batches, (".csv", ".csv.gz")),
    "parquet": Format(parquet_schema, parquet_batches, (".parquet",)),
}


def format_of(file: SourceFile, file_format: str) -> Format:
    """Return the format of a file, by its ending when `file_format` is `"auto"`.

    Raises:
        PenstockError: The format is unknown, or the ending tells none.
    """
    if file_format != "auto":
        if file_format not in FORMATS:
            raise PenstockError(
                f"The file format {file_format!r} is unknown; use auto, {' or '.join(FORMATS)}."
            )
        return FORMATS[file_format]
    for known in FORMATS.values():
        if file.name.lower().endswith(known.endings):
            return known
    endings = ", ".join(ending for known in FORMATS.values() for ending in known.endings)
    raise PenstockError(
        f"The ending of {file.name} tells no format (known are {endings}); set file_format to "
        f"{' or '.join(FORMATS)}."
    )


def common_schema(files: Sequence[SourceFile], file_format: str) -> pa.Schema:
    """Return the columns that all files share, in the first file's order.

    Files must have the same columns, in any order. Types agree when they are the same, when one is
    null (no value in that file), or when they are numbers: integers become int64, integers and
    floats float64.

    Raises:
        PenstockError: A file cannot be read, or two files disagree; the sentence names both.
    """
    common: dict[str, tuple[pa.DataType, SourceFile]] = {}
    for file in files:
        schema = format_of(file, file_format).schema(file.path)
        if not schema.names:
            raise PenstockError(f"{file.path} has no columns; examples need at least one.")
        if file is files[0]:
            common = {field.name: (field.type, file) for field in schema}
            continue
        _check_columns(files[0], list(common), file, schema.names)
        for field in schema:
            kind, first = common[field.name]
            merged = _merge(kind, field.type)
            if merged is None:
                raise PenstockError(
                    f"Column {field.name!r} is {kind} in {first.path} and {field.type} in "
                    f"{file.path}; write it in one type throughout."
                )
            if merged != kind:
                common[field.name] = (merged, file)
    return pa.schema([pa.field(name, kind) for name, (kind, _) in common.items()])


def read_batches(file: SourceFile, schema: pa.Schema, file_format: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one file in the types of `schema`.

    Raises:
        PenstockError: The file is broken or disagrees with `schema`; the sentence says where.
    """
    yield from format_of(file, file_format).batches(file.path, schema)


def _check_columns(
    first: SourceFile, expected: Sequence[str], file: SourceFile, names: Sequence[str]
) -> None:
    missing = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected]
    if missing or extra:
        parts = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"has {', '.join(map(repr, extra))} besides"] if extra else []
        raise PenstockError(
            f"{file.path} {' and '.join(parts)}, compared with {first.path}; give all files the "
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
