"""Rows of two sides joined by key and compared: every count against a loop over rows."""

import itertools
import math
from collections import Counter, defaultdict

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.data.beam import pipeline_options
from penstock.drift import key_partitions
from penstock.drift.by_key import Join, KeySkew, SkewByKey, count_skew
from penstock.drift.equality import Tolerance
from penstock.drift.key_counts import merge_counts
from penstock.drift.key_partitions import Scatter, Side
from penstock.drift.keys import DUPLICATES, check_keys
from penstock.errors import PenstockError

KINDS = {"id": pa.int64(), "day": pa.string(), "x": pa.float64(), "tags": pa.list_(pa.string())}


def side_of(folder, name, rows, kinds=KINDS, shards=1):
    """A side's rows as so many shards."""
    table = pa.Table.from_pylist(rows, schema=pa.schema(kinds))
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(shards):
        start, end = (round(i * len(rows) / shards) for i in (number, number + 1))
        files.append(str(place / f"part-{number:05d}.parquet"))
        pq.write_table(table.slice(start, end - start), files[-1])
    return Side(tuple(files), table.schema, len(rows))


def count(folder, training, serving, keys=("id",), **chosen):
    checked = check_keys(keys, training.schema, serving.schema)
    names = dict.fromkeys([*training.schema.names, *serving.schema.names])
    features = tuple(name for name in names if name not in keys)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return count_skew(training, serving, KeySkew(checked, features, **chosen), work)


def count_without_a_runner(folder, training, serving, keys, rule):
    """The transform's own steps, called one after the other: what a runner does, at once."""
    checked = check_keys(keys, training.schema, serving.schema)
    features = tuple(name for name in training.schema.names if name not in keys)
    skew = KeySkew(checked, features, duplicates=rule)
    transform = SkewByKey(training, serving, skew, folder)
    found, parts = [], defaultdict(list)
    for shard in transform.shards:
        for made in Scatter(checked, transform.parts, str(folder)).process(shard):
            if isinstance(made, beam.pvalue.TaggedOutput):
                found.append(made.value)
            else:
                parts[made[0]].append(made[1])
    for gathered in parts.items():
        found += Join(skew).process(gathered)
    return merge_counts(found, skew.samples)


def by_loops(training, serving, keys, rule):
    """The same counts by loops over rows, from the definitions alone."""
    keyed = [
        [(tuple(row.get(k) for k in keys), row) for row in side] for side in (training, serving)
    ]
    nulls = tuple(sum(None in key for key, _ in side) for side in keyed)
    keyed = [[(key, row) for key, row in side if None not in key] for side in keyed]
    counts = [Counter(key for key, _ in side) for side in keyed]
    several = {key for side in counts for key, n in side.items() if n > 1}
    kept = keyed
    if rule in ("refuse", "drop"):
        kept = [[(key, row) for key, row in side if key not in several] for side in keyed]
    elif rule == "first":
        kept = [list({key: (key, row) for key, row in reversed(side)}.values()) for side in keyed]
    left_out = tuple(len(a) - len(b) for a, b in zip(keyed, kept, strict=True))
    has = [{key for key, _ in side} for side in kept]
    unmatched = tuple(
        sum(key not in other for key, _ in side)
        for side, other in zip(kept, has[::-1], strict=True)
    )
    pairs = [(a, b) for (k, a), (m, b) in itertools.product(*kept) if k == m]
    features = {}
    for name in KINDS:
        if name in keys:
            continue
        found = Counter(_word(a[name], b[name]) for a, b in pairs)
        features[name] = found
    skewed = sum(
        any(_word(a[n], b[n]) not in ("match", "none") for n in KINDS if n not in keys)
        for a, b in pairs
    )
    return nulls, len(several), left_out, unmatched, len(pairs), skewed, features


def _word(one, other):
    if one is None or other is None:
        return "none" if one is other else "only_serving" if one is None else "only_training"
    if isinstance(one, float):
        alike = math.isclose(one, other, rel_tol=1e-6) or (math.isnan(one) and math.isnan(other))
        return "match" if alike else "mismatch"
    return "match" if one == other else "mismatch"


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.none() | st.integers(-1, 4),
            "day": st.none() | st.sampled_from(["a", "b"]),
            "x": st.none() | st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 2.0, math.nan]),
            "tags": st.none() | st.lists(st.none() | st.sampled_from(["u", "v"]), max_size=2),
        }
    ),
    max_size=12,
)


