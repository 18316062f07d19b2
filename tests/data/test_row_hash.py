import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.data.row_hash import ContentSum, row_hashes
from penstock.data.splits import assign_splits, check_weights
from penstock.errors import PenstockError

SCHEMA = pa.schema(
    {
        "i": pa.int64(),
        "f": pa.float64(),
        "s": pa.string(),
        "b": pa.bool_(),
        "l": pa.list_(pa.int64()),
    }
)
rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        st.one_of(st.none(), st.floats()),
        st.one_of(st.none(), st.text(max_size=8)),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=3)),
    ),
    max_size=12,
)


def batch_of(values):
    columns = list(zip(*values, strict=True)) if values else [[] for _ in SCHEMA]
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def one(**columns):
    """The hash of a single row."""
    arrays = [v if isinstance(v, pa.Array) else pa.array([v]) for v in columns.values()]
    return int(row_hashes(pa.RecordBatch.from_arrays(arrays, names=list(columns)))[0])


@given(rows, st.randoms(use_true_random=False))
def test_hash_of_a_row_does_not_depend_on_its_neighbours_or_place(values, random_):
    together = row_hashes(batch_of(values)).tolist()
    order = random_.sample(range(len(values)), len(values))
    shuffled = row_hashes(batch_of([values[i] for i in order])).tolist()
    assert shuffled == [together[i] for i in order]
    assert [int(row_hashes(batch_of([value]))[0]) for value in values] == together


@given(rows, st.permutations(SCHEMA.names))
def test_hash_does_not_depend_on_the_order_of_columns(values, names):
    batch = batch_of(values)
    arrays = [batch.column(batch.schema.get_field_index(name)) for name in names]
    reordered = pa.RecordBatch.from_arrays(arrays, names=list(names))
    assert row_hashes(reordered).tolist() == row_hashes(batch).tolist()


@given(rows, st.data())
def test_content_sum_of_parts_adds_up_to_the_whole(values, data):
    hashes = row_hashes(batch_of(values))
    cut = data.draw(st.integers(0, len(values)))
    assert ContentSum.of(hashes[:cut]) + ContentSum.of(hashes[cut:]) == ContentSum.of(hashes)
    assert ContentSum.of(hashes[::-1]) == ContentSum.of(hashes)


def test_hash_is_the_same_on_every_machine_and_version():
    # Frozen: a change here would move rows between splits for every user.
    assert one(distance=1400, carrier="UA", delay=2.5, late=True) == 5030599295788932455
    assert (
        one(names=pa.array([["a", None, "b"]]), when=pa.array([19000], pa.date32()))
        == 6660761814442400209
    )


def test_equal_values_of_different_types_have_the_same_hash():
    assert one(a=1) == one(a=1.0) == one(a=True) == one(a=pa.array([1], pa.int8()))
    assert one(a=pa.array([1], pa.uint64())) == one(a=pa.array([1], pa.float32()))
    assert one(a="x") == one(a=b"x")
    assert one(a=0.0) == one(a=-0.0)
    assert one(a=math.nan) == one(a=-math.nan)


def test_different_contents_have_different_hashes():
    contents = [
        one(a=None),
        one(a=0),
        one(a=1),
        one(a=""),
        one(a="1"),
        one(a=math.nan),
        one(a=2**53),
        one(a=2**53 + 1),
        one(a=2**63 - 1),
        one(a=pa.array([[]], pa.list_(pa.int64()))),
        one(a=pa.array([[None]], pa.list_(pa.int64()))),
        one(a=[1]),
        one(a=[1, 1]),
        one(a=[1, 2]),
        one(a=[2, 1]),
        one(a=1, b=2),
        one(a=2, b=1),
        one(b=1),
    ]
    assert len(set(contents)) == len(contents)


def test_a_column_that_is_missing_everywhere_changes_no_hash():
    assert one(a=1) == one(a=1, b=None) == one(a=1, b=pa.array([None], pa.string()))


def test_only_the_chosen_columns_count():
    batch = pa.RecordBatch.from_arrays([pa.array([1, 1]), pa.array(["x", "y"])], names=["a", "b"])
    by_a = row_hashes(batch, ["a"])
    assert by_a[0] == by_a[1] == one(a=1)


