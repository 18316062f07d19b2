"""The files that examples come from: their format and their common columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ..errors import PenstockError
from .csv_options import CsvOptions
from .csv_source import csv_schema
from .parquet_source import parquet_schema
from .quarantine import Reject
from .spans import SourceFile

Rejecter = Callable[[Reject], None]

ENDINGS = {
    "csv": (".csv", ".csv.gz", ".csv.bz2", ".csv.zst"),
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.bz2", ".jsonl.zst", ".ndjson", ".ndjson.gz"),
    "tfrecord": (
        ".tfrecord",
        ".tfrecord.gz",
        ".tfrecord.zlib",
        ".tfrecords",
        ".tfrecords.gz",
        ".tfrecords.zlib",
    ),
    "avro": (".avro",),
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
    if file.piece_of:
        return "parquet"
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
    return parquet_schema(file.path, reading.declared, file.label)


def common_schema(files: Sequence[Sequence[SourceFile]], reading: Reading) -> pa.Schema:
    """Return the columns that all files share, in the first file's order.

    Files must have the same columns, in any order; the pieces of one file may lack some, which are
    missing there. Types agree when they are the same, when one is null (no value in that file), or
    when they are numbers: integers become int64, integers and floats float64. Structs agree when
    their fields do; those of one file's pieces may lack fields, as pieces may lack columns. In
    pieces of TFRecord files, one value and a list of values agree as well.

    Args:
        files: The pieces of each file.
        reading: How to read.

    Raises:
        PenstockError: A file cannot be read, or two files disagree; the sentence names both.
    """
    common: dict[str, tuple[pa.DataType, SourceFile]] = {}
    first: SourceFile | None = None
    for pieces in files:
        columns: dict[str, tuple[pa.DataType, SourceFile]] = {}
        for piece in pieces:
            for column in file_schema(piece, reading):
                _add_column(columns, column.name, column.type, piece, one_file=True)
        if not columns:
            if pieces and not pieces[0].piece_of:
                raise PenstockError(
                    f"{pieces[0].label} has no columns; examples need at least one."
                )
            continue
        if first is None:
            common, first = columns, pieces[0]
            continue
        _check_columns(first, list(common), pieces[0], list(columns))
        for name, (kind, piece) in columns.items():
            _add_column(common, name, kind, piece)
    return pa.schema([pa.field(name, kind) for name, (kind, _) in common.items()])


def _add_column(
    columns: dict[str, tuple[pa.DataType, SourceFile]],
    name: str,
    kind: pa.DataType,
    file: SourceFile,
    one_file: bool = False,
) -> None:
    """Unify a column's type in `file` with what `columns` has for it."""
    known, first = columns.setdefault(name, (kind, file))
    merged = _merge(known, kind, file.piece_of == "tfrecord", one_file)
    if merged is None:
        raise PenstockError(
            f"Column {name!r} is {known} in {first.label} and {kind} in {file.label}; write it in "
            "one type throughout, or declare it in a schema."
        )
    if merged != known:
        columns[name] = (merged, file)


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


def _merge(one: pa.DataType, other: pa.DataType, lists: bool, one_file: bool) -> pa.DataType | None:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _merge_structs(one, other, lists, one_file)
    if pa.types.is_list(one) and pa.types.is_list(other):
        inner = _merge(one.value_type, other.value_type, lists, one_file)
        return None if inner is None else pa.list_(inner)
    if lists and (pa.types.is_list(one) or pa.types.is_list(other)):
        plain = [kind.value_type if pa.types.is_list(kind) else kind for kind in (one, other)]
        inner = _merge(plain[0], plain[1], lists, one_file)
        return None if inner is None else pa.list_(inner)
    kinds = (one, other)
    if lists and all(pa.types.is_string(kind) or pa.types.is_binary(kind) for kind in kinds):
        return pa.binary()
    if all(pa.types.is_signed_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        floats = any(pa.types.is_floating(kind) for kind in kinds)
        return pa.float64() if floats else pa.int64()
    return None


def _merge_structs(
    one: pa.DataType, other: pa.DataType, lists: bool, one_file: bool
) -> pa.DataType | None:
    """Return a struct with the fields of both, in the first one's order."""
    types = [
        {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
        for kind in (one, other)
    ]
    if not one_file and types[0].keys() != types[1].keys():
        return None
    merged = types[0] | {name: kind for name, kind in types[1].items() if name not in types[0]}
    for name in types[0].keys() & types[1].keys():
        inner = _merge(types[0][name], types[1][name], lists, one_file)
        if inner is None:
            return None
        merged[name] = inner
    return pa.struct(list(merged.items()))
