"""The rows that offend: named, counted, sampled, tolerated, put aside."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.components.example_gen.executor import generate_examples
from penstock.components.example_validator.cleaning import clean_examples
from penstock.components.example_validator.row_rules import rules_of_schema
from penstock.components.example_validator.rows import count_offending, open_split, sample_offending
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError

from .conftest import write_examples
from .validating import validate

SCHEMA = """
feature {
  name: "n" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } }
  int_domain { min: 0 max: 9 }
}
feature {
  name: "f" type: FLOAT
  float_domain { min: 0.1 max: 2.5 disallow_nan: true disallow_inf: true }
}
feature { name: "s" type: BYTES string_domain { value: "a" value: "b'" value: "" } }
feature { name: "l" type: INT value_count { min: 1 max: 2 } int_domain { max: 3 } }
"""


def oracle(row):
    """What a row breaks, value by value, as TFDV's documentation says."""
    n, f, s, values = row["n"], row["f"], row["s"], row["l"]
    broken = set()
    if n is None:
        broken |= {("FEATURE_TYPE_LOW_FRACTION_PRESENT", "n"), ("INVALID_FEATURE_SHAPE", "n")}
    elif n < 0:
        broken.add(("INT_TYPE_SMALL_INT", "n"))
    elif n > 9:
        broken.add(("INT_TYPE_BIG_INT", "n"))
    if f is not None and math.isnan(f):
        broken.add(("FLOAT_TYPE_HAS_NAN", "f"))
    elif f is not None:
        if math.isinf(f):
            broken.add(("FLOAT_TYPE_HAS_INF", "f"))
        with np.errstate(over="ignore"):
            if np.float32(f) < np.float32(0.1):
                broken.add(("FLOAT_TYPE_SMALL_FLOAT", "f"))
            if np.float32(f) > np.float32(2.5):
                broken.add(("FLOAT_TYPE_BIG_FLOAT", "f"))
    if s is not None and s not in ("a", "b'", ""):
        broken.add(("ENUM_TYPE_UNEXPECTED_STRING_VALUES", "s"))
    if values is not None:
        if not values:
            broken.add(("FEATURE_TYPE_LOW_NUMBER_VALUES", "l"))
        if len(values) > 2:
            broken.add(("FEATURE_TYPE_HIGH_NUMBER_VALUES", "l"))
        if any(value is not None and value > 3 for value in values):
            broken.add(("INT_TYPE_BIG_INT", "l"))
    return broken


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | st.integers(-2, 11),
            "f": st.none()
            | st.floats(-1e30, 1e30)
            | st.sampled_from([0.1, 2.5, math.nan, -math.inf]),
            "s": st.none() | st.sampled_from(["a", "b'", "b", "", "\u00e9", "{v}"]),
            "l": st.none() | st.lists(st.integers(0, 5), max_size=3),
        }
    ),
    min_size=1,
    max_size=20,
)
COLUMNS = pa.schema(
    {"n": pa.int64(), "f": pa.float64(), "s": pa.string(), "l": pa.list_(pa.int64())}
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS)
def test_the_rows_found_are_those_of_a_loop_over_all_values(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    write_examples(folder / "examples", {"all": table}, shards=2)
    schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
    expected = [oracle(row) for row in rows]
    with open_split(folder / "examples", "all", folder / "spill") as split:
        rules = rules_of_schema(schema, split.columns)
        counts = count_offending(split, rules)
        first = round(len(rows) / 2)
        samples = sample_offending(split, rules, counts, 100)
        for rule, count, sample in zip(rules, counts, samples, strict=True):
            # The two that only TFDV decides on name the same rows as the presence rule.
            if rule.name in ("FEATURE_TYPE_LOW_NUMBER_PRESENT", "FEATURE_TYPE_NOT_PRESENT"):
                continue
            wanted = [i for i, broken in enumerate(expected) if (rule.name, rule.feature) in broken]
            assert count == len(wanted)
            places = [
                row["row"] + (first if row["shard"].endswith("part-00001.parquet") else 0)
                for row in sample.to_pylist()
            ]
            assert places == wanted
    named = {(rule.name, rule.feature) for rule in rules}
    assert set().union(*expected) <= named


def table(**columns):
    return pa.table(columns)


WORDS = 'feature { name: "x" type: BYTES string_domain { value: "a" } }'


def test_what_the_statistics_have_no_room_for_is_found_in_the_rows(tmp_path):
    # Given: a histogram of ten words, and eleven in the data
    words = ["a"] * 11 + [word for word in "bcdefghijk" for _ in range(10)] + ["z"]
    schema = WORDS.replace('value: "a"', " ".join(f'value: "{w}"' for w in "abcdefghijk"))
    done = validate(
        tmp_path,
        {"train": table(x=words)},
        schema,
        write_examples=write_examples,
        options={"num_rank_histogram_buckets": 10},
    )
    anomaly = done.anomalies()["x", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"]
    assert anomaly["description"] == (
        "1 row has a value that is not in the domain, which the statistics do not show."
    )
    assert anomaly["examples"] == [
        {
            "place": "Split-train/part-00000.parquet, row 111",
            "file": None,
            "line": None,
            "shard": "Split-train/part-00000.parquet",
            "row": 111,
            "value": "z",
        }
    ]
    assert anomaly["outcome"] == "fail"


@pytest.mark.parametrize(
    ("tolerate", "outcome", "verdict"), [(0.25, "tolerated", "pass"), (0.24, "fail", "fail")]
)
def test_a_share_of_offending_rows_is_tolerated_and_no_more(tmp_path, tolerate, outcome, verdict):
    done = validate(
        tmp_path,
        {"train": table(x=["a", "b", "a", "a"])},
        WORDS,
        f"overrides: [{{features: [x], tolerate: {tolerate}}}]",
        write_examples=write_examples,
    )
    anomaly = done.anomalies()["x", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"]
    assert (anomaly["outcome"], anomaly["share"], anomaly["tolerate"]) == (outcome, 0.25, tolerate)
    assert done.verdict["verdict"] == verdict
    if verdict == "pass":
        assert done.metadata["summary"] == "1 feature, 1 tolerated in train"


def test_the_schema_s_own_share_of_missing_rows_is_no_anomaly(tmp_path):
    schema = 'feature { name: "x" type: INT presence { min_fraction: 0.75 } }'
    done = validate(
        tmp_path, {"train": table(x=[1, None, 3, 4])}, schema, write_examples=write_examples
    )
    assert done.anomalies() == {}


def test_the_first_rows_are_kept_and_all_are_counted(tmp_path):
    done = validate(
        tmp_path,
        {"train": table(x=["b"] * 30)},
        WORDS,
        "sample_rows: 7",
        write_examples=write_examples,
        shards=10,
    )
    assert done.anomalies()["x", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"]["offending"] == 30
    kept = done.rows("offending_rows.parquet")
    assert [(row["shard"][-13:-8], row["row"]) for row in kept] == [
        ("00000", 0),
        ("00000", 1),
        ("00000", 2),
        ("00001", 0),
        ("00001", 1),
        ("00001", 2),
        ("00002", 0),
    ]


QUARANTINE = """
severities: {ENUM_TYPE_UNEXPECTED_STRING_VALUES: quarantine}
max_quarantined_share: 0.5
row_rules:
  - {name: small, sql: y < 8 -- and not more, severity: quarantine}
"""
MIXED = table(x=["a", "b", "a", "c", "a", "a"], y=[1, 2, 3, 9, 5, 9])


@pytest.fixture
def quarantined(tmp_path):
    return validate(
        tmp_path,
        {"train": MIXED, "eval": table(x=["a"], y=[1])},
        WORDS + 'feature { name: "y" type: INT }',
        QUARANTINE,
        write_examples=write_examples,
        shards=2,
    )


def test_rows_in_quarantine_are_put_aside_with_the_rules_they_broke(quarantined):
    assert quarantined.sentence is None
    assert quarantined.verdict["verdict"] == "quarantine"
    assert quarantined.metadata["quarantined"] == 3
    assert quarantined.metadata["summary"] == (
        "2 features, 2 anomalies (quarantined) in train: small, x, "
        "first at Split-train/part-00001.parquet, row 0, "
        "3 of 6 rows quarantined from train; no anomalies in eval"
    )
    rows = quarantined.rows("quarantined_rows.parquet")
    assert [(row["rules"], row["shard"][-9], row["row"], row["example"]) for row in rows] == [
        (["x: ENUM_TYPE_UNEXPECTED_STRING_VALUES"], "0", 1, {"x": "b", "y": 2}),
        (["x: ENUM_TYPE_UNEXPECTED_STRING_VALUES", "small"], "1", 0, {"x": "c", "y": 9}),
        (["small"], "1", 2, {"x": "a", "y": 9}),
    ]


def test_cleaned_examples_hold_the_other_rows_in_their_order(quarantined, tmp_path):
    cleaned = tmp_path / "cleaned"
    assert read_table(cleaned, "train").to_pylist() == [
        {"x": "a", "y": 1},
        {"x": "a", "y": 3},
        {"x": "a", "y": 5},
    ]
    manifest = read_manifest(cleaned)
    assert (manifest.rows("train"), manifest.rows("eval")) == (3, 1)
    # The split that lost nothing is the same file.
    files = [
        folder / "Split-eval" / "part-00000.parquet" for folder in (cleaned, tmp_path / "examples")
    ]
    assert files[0].stat().st_ino == files[1].stat().st_ino


def test_cleaned_examples_without_quarantine_are_the_examples(tmp_path):
    splits = {"train": table(x=["a"]), "eval": table(x=["a"])}
    done = validate(tmp_path, splits, WORDS, write_examples=write_examples)
    assert done.sentence is None
    assert read_manifest(tmp_path / "cleaned") == read_manifest(tmp_path / "examples")
    assert read_table(tmp_path / "cleaned", "eval").to_pylist() == [{"x": "a"}]


def test_the_digest_and_accounts_are_those_of_data_without_the_rows(tmp_path):
    # Given: examples of 300 rows, some of which go to quarantine
    (tmp_path / "all.csv").write_text("n,w\n" + "".join(f"{n},w{n % 7}\n" for n in range(300)))
    generate_examples(tmp_path / "examples", str(tmp_path / "all.csv"))
    aside = {}
    for split in ("train", "eval"):
        rows = read_table(tmp_path / "examples", split)
        bad = [i for i, w in enumerate(rows["w"].to_pylist()) if w == "w3"]
        aside[split] = tmp_path / f"{split}.parquet"
        places = [f"Split-{split}/part-00000.parquet"] * len(bad)
        pq.write_table(pa.table({"shard": places, "row": bad}), aside[split])
    # When
    cleaned = clean_examples(tmp_path / "examples", tmp_path / "cleaned", aside)
    # Then: example_gen of the data without them says the same
    kept = "".join(f"{n},w{n % 7}\n" for n in range(300) if n % 7 != 3)
    (tmp_path / "kept.csv").write_text("n,w\n" + kept)
    generate_examples(tmp_path / "expected", str(tmp_path / "kept.csv"))
    expected = read_manifest(tmp_path / "expected")
    assert read_manifest(tmp_path / "cleaned") == cleaned
    assert cleaned.content_digest == expected.content_digest
    assert cleaned.schema_digest == expected.schema_digest
    assert {s: cleaned.rows(s) for s in cleaned.splits} == {
        s: expected.rows(s) for s in expected.splits
    }
    lost = len([n for n in range(300) if n % 7 == 3])
    assert cleaned.accounts == {"in": 300, "out": 300 - lost, "quarantined": lost, "filtered": 0}


def test_rows_far_down_a_shard_are_left_out_too(tmp_path):
    # Given: more rows than are read at once
    write_examples(tmp_path / "examples", {"all": table(x=np.arange(140_000))})
    gone = [0, 131_071, 131_072, 139_999]
    places = ["Split-all/part-00000.parquet"] * len(gone)
    pq.write_table(pa.table({"shard": places, "row": gone}), tmp_path / "aside.parquet")
    # When
    clean_examples(tmp_path / "examples", tmp_path / "cleaned", {"all": tmp_path / "aside.parquet"})
    # Then
    left = read_table(tmp_path / "cleaned", "all")["x"].to_numpy()
    assert list(np.setdiff1d(np.arange(140_000), left)) == gone
    assert list(left) == sorted(left)


@pytest.mark.parametrize(("share", "words"), [(0.3, "abab"), (1, "bbbb")])
def test_too_much_quarantine_and_all_of_it_fail(tmp_path, share, words):
    done = validate(
        tmp_path,
        {"train": table(x=list(words))},
        WORDS,
        "severities: {ENUM_TYPE_UNEXPECTED_STRING_VALUES: quarantine}\n"
        f"max_quarantined_share: {share}",
        write_examples=write_examples,
    )
    assert done.anomalies()[None, "QUARANTINE_TOO_LARGE"]["outcome"] == "fail"
    assert f"max_quarantined_share is {share:g}" in done.sentence
    assert not (tmp_path / "cleaned").exists()


def test_quarantine_fails_where_no_row_can_be_named(tmp_path):
    done = validate(
        tmp_path,
        {"train": table(x=["a"], new=[1])},
        WORDS,
        "overrides: [{features: ['*'], severity: quarantine}]",
        write_examples=write_examples,
    )
    assert done.anomalies()["new", "SCHEMA_NEW_COLUMN"]["outcome"] == "fail"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("Fare", "fare"), "The examples have the columns 'Fare' and 'fare', which SQL does not"),
        (("file_index", "fare"), "The examples have a column 'file_index', the name of a row's"),
    ],
)
def test_columns_that_sql_cannot_tell_apart_are_refused(tmp_path, names, sentence):
    write_examples(tmp_path, {"all": pa.table([[1], [2]], names=list(names))})
    with pytest.raises(PenstockError, match=sentence):
        open_split(tmp_path, "all", tmp_path / "spill").__enter__()


def test_a_feature_without_any_value_is_told_once(tmp_path):
    schema = """feature {
      name: "x" type: INT presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } }
    }"""
    done = validate(
        tmp_path,
        {"train": table(x=pa.nulls(2), y=[1, 2])},
        schema + 'feature { name: "y" type: INT }',
        write_examples=write_examples,
    )
    assert list(done.anomalies()) == [("x", "FEATURE_TYPE_NOT_PRESENT")]


def test_missing_times_are_named_too(tmp_path):
    times = pa.array([0, None], pa.timestamp("us"))
    schema = 'feature { name: "t" type: INT presence { min_fraction: 1 } }'
    done = validate(tmp_path, {"train": table(t=times)}, schema, write_examples=write_examples)
    (anomaly,) = done.anomalies().values()
    assert [each["row"] for each in anomaly["examples"]] == [1]


def test_nothing_but_the_output_is_left(quarantined, tmp_path):
    assert sorted(file.name for file in (tmp_path / "anomalies").iterdir()) == [
        "Split-eval",
        "Split-train",
        "validation.html",
        "verdict.json",
    ]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    json.loads((tmp_path / "anomalies" / "verdict.json").read_text())
