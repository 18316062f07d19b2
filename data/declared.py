"""The types that a reviewed schema declares for columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


def declared_types(schema: schema_pb2.Schema) -> dict[str, pa.DataType]:
    """Return the type of each feature: `INT` int64, `FLOAT` float64, `BYTES` string.

    Features without a type, and structs, are left to inference.
    """
    kinds = {1: pa.string(), 2: pa.int64(), 3: pa.float64()}
    return {f.name: kinds[f.type] for f in schema.feature if f.type in kinds}


def held_type(declared: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    """Return the type that a typed column takes: the declared one, inside lists too.

    Booleans count as integers in a schema and stay what they are; narrower integers and floats
    stay too, as do binary values declared as bytes.
    """
    if declared is None:
        return found
    if pa.types.is_list(found):
        return pa.list_(held_type(declared, found.value_type))
    same_kind = (
        (pa.types.is_integer(declared) and (pa.types.is_integer(found) or _is_flag(found)))
        or (pa.types.is_floating(declared) and pa.types.is_floating(found))
        or (pa.types.is_string(declared) and (pa.types.is_binary(found) or _is_time(found)))
    )
    return found if same_kind else declared


def cast_column(array: pa.Array, kind: pa.DataType, name: str, where: str, row: int) -> pa.Array:
    """Return a column in the type `kind`; text does not become a number, nor a number text.

    Args:
        array: The column's values.
        kind: The type wanted.
        name: The column's name.
        where: What messages call the file.
        row: The number of the first value's row in the file, from 1.

    Raises:
        PenstockError: A value does not fit; the sentence names file, row and column.
    """
    if array.type == kind:
        return array
    if pa.types.is_list(kind) and not _is_list(array.type) and not pa.types.is_null(array.type):
        array = _wrap(array)
    try:
        if _is_text(array.type) != _is_text(kind) and array.null_count < len(array):
            raise pa.ArrowInvalid(f"{array.type} is not {kind}")
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        place = _first_misfit(array, kind)
        value = array[place].as_py()
        raise PenstockError(
            f"{where}, row {row + place}, has {value!r} in column {name!r}, which is "
            f"{array.type}, expected {kind}; mend the value, or write the column in one type "
            "throughout, as the schema declares it."
        ) from error


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
            array.slice(start, middle - start).cast(kind)
            start = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            end = middle
    return start


def _is_text(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_flag(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind)


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind)