@given(ROWS, ROWS, st.sampled_from(DUPLICATES), st.sampled_from([("id",), ("id", "day")]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_count_is_that_of_a_loop_over_rows(tmp_path_factory, training, serving, rule, keys):
    folder = tmp_path_factory.mktemp("by_key")
    sides = [side_of(folder, n, rows, shards=2) for n, rows in (("t", training), ("s", serving))]

    found = count_without_a_runner(folder, *sides, keys, rule)

    nulls, several, left_out, unmatched, pairs, skewed, features = by_loops(
        training, serving, keys, rule
    )
    assert found.rows == (len(training), len(serving))
    assert (found.null_keys, found.duplicate_keys) == (nulls, several)
    assert (found.left_out, found.unmatched) == (left_out, unmatched)
    assert (found.pairs, found.skewed_pairs) == (pairs, skewed)
    for name, words in features.items() if pairs else ():
        counted = found.features[name]
        assert counted.both_missing == words["none"]
        assert counted.match == words["match"] + words["none"]
        for word in ("mismatch", "only_training", "only_serving"):
            assert getattr(counted, word) == words[word]
        assert len(counted.samples) == min(5, counted.skewed)
    if rule in ("first", "drop", "refuse"):
        for side in (0, 1):
            whole = found.rows[side]
            assert whole == nulls[side] + left_out[side] + unmatched[side] + pairs


def rows_of(number, change=lambda n: {}):
    return [
        {"id": n, "day": "a", "x": float(n), "tags": ["u"] * (n % 3)} | change(n)
        for n in range(number)
    ]


def test_nothing_depends_on_shards_partitions_and_order(tmp_path, monkeypatch):
    training = rows_of(500)
    serving = rows_of(500, lambda n: {"x": n + 1.0} if n % 7 == 0 else {})
    whole = count(
        tmp_path, side_of(tmp_path, "t", training), side_of(tmp_path, "s", serving), samples=3
    )
    monkeypatch.setattr(key_partitions, "CELLS", 100)
    sides = [
        side_of(tmp_path, "t7", training[::-1], shards=7),
        side_of(tmp_path, "s3", serving[250:] + serving[:250], shards=3),
    ]
    assert key_partitions.partitions_of(*sides, 4) == 40
    scattered = count(tmp_path, *sides, samples=3)
    assert scattered.pairs == whole.pairs == 500
    told = [
        [(s.key, s.training, s.serving) for s in c.features["x"].samples]
        for c in (whole, scattered)
    ]
    assert told[0] == told[1]
    assert whole.features["x"].mismatch == scattered.features["x"].mismatch == 72
    assert not list((tmp_path / "work").glob("*.arrow"))


def test_samples_name_key_values_and_rows(tmp_path):
    training = side_of(tmp_path, "Split-train", rows_of(40), shards=2)
    serving = side_of(tmp_path, "Split-all", rows_of(40, lambda n: {"x": -1.0 * (n == 30) + n}))
    (sample,) = count(tmp_path, training, serving).features["x"].samples
    assert (sample.key, sample.training, sample.serving) == ("id=30", "30.0", "29.0")
    assert sample.rows == (
        ("Split-train/part-00001.parquet", 10),
        ("Split-all/part-00000.parquet", 30),
    )


def test_first_takes_the_first_row_of_each_side_in_the_order_of_the_shards(tmp_path):
    training = [{"id": 1, "x": 1.0}, {"id": 1, "x": 2.0}, {"id": 1, "x": 3.0}, {"id": 1, "x": 4.0}]
    serving = [{"id": 1, "x": 9.0}, {"id": 1, "x": 1.0}]
    sides = [side_of(tmp_path, "t", training, shards=4), side_of(tmp_path, "s", serving, shards=2)]
    (sample,) = count(tmp_path, *sides, duplicates="first").features["x"].samples
    assert (sample.training, sample.serving) == ("1.0", "9.0")


def test_structs_are_compared_field_by_field_and_columns_of_one_side_as_missing(tmp_path):
    kinds = {
        "id": pa.int64(),
        "s": pa.struct({"a": pa.int64(), "b": pa.struct({"c": pa.string()})}),
    }
    one = [{"id": 1, "s": {"a": 1, "b": {"c": "x"}}}, {"id": 2, "s": None}]
    other = [{"id": 1, "s": {"a": 1, "b": {"c": "y"}}}, {"id": 2, "s": {"a": 1, "b": None}}]
    training = side_of(
        tmp_path, "t", [row | {"more": 1} for row in one], kinds | {"more": pa.int8()}
    )
    serving = side_of(tmp_path, "s", other, kinds)
    found = count(tmp_path, training, serving).features
    assert list(found) == ["s.a", "s.b.c", "more"]
    assert (found["s.a"].match, found["s.a"].only_serving) == (1, 1)
    assert (found["s.b.c"].mismatch, found["s.b.c"].both_missing) == (1, 1)
    assert found["more"].only_training == 2


@pytest.mark.parametrize(
    ("kind", "other", "one", "two"),
    [
        (pa.int64(), pa.int8(), [1, 2], [2, 1]),
        (pa.int64(), pa.uint64(), [1, -1], [1, 2**64 - 1]),
        (pa.string(), pa.binary(), ["a", "b"], [b"a", b"c"]),
        (pa.timestamp("s"), pa.timestamp("ns"), [1, -5], [10**9, -5 * 10**9]),
        (pa.date32(), pa.date64(), [1, 2], [86_400_000, 3 * 86_400_000]),
        (pa.bool_(), pa.bool_(), [True, False], [False, True]),
        (pa.string(), pa.dictionary(pa.int32(), pa.string()), ["a", "b"], ["b", "z"]),
    ],
)
def test_keys_agree_by_value_whatever_their_type(tmp_path, kind, other, one, two):
    sides = []
    for name, type_, values in (("t", kind, one), ("s", other, two)):
        array = pa.array(values, type_)
        table = pa.table({"id": array, "x": pa.array(range(len(values)))})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        schema = pq.read_schema(tmp_path / f"{name}.parquet")
        sides.append(Side((str(tmp_path / f"{name}.parquet"),), schema, len(values)))
    expected = sum(
        same
        for a, b in itertools.product(range(2), range(2))
        for same in [_equal(pa.array([one[a]], kind), pa.array([two[b]], other))]
    )
    assert count(tmp_path, *sides).pairs == expected


def _equal(one, other):
    from penstock.drift.equality import same_values

    return bool(same_values(one, other, Tolerance(0, 0))[0])


@pytest.mark.parametrize(
    ("keys", "kinds", "sentence"),
    [
        ((), {}, "There are no key columns; name at least one"),
        (("no",), {}, "The key column 'no' is not in the training examples; they have id, day"),
        (("id", "id"), {}, "The key column 'id' is given twice"),
        (("x",), {}, "The key column 'x' is double in the training examples; a key is of whole"),
        (("tags",), {}, "The key column 'tags' is list"),
        (("id",), {"id": pa.string()}, "is int64 in the training examples and string in the serv"),
    ],
)
def test_columns_that_are_no_keys_are_refused(keys, kinds, sentence):
    with pytest.raises(PenstockError) as error:
        check_keys(keys, pa.schema(KINDS), pa.schema(KINDS | kinds))
    assert sentence in str(error.value)


def test_a_key_that_pairs_without_end_is_refused(tmp_path):
    sides = [side_of(tmp_path, name, [{"id": 7}] * 1100) for name in ("t", "s")]
    with pytest.raises(PenstockError) as error:
        count(tmp_path, *sides, duplicates="all")
    assert "The key id=7 makes 1,210,000 pairs, more than 1,000,000; add a key column" in str(
        error.value
    )


def test_an_unknown_rule_is_refused():
    keys = check_keys(["id"], pa.schema(KINDS), pa.schema(KINDS))
    with pytest.raises(PenstockError, match="no rule 'last' for duplicate keys; there are refuse"):
        KeySkew(keys, ("x",), duplicates="last")


def test_the_transform_is_a_part_of_other_pipelines(tmp_path):
    sides = [side_of(tmp_path, name, rows_of(20)) for name in ("t", "s")]
    keys = check_keys(["id"], sides[0].schema, sides[1].schema)
    with TestPipeline(options=pipeline_options()) as pipeline:
        counts = pipeline | SkewByKey(*sides, KeySkew(keys, ("x",)), tmp_path)
        told = counts | beam.Map(lambda c: (c.pairs, c.skewed_pairs, c.features["x"].match))
        assert_that(told, equal_to([(20, 0, 20)]))


def test_merging_counts_of_nothing_changes_nothing(tmp_path):
    sides = [side_of(tmp_path, n, rows_of(9, lambda n: {"x": -n * 1.0})) for n in ("t",)]
    sides.append(side_of(tmp_path, "s", rows_of(9)))
    found = count(tmp_path, *sides)
    empty = merge_counts([], 5)
    assert merge_counts([found, empty], 5) == merge_counts([empty, found], 5) == found


def test_counts_are_those_of_tfdvs_own_detector(tmp_path):
    import tensorflow as tf
    from tensorflow_data_validation.skew.feature_skew_detector import DetectFeatureSkewImpl

    # What both define alike: no empty lists, no NaN, no -0.0, and floats rounded beforehand.
    rows = [[{"id": n % 97, "day": f"w{n % 3}", "x": float(n % 5)} for n in range(90)]]
    rows.append(
        [
            {
                "id": n,
                "day": None if n % 4 == 0 else f"w{n % 3}",
                "x": float(n % 5) if n % 6 else 9.0,
            }
            for n in range(10, 120)
        ]
    )
    kinds = {name: KINDS[name] for name in ("id", "day", "x")}
    sides = [side_of(tmp_path, n, r, kinds) for n, r in zip("ts", rows, strict=True)]
    ours = count(tmp_path, *sides)

    def example(row):
        found = tf.train.Example()
        found.features.feature["id"].int64_list.value.append(row["id"])
        found.features.feature["x"].float_list.value.append(row["x"])
        if row["day"] is not None:
            found.features.feature["day"].bytes_list.value.append(row["day"].encode())
        return found

    told = []
    with TestPipeline(options=pipeline_options()) as pipeline:
        given_ = tuple(
            pipeline | name >> beam.Create([example(row) for row in side])
            for name, side in zip("ts", rows, strict=True)
        )
        found = given_ | DetectFeatureSkewImpl(["id"])
        words = found["skew_results"] | beam.Map(
            lambda r: (r.feature_name, r.match_count, r.mismatch_count, r.base_only, r.test_only)
        )
        told = [
            (name, c.match, c.mismatch, c.only_training, c.only_serving)
            for name, c in ours.features.items()
        ]
        assert_that(words, equal_to(told))
    assert ours.pairs == 80
    assert min(ours.features["day"].only_training, ours.features["x"].mismatch) > 10
