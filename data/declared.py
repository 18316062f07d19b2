"""The types that a reviewed schema declares for columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError
from .arrow_kinds import is_list, is_text
from .positions import Lines

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


def declared_types(schema: schema_pb2.Schema) -> dict[str, pa.DataType]:
    """Return the type of each feature: `INT` int64, `FLOAT` float64, `BYTES` string.

    A struct has the types of the features in its struct domain. Features without a type are left
    to inference.
    """
    return _types(schema.feature)


def _types(features: Iterable[schema_pb2.Feature]) -> dict[str, pa.DataType]:
    kinds = {1: pa.string(), 2: pa.int64(), 3: pa.float64()}
    types = {f.name: kinds[f.type] for f in features if f.type in kinds}
    for feature in features:
        if feature.HasField("struct_domain"):
            types[feature.name] = pa.struct(list(_types(feature.struct_domain.feature).items()))
    return types


def held_type(declared: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    """Return the type that a typed column takes: the declared one, inside lists and structs too.

    Booleans count as integers in a schema and stay what they are; narrower integers and floats
    stay too, as do binary values declared as bytes.
    """
    if declared is None:
        return found
    if pa.types.is_list(found):
        return pa.list_(held_type(declared, found.value_type))
    if pa.types.is_struct(found) and pa.types.is_struct(declared):
        known = {field.name: field.type for field in _fields(declared)}
        return pa.struct([(f.name, held_type(known.get(f.name), f.type)) for f in _fields(found)])
    same_kind = (
        (pa.types.is_integer(declared) and (pa.types.is_integer(found) or _is_flag(found)))
        or (pa.types.is_floating(declared) and pa.types.is_floating(found))
        or (pa.types.is_string(declared) and (pa.types.is_binary(found) or _is_time(found)))
    )
    return found if same_kind else declared


def cast_column(
    array: pa.Array, kind: pa.DataType, name: str, where: str, rows: Sequence[int] | Lines
) -> pa.Array:
    """Return a column in the type `kind`; text does not become a number, nor a number text.

    Args:
        array: The column's values.
        kind: The type wanted.
        name: The column's name.
        where: What messages call the file.
        rows: The number in the file of each value's row, from 1.

    Raises:
        PenstockError: A value does not fit; the sentence names file, row and column.
    """
    if array.type == kind:
        return array
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type):
        own = [field.name for field in _fields(array.type)]
        parts = [
            cast_column(array.field(own.index(f.name)), f.type, f"{name}.{f.name}", where, rows)
            if f.name in own
            else pa.nulls(len(array), f.type)
            for f in _fields(kind)
        ]
        return _struct(parts, kind, array)
    if pa.types.is_list(kind) and not is_list(array.type) and not pa.types.is_null(array.type):
        array = _wrap(array)
    try:
        return _cast(array, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        place = _first_misfit(array, kind)
        value = array[place].as_py()
        raise PenstockError(
            f"{where}, row {rows[place]}, has {value!r} in column {name!r}, which is "
            f"{array.type}, expected {kind}; mend the value, or write the column in one type "
            "throughout, as the schema declares it."
        ) from error


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return an array in the type `kind`, through lists and structs, which Arrow casts in part."""
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type):
        own = {field.name: array.field(place) for place, field in enumerate(_fields(array.type))}
        nothing = pa.nulls(len(array))
        return _struct(
            [_cast(own.get(f.name, nothing), f.type) for f in _fields(kind)], kind, array
        )
    if is_list(kind) and is_list(array.type):
        offsets, values = _parts(array)
        buffers = [_validity(array), pa.array(offsets.astype(np.int32)).buffers()[1]]
        items = _cast(values, kind.value_type)
        return pa.Array.from_buffers(kind, len(array), buffers, children=[items])
    if _is_text(array.type) != _is_text(kind) and array.null_count < len(array):
        raise pa.ArrowInvalid(f"{array.type} is not {kind}")
    return array.cast(kind)


def _parts(array: pa.Array) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """Return where each list begins and ends among the values of a list array."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        values = array.values.slice(array.offset * size, len(array) * size)
        return np.arange(len(array) + 1) * size, values
    offsets = array.offsets.to_numpy()
    return offsets - offsets[0], array.values.slice(offsets[0], offsets[-1] - offsets[0])


def _struct(parts: Sequence[pa.Array], kind: pa.DataType, like: pa.Array) -> pa.Array:
    """Return a struct of the type `kind` with these fields, missing where `like` is."""
    return pa.Array.from_buffers(kind, len(like), [_validity(like)], children=list(parts))


def _validity(array: pa.Array) -> pa.Buffer | None:
    """Return the bitmap of what is not null, without the array's own offset."""
    if not array.null_count:
        return None
    return pa.array(array.is_valid().to_numpy(zero_copy_only=False)).buffers()[1]


def _fields(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(place) for place in range(kind.num_fields)]


def _wrap(array: pa.Array) -> pa.Array:
    """Return a list of one value for each value, a missing list for a missing value."""
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(valid)]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, array.drop_null())
    missing = pa.nulls(len(array), lists.type)
    return pc.if_else(pa.array(valid), lists, missing)


def _first_misfit(array: pa.Array, kind: pa.DataType) -> int:
    valid = pc.indices_nonzero(array.is_valid()).to_pylist()
    if _is_text(array.type) != _is_text(kind):
        return valid[0]
    start, end = 0, len(array)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            _cast(array.slice(start, middle - start), kind)
            start = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            end = middle
    return start


def _is_text(kind: pa.DataType) -> bool:
    while is_list(kind):
        kind = kind.value_type
    return is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_flag(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind)


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind)
