"""Rows that offend by what lies in their structs: found, counted, named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.components.example_validator.row_rules import rules_of_schema
from penstock.components.example_validator.rows import count_offending, open_split, sample_offending

from .conftest import write_examples
from .validating import validate

FIELDS = """
struct_domain {
  feature {
    name: "miles" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } }
    int_domain { min: 0 max: 9 }
  }
  feature { name: "fares" type: FLOAT value_count { min: 1 max: 2 } float_domain { max: 5 } }
  feature {
    name: "cab" type: STRUCT struct_domain {
      feature { name: "o'maker" type: BYTES string_domain { value: "a" value: "b" } }
    }
  }
}
"""
SCHEMA = f"""
feature {{ name: "trip" type: STRUCT {FIELDS} }}
feature {{ name: "stops" type: STRUCT value_count {{ min: 0 max: 3 }} {FIELDS} }}
"""
CAB = pa.struct({"o'maker": pa.string()})
TRIP = pa.struct({"miles": pa.int64(), "fares": pa.list_(pa.float32()), "cab": CAB})
COLUMNS = pa.schema({"trip": TRIP, "stops": pa.list_(TRIP)})
TRIPS = st.none() | st.fixed_dictionaries(
    {
        "miles": st.none() | st.integers(-2, 11),
        "fares": st.none() | st.lists(st.sampled_from([1.0, 5.0, 5.5]), max_size=3),
        "cab": st.none() | st.fixed_dictionaries({"o'maker": st.sampled_from([None, "a", "c"])}),
    }
)


def broken(trip):
    """What a struct breaks, field by field."""
    if trip is None:
        return
    miles, fares = trip["miles"], trip["fares"]
    if miles is None:
        yield from (
            ("FEATURE_TYPE_LOW_FRACTION_PRESENT", "miles"),
            ("INVALID_FEATURE_SHAPE", "miles"),
        )
    elif not 0 <= miles <= 9:
        yield "INT_TYPE_SMALL_INT" if miles < 0 else "INT_TYPE_BIG_INT", "miles"
    if fares is not None and not 1 <= len(fares) <= 2:
        yield f"FEATURE_TYPE_{'HIGH' if fares else 'LOW'}_NUMBER_VALUES", "fares"
    if any(fare > 5 for fare in fares or ()):
        yield "FLOAT_TYPE_BIG_FLOAT", "fares"
    if (trip["cab"] or {"o'maker": None})["o'maker"] == "c":
        yield "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "cab.o'maker"


def oracle(row):
    """What a row breaks."""
    found = {(rule, f"trip.{path}") for rule, path in broken(row["trip"])}
    for stop in row["stops"] or ():
        found |= {(rule, f"stops.{path}") for rule, path in broken(stop)}
    if len(row["stops"] or ()) > 3:
        found.add(("FEATURE_TYPE_HIGH_NUMBER_VALUES", "stops"))
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.fixed_dictionaries({"trip": TRIPS, "stops": st.none() | st.lists(TRIPS, max_size=4)}),
        min_size=1,
        max_size=12,
    )
)
def test_the_rows_found_are_those_of_a_loop_over_all_structs(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    write_examples(folder / "examples", {"all": pa.Table.from_pylist(rows, schema=COLUMNS)})
    schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
    expected = [oracle(row) for row in rows]
    with open_split(folder / "examples", "all", folder / "spill") as split:
        rules = rules_of_schema(schema, split.columns)
        counts = count_offending(split, rules)
        samples = sample_offending(split, rules, counts, 100)
    for rule, count, sample in zip(rules, counts, samples, strict=True):
        # The two that only TFDV decides on name the same rows as the presence rule.
        if rule.name in ("FEATURE_TYPE_LOW_NUMBER_PRESENT", "FEATURE_TYPE_NOT_PRESENT"):
            continue
        wanted = [i for i, found in enumerate(expected) if (rule.name, rule.feature) in found]
        assert (count, sample["row"].to_pylist()) == (len(wanted), wanted)
    assert set().union(*expected) <= {(rule.name, rule.feature) for rule in rules}


@pytest.mark.parametrize("listed", [False, True])
def test_what_tfdv_says_of_a_field_names_the_rows_and_their_values(tmp_path, listed):
    # Given: a mile too many in the second row, and none in the fourth
    miles = [1, 12, 3, None, 5]
    trips = [{"miles": m, "fares": [1.0], "cab": {"o'maker": "a"}} for m in miles]
    name = "stops" if listed else "trip"
    values = [[trips[0], trip] for trip in trips] if listed else trips
    table = pa.table({name: pa.array(values, COLUMNS.field(name).type)})
    schema = f'feature {{ name: "{name}" type: STRUCT {FIELDS} }}'
    # When
    done = validate(tmp_path, {"train": table}, schema, write_examples=write_examples)
    # Then
    found = done.anomalies()
    big, missing = (f"{name}.miles", "INT_TYPE_BIG_INT"), (f"{name}.miles", "INVALID_FEATURE_SHAPE")
    assert {big, missing} <= set(found)
    assert "which the statistics do not show" not in found[big]["description"]
    (first,) = found[big]["examples"]
    assert (first["row"], first["value"]) == (1, "[1, 12]" if listed else "12")
    assert [each["row"] for each in found[missing]["examples"]] == [3]
    assert f"feature '{name}.miles'" in done.sentence


def test_rows_are_put_aside_by_a_field(tmp_path):
    makers = ["a", "c", None, "b", "d"]
    trips = [{"miles": 1, "fares": None, "cab": {"o'maker": m}} for m in makers]
    table = pa.table({"trip": pa.array(trips, TRIP)})
    schema = f'feature {{ name: "trip" type: STRUCT {FIELDS} }}'
    policy = (
        "severities: {ENUM_TYPE_UNEXPECTED_STRING_VALUES: quarantine}\nmax_quarantined_share: 1"
    )
    done = validate(tmp_path, {"train": table}, schema, policy, write_examples=write_examples)
    assert done.sentence is None
    rows = done.rows("quarantined_rows.parquet")
    assert [row["row"] for row in rows] == [1, 4]
    assert rows[0]["rules"] == ["trip.cab.o'maker: ENUM_TYPE_UNEXPECTED_STRING_VALUES"]
    kept = pq.read_table(tmp_path / "cleaned" / "Split-train" / "part-00000.parquet")
    assert [row["cab"]["o'maker"] for row in kept["trip"].to_pylist()] == ["a", None, "b"]
