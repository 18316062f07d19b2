"""Parquet files as Arrow record batches of the types that Examples hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import PenstockError

BATCH_ROWS = 131_072


def parquet_schema(file: Path) -> pa.Schema:
    """Return the columns of a Parquet file with the types they take in Examples.

    Large and dictionary-encoded types become their plain ones, float16 becomes float32.

    Raises:
        PenstockError: The file is not Parquet, a name is used twice, or a type is none of null,
            boolean, integer, float, date, timestamp, string, binary, or a list of these.
    """
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    for place, name in enumerate(schema.names):
        if schema.names.index(name) != place:
            raise PenstockError(
                f"{file} has two columns named {name!r}; give each column its own name."
            )
    return pa.schema([pa.field(f.name, _kept_type(file, f.name, f.type)) for f in schema])


def parquet_batches(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file as batches of `schema`.

    Raises:
        PenstockError: The file is broken, or a value does not fit the column's common type.
    """
    try:
        with pq.ParquetFile(file) as reader:
            for batch in reader.iter_batches(batch_size=BATCH_ROWS):
                yield pa.RecordBatch.from_arrays(
                    [_cast(file, batch, field) for field in schema], schema=schema
                )
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error


def _kept_type(file: Path, name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _kept_type(file, name, kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _kept_type(file, name, kind.value_type)
        if not pa.types.is_list(inner):
            return pa.list_(inner)
    elif (
        pa.types.is_null(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_date32(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_string(kind)
        or pa.types.is_binary(kind)
    ):
        return kind
    raise PenstockError(
        f"Column {name!r} of {file} has type {kind}, which Examples do not hold; make it a "
        "boolean, number, date, timestamp, string, binary, or a list of these."
    )


def _cast(file: Path, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    array = batch.column(batch.schema.get_field_index(field.name))
    if array.type == field.type:
        return array
    try:
        return array.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PenstockError(
            f"Column {field.name!r} of {file} does not become {field.type}, the type common to "
            f"all files ({_reason(error)}); write the column in one type throughout."
        ) from error


def _unreadable(file: Path, error: Exception) -> PenstockError:
    return PenstockError(
        f"{file} is not readable as Parquet ({_reason(error)}); check that it is a whole Parquet "
        "file."
    )


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
