"""Formats that are read record by record: JSON lines, TFRecord of tf.Example, Avro, SQL.

Each function yields record batches in the types that its records show, which may differ from batch
to batch; `spool` unifies them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from ..errors import PenstockError
from .quarantine import Reject, parse_around

BLOCK_BYTES = 8 << 20
BATCH_RECORDS = 20_000

Rejecter = Callable[[Reject], None]


def json_batches(file: Path, label: str, reject: Rejecter) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file with one JSON object per line, compressed when its ending says so.

    Dates and times stay the text they are.

    Raises:
        PenstockError: The file is truncated, a column changes its type within a block, or holds
            whole numbers beyond 64 bits.
    """
    texts: dict[str, pa.DataType] = {}
    order: dict[str, None] = {}

    def parse(records: Sequence[tuple[int, bytes]]) -> pa.Table:
        data = b"".join(line for _, line in records)
        data.decode("utf-8")
        try:
            table = _read_json(data, texts)
            order.update(dict.fromkeys(name for name in table.column_names if name not in order))
            times = {f.name: _text_of(f.type) for f in table.schema if _text_of(f.type) != f.type}
            if times:
                texts.update(times)
                table = _read_json(data, texts)
        except pa.ArrowInvalid as error:
            changed = re.search(r"Column\(/(.+?)\) changed from (\w+) to (\w+)", str(error))
            if changed and len(records) > 1:
                raise PenstockError(
                    f"Column {changed[1]!r} of {label} is {changed[2]} and {changed[3]} between "
                    f"lines {records[0][0]} and {records[-1][0]}; write it in one type throughout."
                ) from error
            raise
        _check_integers(table, records, label)
        # Arrow puts the columns that it is told of first.
        return table.select([name for name in order if name in table.column_names])

    def refuse(record: tuple[int, bytes], fault: Exception) -> None:
        reason = str(fault).partition("\n")[0].rstrip(".")
        reject(Reject(label, record[0], reason, record[1].rstrip(b"\r\n")))

    try:
        with (
            pa.input_stream(str(file), compression="detect") as raw,
            io.BufferedReader(raw) as stream,
        ):
            line = 1
            while lines := stream.readlines(BLOCK_BYTES):
                numbered = [(n, text) for n, text in enumerate(lines, line) if text.strip()]
                line += len(lines)
                for table in parse_around(numbered, parse, refuse):
                    yield from table.combine_chunks().to_batches()
    except OSError as error:
        raise _broken(label, "JSON lines", error) from error


def tfrecord_batches(file: Path, label: str, reject: Rejecter) -> Iterator[pa.RecordBatch]:
    """Yield the `tf.Example`s of a TFRecord file, gzipped when its ending is `.gz`.

    A feature becomes a list column; where no list of a batch is longer than one, a plain column.
    Bytes are strings where all are UTF-8.

    Raises:
        PenstockError: The file is truncated or no TFRecord file.
    """
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    decoder = ExamplesToRecordBatchDecoder()

    def parse(records: Sequence[tuple[int, bytes]]) -> pa.RecordBatch:
        return _plain(decoder.DecodeBatch([record for _, record in records]))

    def refuse(record: tuple[int, bytes], fault: Exception) -> None:
        reject(Reject(label, record[0], "not a tf.Example", record[1]))

    compression = "GZIP" if file.suffix == ".gz" else ""
    dataset = tf.data.TFRecordDataset([str(file)], compression).batch(BATCH_RECORDS)
    row = 1
    try:
        for records in dataset.as_numpy_iterator():
            numbered = list(enumerate(records.tolist(), row))
            row += len(numbered)
            yield from parse_around(numbered, parse, refuse, (RuntimeError, ValueError))
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
        raise _broken(label, "TFRecord", error) from error


def avro_batches(file: Path, label: str, reject: Rejecter) -> Iterator[pa.RecordBatch]:
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
            for record in fastavro.reader(stream):
                records.append(record)
                if len(records) == BATCH_RECORDS:
                    yield _from_records(records, label)
                    records = []
            if records:
                yield _from_records(records, label)
    except (ValueError, EOFError, OSError, TypeError, IndexError, StopIteration) as error:
        raise _broken(label, "Avro", error) from error


def sql_batches(url: str, query: str, label: str) -> Iterator[pa.RecordBatch]:
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
            for part in rows.partitions():
                columns = zip(*part, strict=True)
                yield _from_columns(dict(zip(names, map(list, columns), strict=True)), label)
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"The query of {label} failed ({reason}); correct the query, the URL, or install the "
            "database's driver."
        ) from error


def _read_json(data: bytes, texts: dict[str, pa.DataType]) -> pa.Table:
    return pajson.read_json(
        pa.BufferReader(data),
        read_options=pajson.ReadOptions(block_size=len(data) + 1, use_threads=False),
        parse_options=pajson.ParseOptions(explicit_schema=pa.schema(texts)) if texts else None,
    )


def _text_of(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_text_of(kind.value_type))
    return pa.string() if pa.types.is_temporal(kind) else kind


def _check_integers(table: pa.Table, records: Sequence[tuple[int, bytes]], label: str) -> None:
    """Refuse whole numbers that Arrow made floats because 64 bits do not hold them."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_floating(column.type):
            continue
        largest = pc.max(pc.abs(column)).as_py()
        if largest is None or largest < 2**63:
            continue
        for line, text in records:
            value = json.loads(text).get(name)
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise PenstockError(
                    f"{label}, line {line}, has {value} in column {name!r}, a whole number beyond "
                    "64 bits, which a float would round; write it as text or with an exponent."
                )


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
        arrays.append(array.cast(pa.float64()) if pa.types.is_decimal(array.type) else array)
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _broken(label: str, name: str, error: Exception) -> PenstockError:
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return PenstockError(
        f"{label} is not readable as {name} ({reason}); check that it is a whole file of that "
        "format, compressed as its ending says."
    )
