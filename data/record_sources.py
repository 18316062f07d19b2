"""Formats that are read record by record: TFRecord of tf.Example, Avro, SQL.

Each function yields record batches in the types that its records show, which may differ from batch
to batch; `spool` unifies them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError
from .declared import cast_column
from .positions import Lines
from .quarantine import Reject, parse_around

BATCH_RECORDS = 20_000

Rejecter = Callable[[Reject], None]
# Rows, and the numbers of their lines, records or rows in the source, from 1.
Numbered = tuple[pa.RecordBatch, Lines]


def tfrecord_batches(file: Path, label: str, reject: Rejecter) -> Iterator[Numbered]:
    """Yield the `tf.Example`s of a TFRecord file, compressed when its ending is `.gz` or `.zlib`.

    A feature becomes a list column; where no list of a batch is longer than one, a plain column.
    Bytes are strings where all are UTF-8.

    Raises:
        PenstockError: The file is truncated or no TFRecord file.
    """
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    decoder = ExamplesToRecordBatchDecoder()

    def parse(records: Sequence[tuple[int, bytes]]) -> Numbered:
        numbers = np.array([number for number, _ in records], np.int64)
        return _plain(decoder.DecodeBatch([record for _, record in records])), numbers

    def refuse(record: tuple[int, bytes], fault: Exception) -> None:
        reject(Reject(label, record[0], "not a tf.Example", record[1]))

    compression = {".gz": "GZIP", ".zlib": "ZLIB"}.get(file.suffix, "")
    dataset = tf.data.TFRecordDataset([str(file)], compression).batch(BATCH_RECORDS)
    row = 1
    try:
        for records in dataset.as_numpy_iterator():
            numbered = list(enumerate(records.tolist(), row))
            row += len(numbered)
            yield from parse_around(numbered, parse, refuse, (RuntimeError, ValueError))
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
        raise broken(label, "TFRecord", error) from error


def avro_batches(file: Path, label: str, reject: Rejecter) -> Iterator[Numbered]:
    """Yield the records of an Avro container file.

    Raises:
        PenstockError: The file is truncated or not Avro, or fastavro is not installed.
    """
    try:
        import fastavro
    except ImportError as error:
        raise PenstockError(
            f"Reading {label} needs fastavro; install it by pip install 'penstock[avro]'."
        ) from error
    try:
        with file.open("rb") as stream:
            records = []
            number = 0
            reader = fastavro.reader(stream)
            _refuse_maps(reader.writer_schema, label)
            for number, record in enumerate(reader, 1):
                records.append(record)
                if len(records) == BATCH_RECORDS:
                    yield _numbered(_from_records(records, label), number)
                    records = []
            if records:
                yield _numbered(_from_records(records, label), number)
    except (ValueError, EOFError, OSError, TypeError, IndexError, StopIteration) as error:
        raise broken(label, "Avro", error) from error


def sql_batches(url: str, query: str, label: str) -> Iterator[Numbered]:
    """Yield the rows that a query gives, streamed where the database's driver can.

    Args:
        url: SQLAlchemy's URL of the database.
        query: The query.
        label: What messages call the database, without its password.

    Raises:
        PenstockError: The URL or the query is wrong, the driver is missing, or the database cannot
            be reached.
    """
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            rows = connection.execution_options(yield_per=BATCH_RECORDS).execute(
                sqlalchemy.text(query)
            )
            names = list(rows.keys())
            if len(set(names)) < len(names):
                raise PenstockError(
                    f"The query of {label} gives two columns one name; name them apart with AS."
                )
            number = 0
            for part in rows.partitions():
                columns = zip(*part, strict=True)
                number += len(part)
                batch = _from_columns(dict(zip(names, map(list, columns), strict=True)), label)
                yield _numbered(batch, number)
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"The query of {label} failed ({reason}); correct the query, the URL, or install the "
            "database's driver."
        ) from error


def _numbered(batch: pa.RecordBatch, last: int) -> Numbered:
    """Return rows with their numbers, which follow one another up to `last`."""
    return batch, np.arange(last - batch.num_rows, last) + 1


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return columns of single values instead of lists where no list is longer than one."""
    arrays = []
    for column in batch.columns:
        kind = column.type.value_type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            kind = _bytes_type(column.flatten())
        lists = column.cast(pa.list_(kind))
        longest = pc.max(pc.list_value_length(lists)).as_py() or 0
        arrays.append(_single(lists) if longest <= 1 else lists)
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _bytes_type(values: pa.Array) -> pa.DataType:
    try:
        values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.binary()
    return pa.string()


def _single(lists: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    places = np.cumsum(lengths) - lengths
    values = lists.flatten()
    return values.take(pa.array(places, mask=lengths == 0))


def _from_records(records: Sequence[dict[str, Any]], label: str) -> pa.RecordBatch:
    names = list(records[0])
    return _from_columns({name: [record[name] for record in records] for name in names}, label)


def _from_columns(columns: dict[str, list[Any]], label: str) -> pa.RecordBatch:
    arrays = []
    for name, values in columns.items():
        try:
            array = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise PenstockError(
                f"Column {name!r} of {label} does not become one type ({reason}); give it one type "
                "throughout, such as text."
            ) from error
        arrays.append(_without_decimals(array))
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _without_decimals(array: pa.Array) -> pa.Array:
    """Return an array with floats in place of decimals, inside lists and structs too."""
    kind = _float_for_decimal(array.type)
    return (
        array if kind == array.type else cast_column(array, kind, "", "", range(1, len(array) + 1))
    )


def _float_for_decimal(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_float_for_decimal(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct([(field.name, _float_for_decimal(field.type)) for field in fields])
    return pa.float64() if pa.types.is_decimal(kind) else kind


def _refuse_maps(schema: Any, label: str, path: str = "") -> None:
    """Refuse an Avro schema with a map, whose keys would become fields of a struct."""
    if isinstance(schema, list):
        for branch in schema:
            _refuse_maps(branch, label, path)
    elif isinstance(schema, dict):
        if schema["type"] == "map":
            raise PenstockError(
                f"Column {path!r} of {label} is an Avro map, which Examples do not hold; write a "
                "record, or an array of records of a key and a value."
            )
        for field in schema.get("fields", []):
            below = f"{path}.{field['name']}" if path else field["name"]
            _refuse_maps(field["type"], label, below)
        _refuse_maps(schema.get("items"), label, path)
        _refuse_maps(schema["type"], label, path)


def broken(label: str, name: str, error: Exception) -> PenstockError:
    """Return the error for a file that is not readable in its format, called `name`."""
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return PenstockError(
        f"{label} is not readable as {name} ({reason}); check that it is a whole file of that "
        "format, compressed as its ending says."
    )
