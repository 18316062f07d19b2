"""Whether two columns have the same values row by row, each kind of value by a rule of its own.

- Both missing are the same. Missing and anything else are not, an empty list or NaN included: a
  null says that nothing was there.
- Numbers are the same by value, whatever their types: 1, 1.0 and true; -0.0 and 0.0; every NaN and
  every other NaN; an infinity and itself alone. Integers must agree exactly. Where a side is of
  floats or decimals, `math.isclose` decides (PEP 485): |a - b| <= max(relative * max(|a|, |b|),
  absolute).
- Text is the same when its bytes are: other letter case, white space or Unicode normal form is
  another value, as it is to a vocabulary. Strings and binary values compare with each other.
- Dates, times, timestamps and durations agree to the instant, whatever their unit. A timestamp with
  a time zone and one without do not compare.
- Lists are the same when they have the same length and the same items in order; structs, when their
  fields are, a field that one side lacks being missing there.
- Kinds that do not compare, such as the text "1" and the number 1, are never the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..data.arrow_kinds import is_list, is_text
from ..errors import PenstockError

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Tolerance:
    """How far apart two numbers may lie, one of them a float, and be the same.

    Attributes:
        relative: As a share of the larger magnitude, from 0 to below 1. The default lets a float64
            agree with itself rounded to float32.
        absolute: In the number's own unit, at least 0.
    """

    relative: float = 1e-6
    absolute: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.relative < 1:
            raise PenstockError(
                f"The relative tolerance is {self.relative}; give a share from 0 to below 1."
            )
        if not 0 <= self.absolute < float("inf"):
            raise PenstockError(
                f"The absolute tolerance is {self.absolute}; give a number of at least 0."
            )


DEFAULT_TOLERANCE = Tolerance()


def same_values(one: pa.Array, other: pa.Array, tolerance: Tolerance) -> Mask:
    """Return whether each row of two columns has the same value, shape `[rows]`.

    Args:
        one: A column.
        other: Another of the same length, perhaps of another type.
        tolerance: For numbers.
    """
    one, other = _plain(one), _plain(other)
    there, also = valid(one), valid(other)
    same = there == also
    both = there & also
    if not both.any():
        return same
    if not both.all():
        places = pa.array(np.flatnonzero(both))
        one, other = one.take(places), other.take(places)
    same[both] = _compare(one, other, tolerance)
    return same


def valid(array: pa.Array) -> Mask:
    """Return where a column is not missing, shape `[rows]`."""
    if pa.types.is_null(array.type):
        return np.zeros(len(array), bool)
    if not array.null_count:
        return np.ones(len(array), bool)
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


def kind_of(kind: pa.DataType) -> str:
    """Return which values a type's values compare with.

    `number`, `text`, `list`, `struct`, `null`; `date`, `time`, `duration`, `instant` (timestamps
    with a time zone) and `local time` (those without); else the type's own name.
    """
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    tests = (
        (_is_number, "number"),
        (is_text, "text"),
        (is_list, "list"),
        (pa.types.is_struct, "struct"),
        (pa.types.is_null, "null"),
        (pa.types.is_date, "date"),
        (pa.types.is_time, "time"),
        (pa.types.is_duration, "duration"),
    )
    for test, name in tests:
        if test(kind):
            return name
    if pa.types.is_timestamp(kind):
        return "instant" if kind.tz else "local time"
    return str(kind)


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _compare(one: pa.Array, other: pa.Array, tolerance: Tolerance) -> Mask:
    """Compare columns without missing values."""
    kind = kind_of(one.type)
    if kind != kind_of(other.type):
        return np.zeros(len(one), bool)
    if kind == "number":
        return _same_numbers(one, other, tolerance)
    if kind == "list":
        return _same_lists(one, other, tolerance)
    if kind == "struct":
        return _same_structs(one, other, tolerance)
    if kind == "text":
        one, other = one.cast(pa.large_binary()), other.cast(pa.large_binary())
    elif kind in ("date", "time", "duration", "instant", "local time"):
        return _same_times(one, other)
    elif one.type != other.type:
        return np.zeros(len(one), bool)
    equal: Mask = pc.equal(one, other).to_numpy(zero_copy_only=False)
    return equal


def _same_numbers(one: pa.Array, other: pa.Array, tolerance: Tolerance) -> Mask:
    first, second = _numbers(one), _numbers(other)
    if first.dtype.kind != "f" and second.dtype.kind != "f":
        return _same_integers(first, second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = np.maximum(
            tolerance.relative * np.maximum(np.abs(first), np.abs(second)), tolerance.absolute
        )
        near = np.abs(first - second) <= allowed
    # An infinity is near nothing but itself, though its tolerance is infinite as well.
    finite = np.isfinite(first) & np.isfinite(second)
    same: Mask = (near & finite) | (first == second) | (np.isnan(first) & np.isnan(second))
    return same


def _numbers(array: pa.Array) -> Any:
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    return array.to_numpy(zero_copy_only=False)


def _same_integers(first: Any, second: Any) -> Mask:
    if first.dtype == np.uint64 and second.dtype.kind == "i":
        first, second = second, first
    if second.dtype == np.uint64 and first.dtype.kind == "i":
        # Neither type holds the values of both.
        whole = first.astype(np.int64)
        same: Mask = (whole >= 0) & (whole.view(np.uint64) == second)
        return same
    equal: Mask = first == second
    return equal


def _same_times(one: pa.Array, other: pa.Array) -> Mask:
    """Compare instants by whole units and the rest, so that no unit overflows."""
    (first, rest), (second, also) = instants(one), instants(other)
    same: Mask = (first == second) & (rest == also)
    return same


def instants(array: pa.Array) -> tuple[Any, Any]:
    """Return the times of a column as whole seconds, and the nanoseconds within the second."""
    kind = array.type
    narrow = pa.types.is_date32(kind) or pa.types.is_time32(kind)
    integers = array.view(pa.int32() if narrow else pa.int64())
    if integers.null_count:
        integers = integers.fill_null(0)
    numbers = integers.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_date32(kind):
        return numbers * 86_400, np.zeros(len(array), np.int64)
    # Such as `timestamp[us, tz=UTC]`; older Arrow has no other way to ask a time for its unit.
    unit = str(kind).partition("[")[2].rstrip("]").partition(",")[0]
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds, rest = np.divmod(numbers, per_second)
    return seconds, rest * (10**9 // per_second)


def _same_lists(one: pa.Array, other: pa.Array, tolerance: Tolerance) -> Mask:
    lengths, also = _lengths(one), _lengths(other)
    same: Mask = lengths == also
    if not same.any():
        return same
    places = pa.array(np.flatnonzero(same))
    counts = lengths[same]
    items = same_values(one.take(places).flatten(), other.take(places).flatten(), tolerance)
    # How many items differ before each list begins and where it ends.
    wrong = np.concatenate([[0], np.cumsum(~items)])
    ends = np.cumsum(counts)
    same[same] = wrong[ends] == wrong[ends - counts]
    return same


def _lengths(array: pa.Array) -> Any:
    if pa.types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size)
    return pc.list_value_length(array).to_numpy(zero_copy_only=False)


def _same_structs(one: pa.Array, other: pa.Array, tolerance: Tolerance) -> Mask:
    same = np.ones(len(one), bool)
    for name in dict.fromkeys([*field_names(one.type), *field_names(other.type)]):
        same &= same_values(field_of(one, name), field_of(other, name), tolerance)
    return same


def field_names(kind: pa.DataType) -> list[str]:
    """Return the names of a struct's fields."""
    return [kind.field(place).name for place in range(kind.num_fields)]


def field_of(array: pa.Array, name: str) -> pa.Array:
    """Return a field of a column of structs, missing where the struct is or lacks it."""
    if not pa.types.is_struct(array.type) or name not in field_names(array.type):
        return pa.nulls(len(array))
    # Unlike `field`, this applies the struct's own nulls and its offset.
    return array.flatten()[field_names(array.type).index(name)]


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )
