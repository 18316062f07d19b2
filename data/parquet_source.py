"""Parquet files as Arrow record batches of the types that Examples hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ..errors import PenstockError
from .arrow_kinds import is_list
from .declared import cast_column, held_type
from .filters import filter_columns, filter_expression
from .positions import Lines, ShardPositions

BATCH_ROWS = 131_072


def parquet_schema(
    file: Path, declared: Mapping[str, pa.DataType] | None = None, label: str = ""
) -> pa.Schema:
    """Return the columns of a Parquet file with the types they take in Examples.

    Large and dictionary-encoded types become their plain ones, float16 becomes float32.

    Args:
        file: The file.
        declared: The types that are known, by column.
        label: What messages call the file; its path when empty.

    Raises:
        PenstockError: The file is not Parquet, a name is used twice, or a type is none of null,
            boolean, integer, float, date, timestamp, string, binary, or a list or struct of these.
    """
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    seen: set[str] = set()
    for name in schema.names:
        if name in seen:
            raise PenstockError(
                f"{label or file} has two columns named {name!r}; give each column its own name."
            )
        seen.add(name)
    kinds = {f.name: _kept_type(label or str(file), f.name, f.type) for f in schema}
    known = declared or {}
    return pa.schema([pa.field(n, held_type(known.get(n), kind)) for n, kind in kinds.items()])


def parquet_batches(
    file: Path,
    schema: pa.Schema,
    label: str = "",
    piece: bool = False,
    row_groups: list[int] | None = None,
) -> Iterator[tuple[pa.RecordBatch, Lines]]:
    """Yield the rows of a Parquet file as batches of `schema`.

    With each batch come the numbers of its rows, from 1.

    Args:
        file: The file.
        schema: The columns to read, in this order, and their types. One that the file lacks is
            missing in every row.
        label: What messages call the file; its path when empty.
        piece: Whether its rows are some of another file's, where they have the numbers that count;
            they lie beside it as `penstock.data.positions` has it.
        row_groups: Which row groups to read, in ascending order; all when None.

    Raises:
        PenstockError: The file is broken, or a value does not fit its column's type.
    """
    known = ShardPositions(file) if piece else None
    try:
        with pq.ParquetFile(file) as reader:
            own = set(reader.schema_arrow.names)
            names = [name for name in schema.names if name in own]
            places = _numbers(reader.metadata, row_groups)
            done = 0
            for batch in reader.iter_batches(BATCH_ROWS, row_groups=row_groups, columns=names):
                rows = places(done, batch.num_rows)
                lines = known.take(rows)["line"].to_numpy() if known else rows + 1
                arrays = [_column(batch, field, label or str(file), lines) for field in schema]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema), lines
                done += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    finally:
        if known:
            known.close()


def row_group_runs(file: Path, rows: int) -> list[tuple[int, ...]]:
    """Return a file's row groups in runs of at least `rows` rows, but for the last.

    Raises:
        PenstockError: The file is not Parquet.
    """
    try:
        metadata = pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    runs: list[list[int]] = []
    taken = rows
    for group in range(metadata.num_row_groups):
        if taken >= rows:
            runs.append([])
            taken = 0
        runs[-1].append(group)
        taken += metadata.row_group(group).num_rows
    return [tuple(run) for run in runs]


def matching_row_groups(
    file: Path, schema: pa.Schema, where: str, row_groups: list[int] | None = None
) -> tuple[list[int], int]:
    """Return the row groups that may have rows for a filter, and the rows of those that have none.

    The file's own statistics tell, where its columns have the types of `schema`.

    Args:
        file: The file.
        schema: The columns that are read.
        where: The filter.
        row_groups: The row groups that count; all when None.

    Raises:
        PenstockError: The file is not Parquet.
    """
    try:
        fragment = next(iter(ds.dataset(file, format="parquet").get_fragments()))
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    groups = fragment.row_groups
    kept = {group.id for group in groups}
    own = fragment.physical_schema
    names = filter_columns(where)
    if all(n in own.names and own.field(n).type == schema.field(n).type for n in names):
        subset = fragment.subset(filter=filter_expression(where), schema=own)
        kept = {group.id for group in subset.row_groups}
    wanted = kept if row_groups is None else kept.intersection(row_groups)
    every = {g.id: g.num_rows for g in groups if row_groups is None or g.id in row_groups}
    return sorted(wanted), sum(rows for place, rows in every.items() if place not in wanted)


def _numbers(
    metadata: pq.FileMetaData, row_groups: list[int] | None
) -> Callable[[int, int], Lines]:
    """Return what tells the numbers in the file, from 0, of rows of some row groups.

    It is given how many of their rows come before, and how many there are.
    """
    sizes = [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    chosen = range(len(sizes)) if row_groups is None else row_groups
    begins = np.cumsum([0, *(sizes[group] for group in chosen)])
    shifts = np.array([starts[group] for group in chosen]) - begins[:-1]

    def numbers(before: int, rows: int) -> Lines:
        places = np.arange(before, before + rows)
        return places + shifts[np.searchsorted(begins, places, side="right") - 1]

    return numbers


def _kept_type(file: str, name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _kept_type(file, name, kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if is_list(kind):
        return pa.list_(_kept_type(file, name, kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        if len({field.name for field in fields}) < len(fields):
            raise PenstockError(
                f"Column {name!r} of {file} has two fields of one name; give each its own."
            )
        return pa.struct(
            [pa.field(f.name, _kept_type(file, f"{name}.{f.name}", f.type)) for f in fields]
        )
    if (
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
        "boolean, number, date, timestamp, string, binary, or a list or struct of these."
    )


def _column(batch: pa.RecordBatch, field: pa.Field, label: str, lines: Lines) -> pa.Array:
    place = batch.schema.get_field_index(field.name)
    if place < 0:
        return pa.nulls(batch.num_rows, field.type)
    return cast_column(batch.column(place), field.type, field.name, label, lines)


def _unreadable(file: Path, error: Exception) -> PenstockError:
    return PenstockError(
        f"{file} is not readable as Parquet ({_reason(error)}); check that it is a whole Parquet "
        "file."
    )


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
