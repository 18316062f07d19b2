"""When two values are the same: the rules of `penstock.drift.equality`, one by one and as laws."""

import datetime
import decimal
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.drift.equality import Tolerance, field_of, same_values
from penstock.errors import PenstockError

NAN, INF = math.nan, math.inf
EXACT = Tolerance(0.0, 0.0)


def same(one, other, kind=None, other_kind=None, tolerance=EXACT):
    first = pa.array([one], kind)
    second = pa.array([other], other_kind or kind)
    found = same_values(first, second, tolerance)
    assert found.tolist() == same_values(second, first, tolerance).tolist(), "it is symmetric"
    return bool(found[0])


@pytest.mark.parametrize(
    ("one", "other", "kinds", "expected"),
    [
        (None, None, (pa.int64(), pa.string()), True),
        (None, 0, (pa.int64(),), False),
        (None, NAN, (pa.float64(),), False),
        (None, "", (pa.string(),), False),
        (None, [], (pa.list_(pa.int64()),), False),
        (NAN, NAN, (pa.float64(), pa.float32()), True),
        (NAN, 0.0, (pa.float64(),), False),
        (-0.0, 0.0, (pa.float64(),), True),
        (-0.0, 0, (pa.float64(), pa.int64()), True),
        (INF, INF, (pa.float64(),), True),
        (INF, -INF, (pa.float64(),), False),
        (1, 1.0, (pa.int64(), pa.float64()), True),
        (1, True, (pa.int8(), pa.bool_()), True),
        (0, True, (pa.int8(), pa.bool_()), False),
        (1, "1", (pa.int64(), pa.string()), False),
        (2**53, 2**53 + 1, (pa.int64(),), False),
        (2**63, 2**63, (pa.uint64(),), True),
        (-1, 2**64 - 1, (pa.int64(), pa.uint64()), False),
        (5, 5, (pa.int64(), pa.uint64()), True),
        (decimal.Decimal("1.10"), 1.1, (pa.decimal128(5, 2), pa.float64()), True),
        ("a", b"a", (pa.string(), pa.binary()), True),
        ("a", "A", (pa.string(),), False),
        ("a", "a ", (pa.string(),), False),
        ("\u00e9", "e\u0301", (pa.string(),), False),
        ("a", "a", (pa.large_string(), pa.dictionary(pa.int8(), pa.string())), True),
        (b"ab", "ab", (pa.binary(2), pa.string()), True),
        (0, 0, (pa.timestamp("s"), pa.timestamp("ns")), True),
        (-1, -1000, (pa.timestamp("s"), pa.timestamp("ms")), True),
        (-1, -1001, (pa.timestamp("s"), pa.timestamp("ms")), False),
        (2**62, 0, (pa.timestamp("s"), pa.timestamp("ns")), False),
        (0, 0, (pa.timestamp("s", "UTC"), pa.timestamp("s", "America/New_York")), True),
        (0, 0, (pa.timestamp("s", "UTC"), pa.timestamp("s")), False),
        (datetime.date(2013, 1, 1), datetime.date(2013, 1, 1), (pa.date32(), pa.date64()), True),
        (5, 5000, (pa.time32("s"), pa.time32("ms")), True),
        (datetime.date(1970, 1, 1), 0, (pa.date32(), pa.int64()), False),
        ([1, 2], [1.0, 2.0], (pa.list_(pa.int64()), pa.large_list(pa.float64())), True),
        ([1, 2], [2, 1], (pa.list_(pa.int64()),), False),
        ([1], [1, 1], (pa.list_(pa.int64()),), False),
        ([None], [None], (pa.list_(pa.int64()),), True),
        ([None], [], (pa.list_(pa.int64()),), False),
        ([], [], (pa.list_(pa.int64()), pa.list_(pa.string())), True),
        ([1], 1, (pa.list_(pa.int64()), pa.int64()), False),
        ([1, 2], [1, 2], (pa.list_(pa.int64(), 2), pa.list_(pa.int64())), True),
        ([[1], []], [[1], []], (pa.list_(pa.list_(pa.int64())),), True),
        ([[1], []], [[1], None], (pa.list_(pa.list_(pa.int64())),), False),
        (
            [{"a": 1}],
            [{"a": 1, "b": None}],
            (
                pa.list_(pa.struct({"a": pa.int64()})),
                pa.list_(pa.struct({"a": pa.int64(), "b": pa.string()})),
            ),
            True,
        ),
        ({"a": 1}, {"a": 2}, (pa.struct({"a": pa.int64()}),), False),
    ],
)
def test_the_rules(one, other, kinds, expected):
    assert same(one, other, *kinds) is expected


@given(
    st.floats() | st.floats(-1e3, 1e3),
    st.floats() | st.floats(-1e3, 1e3),
    st.floats(0, 0.5),
    st.floats(0, 10),
)
@settings(max_examples=150, deadline=None)
def test_numbers_are_near_as_python_says(one, other, relative, absolute):
    expected = math.isclose(one, other, rel_tol=relative, abs_tol=absolute) or (
        math.isnan(one) and math.isnan(other)
    )
    assert same(one, other, pa.float64(), tolerance=Tolerance(relative, absolute)) == expected


@given(st.floats(width=64, allow_nan=False, allow_infinity=False))
@settings(max_examples=50, deadline=None)
def test_by_default_a_float_agrees_with_itself_in_float32(value):
    with np.errstate(over="ignore"):
        narrow = float(np.float32(value))
    if math.isfinite(narrow) and (abs(value) > 1e-37 or value == 0):
        assert same(value, narrow, pa.float64(), pa.float32(), Tolerance())


ITEMS = st.lists(st.none() | st.lists(st.none() | st.integers(0, 2), max_size=3), max_size=8)


@given(ITEMS, ITEMS)
@settings(max_examples=80, deadline=None)
def test_lists_are_the_same_as_python_lists(one, other):
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    kind = pa.list_(pa.int64())
    # Also of slices, whose offsets do not begin at 0.
    arrays = [pa.array([[9], *side, None], kind).slice(1, length) for side in (one, other)]
    assert same_values(*arrays, EXACT).tolist() == [a == b for a, b in zip(one, other, strict=True)]


def test_a_list_that_differs_does_not_touch_the_next():
    kind = pa.list_(pa.int64())
    one = pa.array([[1], [2, 3], [], [4]], kind)
    other = pa.array([[0], [2, 3], [], [5]], kind)
    assert same_values(one, other, EXACT).tolist() == [False, True, True, False]


@pytest.mark.parametrize("other", [-INF, 1e300, 0.0, NAN])
def test_an_infinity_is_near_nothing_else(other):
    assert not same(INF, other, pa.float64(), tolerance=Tolerance(0.5, 1e9))


def test_a_field_of_a_missing_struct_is_missing():
    array = pa.array([{"a": 1}, None, {"a": None}], pa.struct({"a": pa.int64()}))
    assert field_of(array, "a").to_pylist() == [1, None, None]
    assert field_of(array.slice(1), "a").to_pylist() == [None, None]
    assert field_of(array, "b").null_count == 3


@pytest.mark.parametrize("given_", [{"relative": -0.1}, {"relative": 1}, {"relative": NAN}])
def test_a_tolerance_out_of_range_is_refused(given_):
    with pytest.raises(PenstockError, match="give a share from 0 to below 1"):
        Tolerance(**given_)
    with pytest.raises(PenstockError, match="absolute tolerance is inf; give a number"):
        Tolerance(absolute=INF)
