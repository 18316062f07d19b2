"""Files with one JSON object per line as Arrow record batches, in the types that a block shows."""

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
from .positions import Lines
from .quarantine import Reject, parse_around
from .record_sources import Numbered, broken

BLOCK_BYTES = 8 << 20


def json_batches(file: Path, label: str, reject: Callable[[Reject], None]) -> Iterator[Numbered]:
    """Yield the rows of a file with one JSON object per line, compressed when its ending says so.

    Dates and times stay the text they are.

    Raises:
        PenstockError: The file is truncated, a column changes its type within a block, or holds
            whole numbers beyond 64 bits.
    """
    texts: dict[str, pa.DataType] = {}
    order: dict[str, None] = {}

    def parse(records: Sequence[tuple[int, bytes]]) -> tuple[pa.Table, Lines]:
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
                    f"Column {changed[1].replace('/', '.')!r} of {label} is {changed[2]} and "
                    f"{changed[3]} between lines {records[0][0]} and {records[-1][0]}; write it in "
                    "one type throughout."
                ) from error
            raise
        _check_integers(table, records, label)
        table = _sound(table, records)
        # Arrow puts the columns that it is told of first.
        lines = np.array([line for line, _ in records], np.int64)
        return table.select([name for name in order if name in table.column_names]), lines

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
                for table, found in parse_around(numbered, parse, refuse):
                    for batch in table.combine_chunks().to_batches():
                        yield batch, found[: batch.num_rows]
                        found = found[batch.num_rows :]
    except OSError as error:
        raise broken(label, "JSON lines", error) from error


def _read_json(data: bytes, texts: dict[str, pa.DataType]) -> pa.Table:
    return pajson.read_json(
        pa.BufferReader(data),
        read_options=pajson.ReadOptions(block_size=len(data) + 1, use_threads=False),
        parse_options=pajson.ParseOptions(explicit_schema=pa.schema(texts)) if texts else None,
    )


def _sound(table: pa.Table, records: Sequence[tuple[int, bytes]]) -> pa.Table:
    """Return the table, anew where older Arrow counts the items of lists of nulls wrong."""
    try:
        table.validate()
    except pa.ArrowInvalid:
        rows = [json.loads(text) for _, text in records]
        return pa.Table.from_pylist(rows, schema=table.schema)
    return table


def _text_of(kind: pa.DataType) -> pa.DataType:
    """Return a type with text in place of dates and times, inside lists and structs too."""
    if pa.types.is_list(kind):
        return pa.list_(_text_of(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct([(field.name, _text_of(field.type)) for field in fields])
    return pa.string() if pa.types.is_temporal(kind) else kind


def _check_integers(table: pa.Table, records: Sequence[tuple[int, bytes]], label: str) -> None:
    """Refuse whole numbers that Arrow made floats because 64 bits do not hold them."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not any(_exceeds(chunk) for chunk in column.chunks):
            continue
        for line, text in records:
            found = _huge(json.loads(text).get(name), name)
            if found is not None:
                path, value = found
                raise PenstockError(
                    f"{label}, line {line}, has {value} in column {path!r}, a whole number beyond "
                    "64 bits, which a float would round; write it as text or with an exponent."
                )


def _exceeds(values: pa.Array) -> bool:
    """Tell whether some float, perhaps within lists and structs, is beyond 64 bits."""
    kind = values.type
    if pa.types.is_struct(kind):
        return any(_exceeds(values.field(place)) for place in range(kind.num_fields))
    if pa.types.is_list(kind):
        return _exceeds(values.flatten())
    if not pa.types.is_floating(kind):
        return False
    largest = pc.max(pc.abs(values)).as_py()
    return largest is not None and largest >= 2**63


def _huge(value: Any, path: str) -> tuple[str, int] | None:
    """Return the path and value of a whole number beyond 64 bits, if there is one."""
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else (path, value)
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [(f"{path}.{name}", part) for name, part in value.items()]
    elif isinstance(value, list):
        parts = [(path, part) for part in value]
    found = (_huge(part, name) for name, part in parts)
    return next((huge for huge in found if huge is not None), None)
