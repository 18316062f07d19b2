"""Columns as TFDV and TFMA want them: every cell a list of integers, floats or bytes."""

from __future__ import annotations

import pyarrow as pa
from tfx_bsl.arrow import array_util


def list_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with each column as `list_array` gives it."""
    arrays = [list_array(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def list_array(column: pa.Array) -> pa.Array:
    """Return a column as TFDV wants it: a list of values per cell, null when missing.

    Values become integers, floats or bytes; lists and structs stay, and the fields of a struct are
    lists as well.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return column
    if pa.types.is_struct(kind):
        return _struct([list_array(child) for child in _children(column)], column)
    if _is_list(kind):
        return _items(column)
    return array_util.ToSingletonListArray(_leaf(column))


def _items(column: pa.Array) -> pa.Array:
    """Return a column of lists with the items as TFDV knows them."""
    values = column.values
    if pa.types.is_struct(values.type):
        items = list_array(values)
    elif _is_list(values.type):
        items = _items(values)
    else:
        items = _leaf(values)
    if items is values:
        return column
    make = pa.large_list if pa.types.is_large_list(column.type) else pa.list_
    offsets = pa.array(column.offsets.to_numpy())
    return pa.Array.from_buffers(
        make(items.type), len(column), [_validity(column), offsets.buffers()[1]], children=[items]
    )


def _leaf(values: pa.Array) -> pa.Array:
    kind = None if pa.types.is_null(values.type) else _leaf_type(values.type)
    return values if kind is None or kind == values.type else values.cast(kind)


def _children(column: pa.StructArray) -> list[pa.Array]:
    return [column.field(place) for place in range(column.type.num_fields)]


def _struct(children: list[pa.Array], like: pa.StructArray) -> pa.Array:
    names = [like.type.field(place).name for place in range(like.type.num_fields)]
    kind = pa.struct(
        [pa.field(name, child.type) for name, child in zip(names, children, strict=True)]
    )
    return pa.Array.from_buffers(kind, len(like), [_validity(like)], children=children)


def _validity(column: pa.Array) -> pa.Buffer | None:
    """Return the bitmap of what is not null, without the column's own offset."""
    return pa.array(column.is_valid().to_numpy(zero_copy_only=False)).buffers()[1]


def has_list_array(kind: pa.DataType) -> bool:
    """Tell whether columns of a type become lists: none do that are a map or a union."""
    if _is_list(kind):
        return has_list_array(kind.value_type)
    if pa.types.is_struct(kind):
        return all(has_list_array(kind.field(place).type) for place in range(kind.num_fields))
    return pa.types.is_null(kind) or _leaf_type(kind) is not None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _leaf_type(kind: pa.DataType) -> pa.DataType | None:
    """Return what TFDV knows a value as: an integer, a float or bytes; None when it has none."""
    if pa.types.is_dictionary(kind):
        return _leaf_type(kind.value_type)
    if pa.types.is_boolean(kind) or pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_temporal(kind):
        return pa.int64()
    if pa.types.is_string(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.float32() if pa.types.is_float16(kind) else kind
    return kind if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else None
