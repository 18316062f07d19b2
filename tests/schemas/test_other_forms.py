"""A schema as JSON Schema, as Arrow columns and as a table says what the schema says."""

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.data.declared import declared_types
from penstock.pipelines.flights.spans import label_flights, read_flights
from penstock.schemas import schema_text
from penstock.schemas.arrow import arrow_schema, write_parquet
from penstock.schemas.features import environments, is_in
from penstock.schemas.json_schema import json_schema
from penstock.schemas.table import feature_rows

ONE = "presence { min_fraction: 1 } shape { dim { size: 1 } }"
SCHEMA = f"""
default_environment: "TRAINING"
default_environment: "SERVING"
feature {{ name: "n" type: INT int_domain {{ min: 1 max: 9 }} {ONE} }}
feature {{ name: "f" type: FLOAT value_count {{ min: 1 max: 1 }} }}
feature {{ name: "w" type: BYTES domain: "d" {ONE} }}
feature {{ name: "t" type: BYTES domain: "d" value_count {{ min: 1 max: 1 }}
          distribution_constraints {{ min_domain_mass: 0.9 }} }}
feature {{ name: "l" type: INT value_count {{ min: 1 max: 2 }} }}
feature {{ name: "ll" type: FLOAT value_counts {{ value_count {{ min: 0 max: 2 }}
          value_count {{ min: 1 }} }} }}
feature {{ name: "s" type: STRUCT value_count {{ min: 1 max: 1 }} struct_domain {{
  feature {{ name: "a" type: INT {ONE} }} feature {{ name: "b" type: BYTES }} }} }}
feature {{ name: "y" type: INT bool_domain {{ }} {ONE} not_in_environment: "SERVING" }}
feature {{ name: "old" type: INT lifecycle_stage: DEPRECATED {ONE} }}
string_domain {{ name: "d" value: "a" value: "b" }}
"""
ROW = {"n": 1, "f": 0.5, "w": "a", "t": "z", "l": [1], "s": {"a": 1, "b": "x"}, "y": True}


def schema_of(text):
    return text_format.Parse(text, schema_pb2.Schema())


def test_a_row_that_the_schema_accepts_is_accepted():
    described = json_schema(schema_of(SCHEMA))
    jsonschema.Draft202012Validator.check_schema(described)
    jsonschema.validate(ROW | {"ll": [[0.5], [1, 2]], "old": "anything"}, described)
    jsonschema.validate({"n": 9, "w": "b", "y": 0, "f": None, "l": None}, described)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n": 10}, "maximum"),
        ({"n": 0}, "minimum"),
        ({"n": 1.5}, "integer"),
        ({"n": None}, "integer"),
        ({"w": "z"}, "enum"),
        ({"f": "x"}, "anyOf"),
        ({"l": []}, "minItems"),
        ({"l": [1, 2, 3]}, "maxItems"),
        ({"ll": [[]]}, "minItems"),
        ({"ll": [[1], [1], [1]]}, "maxItems"),
        ({"s": {"b": "x"}}, "required"),
        ({"s": {"a": 1, "c": 1}}, "additionalProperties"),
        ({"y": 2}, "enum"),
        ({"new": 1}, "additionalProperties"),
    ],
)
def test_a_row_that_the_schema_rejects_is_rejected(change, word):
    described = json_schema(schema_of(SCHEMA))
    with pytest.raises(jsonschema.ValidationError) as error:
        jsonschema.validate(ROW | change, described)
    assert error.value.validator == word or word in str(error.value)


def test_an_environment_decides_what_a_row_must_have():
    row = {name: value for name, value in ROW.items() if name != "y"}
    schema = schema_of(SCHEMA)
    jsonschema.validate(row, json_schema(schema, "SERVING"))
    with pytest.raises(jsonschema.ValidationError, match="'y' is a required property"):
        jsonschema.validate(row, json_schema(schema, "TRAINING"))


def test_flights_are_rows_of_their_schema():
    schema = schema_of(schema_text("flights"))
    described = json_schema(schema)
    checker = jsonschema.Draft202012Validator(described)
    flights = label_flights(read_flights()).slice(1000, 50)
    for row in flights.to_pylist():
        checker.validate(row)
    kinds = {field.name: field.type for field in arrow_schema(schema)}
    assert kinds == declared_types(schema)
    assert flights.cast(arrow_schema(schema)).num_rows == 50


def test_columns_are_of_the_types_and_depth_that_the_schema_says(tmp_path):
    schema = schema_of(SCHEMA)
    found = arrow_schema(schema)
    expected = pa.schema(
        [
            pa.field("n", pa.int64(), False),
            pa.field("f", pa.float64()),
            pa.field("w", pa.string(), False),
            pa.field("t", pa.string()),
            pa.field("l", pa.list_(pa.int64())),
            pa.field("ll", pa.list_(pa.list_(pa.float64()))),
            pa.field(
                "s", pa.struct([pa.field("a", pa.int64(), False), pa.field("b", pa.string())])
            ),
            pa.field("y", pa.int64(), False),
        ]
    )
    assert found.equals(expected)
    assert "y" not in arrow_schema(schema, "SERVING").names
    write_parquet(found, tmp_path / "s.parquet")
    assert pq.read_table(tmp_path / "s.parquet").num_rows == 0
    assert pq.read_schema(tmp_path / "s.parquet").equals(expected)


@pytest.mark.parametrize("text", ['feature { name: "x" }', 'feature { name: "x" type: STRUCT }'])
def test_what_has_no_type_is_null(text, tmp_path):
    found = arrow_schema(schema_of(text))
    assert found.field("x").type == pa.null()
    write_parquet(found, tmp_path / "s.parquet")


def test_the_table_says_it_in_words():
    rows = {row.feature: row for row in feature_rows(schema_of(SCHEMA))}
    assert list(rows) == ["n", "f", "w", "t", "l", "ll", "s", "s.a", "s.b", "y", "old"]
    assert (rows["n"].presence, rows["n"].values, rows["n"].domain) == ("required", "1", "1 to 9")
    assert (rows["w"].domain, rows["l"].values, rows["y"].domain) == ("a, b", "1 to 2", "0 or 1")
    assert (rows["y"].environments, rows["n"].environments) == ("TRAINING", "all")
    assert rows["old"].presence == "required (deprecated)"


def test_environments_follow_tfdvs_rule():
    schema = schema_of(
        'default_environment: "A" feature { name: "x" in_environment: "B" } '
        'feature { name: "y" not_in_environment: "A" } feature { name: "z" }'
    )
    assert environments(schema) == ["A", "B"]
    table = {f.name: [is_in(schema, f, e) for e in ("", "A", "B")] for f in schema.feature}
    assert table == {
        "x": [True, True, True],
        "y": [True, False, False],
        "z": [True, True, False],
    }