def test_no_two_of_a_million_different_rows_share_a_hash():
    count = 1_000_000
    batch = pa.RecordBatch.from_arrays([pa.array(range(count))], names=["id"])
    assert len(np.unique(row_hashes(batch))) == count


@pytest.mark.parametrize("values", [range(200_000), [f"id-{i}" for i in range(200_000)]])
def test_shares_of_the_splits_follow_the_weights(values):
    weights = check_weights({"train": 7, "eval": 2, "test": 1})
    batch = pa.RecordBatch.from_arrays([pa.array(values)], names=["id"])
    places = assign_splits(row_hashes(batch), weights)
    shares = dict(zip(weights, np.bincount(places) / len(values), strict=True))
    # Five standard deviations of a binomial share.
    for split, share in {"train": 0.7, "eval": 0.2, "test": 0.1}.items():
        assert abs(shares[split] - share) < 5 * math.sqrt(share * (1 - share) / len(values))


def test_splits_do_not_depend_on_the_order_of_the_weights_or_their_scale():
    hashes = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    one_way = assign_splits(hashes, check_weights({"train": 2, "eval": 1}))
    other_way = assign_splits(hashes, check_weights({"eval": 10.0, "train": 20.0}))
    assert one_way.tolist() == other_way.tolist()


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ({}, "No splits are given; name at least one with its weight"),
        ({"train": 0}, "The weight of split 'train' is 0; give a number above 0, such as 2.0."),
        ({"train": -1.0}, "The weight of split 'train' is -1.0; give a number above 0"),
        ({"train": math.nan}, "The weight of split 'train' is nan; give a number above 0"),
        ({"train": math.inf}, "The weight of split 'train' is inf; give a number above 0"),
        ({"train": "2"}, "The weight of split 'train' is '2'; give a number above 0"),
        ({"a/b": 1}, "The split name 'a/b' is not usable as a folder name"),
        ({"": 1}, "The split name '' is not usable as a folder name"),
    ],
)
def test_wrong_weights_are_refused(splits, sentence):
    with pytest.raises(PenstockError) as error:
        check_weights(splits)
    assert str(error.value).startswith(sentence)


def test_zero_rows_have_no_hashes():
    assert row_hashes(batch_of([])).tolist() == []


INNER = pa.struct([("n", pa.int64()), ("w", pa.string())])


def struct(value, kind=INNER):
    return one(x=pa.array([value], kind), y=1)


def test_a_struct_is_hashed_by_its_fields():
    turned = pa.struct([INNER.field(1), INNER.field(0)])
    for value in ({"n": 1, "w": "a"}, {"n": None, "w": "a"}, None):
        assert struct(value, turned) == struct(value)
    # A field that is missing everywhere changes no hash, as a column does not.
    wider = pa.struct([*turned, pa.field("more", pa.float64()), pa.field("null", pa.null())])
    assert struct({"n": 1, "w": "a"}, wider) == struct({"n": 1, "w": "a"})
    contents = [
        struct(None),
        struct({"n": None, "w": None}),
        struct({"n": 1, "w": None}),
        struct({"n": None, "w": "1"}),
        struct({"n": 1, "w": "1"}),
        struct([{"n": 1, "w": "1"}], pa.list_(INNER)),
        struct([{"n": 1, "w": "1"}, None], pa.list_(INNER)),
        struct([None, {"n": 1, "w": "1"}], pa.list_(INNER)),
        struct({"x": {"n": 1, "w": "1"}}, pa.struct([("x", INNER)])),
        struct({"m": 1, "w": "1"}, pa.struct([("m", pa.int64()), ("w", pa.string())])),
        one(y=1, n=1, w="1"),
    ]
    assert len(set(contents)) == len(contents)


def test_the_hash_of_structs_is_the_same_on_every_machine_and_version():
    # Frozen, as above.
    assert struct({"n": 7, "w": "seven"}) == 14915416790678064413


@pytest.mark.parametrize("start", [0, 1, 2])
def test_the_hash_of_a_slice_is_that_of_its_rows(start):
    values = [{"n": 1, "w": "a"}, None, {"n": None, "w": "b"}, {"n": 3, "w": None}]
    batch = pa.RecordBatch.from_arrays([pa.array(values, INNER)], names=["x"])
    assert row_hashes(batch.slice(start)).tolist() == row_hashes(batch).tolist()[start:]
