"""Drift against the previous span and skew against serving."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from .validating import statistics_of, validate

SCHEMA = """
feature { name: "fare" type: FLOAT }
feature { name: "kind" type: BYTES }
feature { name: "late" type: INT }
"""
COMPARED = """
feature {
  name: "fare" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 0.01 } }
}
feature { name: "kind" type: BYTES skew_comparator { infinity_norm { threshold: 0.01 } } }
feature { name: "late" type: INT }
"""


def trips(seed, rows=4000, fare=10.0, kinds=(0.5, 0.5)):
    draw = np.random.default_rng(seed)
    return pa.table(
        {
            "fare": draw.normal(fare, 2, rows),
            "kind": draw.choice(["day", "night"], rows, p=kinds),
            "late": draw.integers(0, 2, rows),
        }
    )


def test_data_like_the_previous_span_and_like_serving_pass(tmp_path):
    done = validate(
        tmp_path,
        {"train": trips(0)},
        SCHEMA,
        previous={"train": trips(1)},
        serving={"serving": trips(2)},
    )
    assert done.verdict["verdict"] == "pass"
    measured = done.verdict["splits"]["train"]["comparisons"]
    assert {(m["against"], m["feature"]) for m in measured} == {
        (side, feature)
        for side in ("previous span", "serving")
        for feature in ("fare", "kind", "late")
    }
    assert {m["verdict"] for m in measured} == {"OK"}


def test_what_moved_warns_and_the_sentence_says_by_how_much(tmp_path):
    moved = trips(0, fare=13.0, kinds=(0.2, 0.8))
    done = validate(tmp_path, {"train": moved}, SCHEMA, previous={"train": trips(1)})
    found = done.anomalies()
    assert set(found) == {("fare", "DRIFT_HIGH"), ("kind", "DRIFT_HIGH")}
    assert {anomaly["outcome"] for anomaly in found.values()} == {"warn"}
    assert found["kind", "DRIFT_HIGH"]["description"].startswith(
        "Against the previous span, kind: "
    )
    assert "night from" in found["kind", "DRIFT_HIGH"]["description"]
    assert done.metadata["verdict"] == "warn"
    assert "fare, kind" in done.metadata["summary"]


def test_the_policy_makes_skew_fail(tmp_path):
    policy = "severities: {SKEW_HIGH: fail}"
    serving = {"serving": trips(1, fare=13.0)}
    done = validate(tmp_path, {"train": trips(0)}, SCHEMA, policy, serving=serving)
    assert "feature 'fare': Against serving, fare: " in done.sentence
    assert "[SKEW_HIGH]" in done.sentence


def test_comparators_of_the_schema_are_tfdv_s_numbers_and_thresholds(tmp_path):
    current, previous, serving = trips(0), trips(1, fare=11.0), trips(2, kinds=(0.4, 0.6))
    done = validate(
        tmp_path,
        {"train": current},
        COMPARED,
        previous={"train": previous},
        serving={"train": serving},
    )
    expected = tfdv.validate_statistics(
        statistics_of(current),
        text_format.Parse(COMPARED, schema_pb2.Schema()),
        previous_statistics=statistics_of(previous),
        serving_statistics=statistics_of(serving),
    )
    numbers = {
        info.path.step[0]: [*info.drift_measurements, *info.skew_measurements][0].value
        for info in expected.drift_skew_info
    }
    measured = {
        (m["feature"], m["against"]): m for m in done.verdict["splits"]["train"]["comparisons"]
    }
    assert measured["fare", "previous span"]["value"] == numbers["fare"] > 0.01
    assert measured["kind", "serving"]["value"] == numbers["kind"] > 0.01
    assert measured["fare", "previous span"]["measure"] == "jensen_shannon_divergence"
    found = done.anomalies()
    assert found["fare", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"]["outcome"] == "fail"
    assert found["kind", "COMPARATOR_L_INFTY_HIGH"]["outcome"] == "fail"
    # Against the other side, each is Penstock's to measure.
    assert measured["kind", "previous span"]["verdict"] == "OK"


@pytest.mark.parametrize(
    ("schema", "rows", "words"),
    [
        (SCHEMA, 0, "There are no rows of the previous span to compare with."),
        (SCHEMA, 999, "a side are needed"),
        (
            COMPARED.replace("0.01", "0.5"),
            999,
            "fare: 4,000 and 999 rows are too few for its drift",
        ),
    ],
)
def test_too_few_rows_are_never_fine(tmp_path, schema, rows, words):
    previous = {"train": trips(1, rows)}
    policy = "" if schema == SCHEMA else "drift_rules: []"
    done = validate(tmp_path, {"train": trips(0)}, schema, policy, previous=previous)
    assert list(done.anomalies()) == [(None, "COMPARISON_INSUFFICIENT_ROWS")]
    assert words in done.anomalies()[None, "COMPARISON_INSUFFICIENT_ROWS"]["description"]
    assert done.metadata["verdict"] == "warn"


def test_an_l_infinity_comparator_of_a_number_fails_as_tfdv_measures_zero(tmp_path):
    schema = SCHEMA.replace("FLOAT", "FLOAT drift_comparator { infinity_norm { threshold: 0.1 } }")
    done = validate(tmp_path, {"train": trips(0, fare=99.0)}, schema, previous={"train": trips(1)})
    (measured,) = [
        m
        for m in done.verdict["splits"]["train"]["comparisons"]
        if m["measure"] == "l_infinity" and m["feature"] == "fare"
    ]
    assert measured["value"] == 0
    assert done.anomalies()["fare", "COMPARATOR_CANNOT_MEASURE"]["outcome"] == "fail"


def test_a_comparator_without_its_other_side_is_noted(tmp_path):
    done = validate(tmp_path, {"train": trips(0)}, COMPARED)
    drift, skew = done.verdict["notes"][:2]
    assert drift == (
        "The schema has a drift_comparator for fare; without previous statistics it was not "
        "checked."
    )
    assert skew.startswith("The schema has a skew_comparator for kind; without serving")


def test_serving_need_not_have_every_feature_but_a_lost_column_is_drift(tmp_path):
    less = trips(1).drop(["late"])
    done = validate(
        tmp_path, {"train": trips(0)}, SCHEMA, previous={"train": less}, serving={"train": less}
    )
    assert list(done.anomalies()) == [("late", "DRIFT_HIGH")]


def test_a_rule_for_a_feature_with_a_comparator_is_refused(tmp_path):
    policy = "drift_rules: [{measure: psi, features: fare}]"
    done = validate(tmp_path, {"train": trips(0)}, COMPARED, policy, previous={"train": trips(1)})
    assert done.sentence == (
        "The feature 'fare' has a drift_comparator in the schema and a rule for psi among the "
        "policy's drift_rules; keep one of them."
    )


def test_an_empty_list_of_rules_compares_nothing(tmp_path):
    far = {"train": trips(1, fare=99.0)}
    done = validate(tmp_path, {"train": trips(0)}, SCHEMA, "drift_rules: []", previous=far)
    assert done.verdict["verdict"] == "pass"
    assert done.verdict["splits"]["train"]["comparisons"] == []
