"""Of two schemas one is made: what one says is taken, each contradiction is named and decided."""

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.errors import PenstockError
from penstock.schemas.merging import merge_schemas

FIRST = """
feature { name: "distance" type: INT int_domain { min: 1 max: 10 } presence { min_fraction: 1 } }
feature { name: "carrier" type: BYTES domain: "carrier" }
feature { name: "s" type: STRUCT struct_domain { feature { name: "a" type: INT } } }
string_domain { name: "carrier" value: "AA" value: "UA" }
"""
SECOND = """
default_environment: "SERVING"
feature { name: "carrier" type: BYTES domain: "carrier" presence { min_count: 1 } }
feature { name: "distance" type: INT int_domain { min: 0 max: 8 } presence { min_fraction: 0.5 } }
feature { name: "s" type: STRUCT struct_domain { feature { name: "a" type: FLOAT } } }
feature { name: "late" type: INT }
string_domain { name: "carrier" value: "AA" value: "B6" }
"""


def schema_of(text):
    return text_format.Parse(text, schema_pb2.Schema())


def merge(rule="", choices=None, first=FIRST, second=SECOND):
    return merge_schemas(schema_of(first), schema_of(second), rule, choices)


def test_contradictions_are_named_one_by_one():
    merged, conflicts = merge()
    assert [str(conflict) for conflict in conflicts] == [
        "distance.presence.min_fraction: 1.0 or 0.5",
        "distance.int_domain.min: 1 or 0",
        "distance.int_domain.max: 10 or 8",
        "s.a.type: INT or FLOAT",
        "domain carrier.value: also ['UA'] or also ['B6']",
    ]
    assert all(conflict.rule == "" for conflict in conflicts)
    assert [feature.name for feature in merged.feature] == ["distance", "carrier", "s", "late"]
    assert merged.feature[1].presence.min_count == 1
    assert list(merged.default_environment) == ["SERVING"]


@pytest.mark.parametrize(
    ("rule", "share", "bounds", "words"),
    [
        ("first", 1.0, (1, 10), ["AA", "UA"]),
        ("second", 0.5, (0, 8), ["AA", "B6"]),
        ("wider", 0.5, (0, 10), ["AA", "B6", "UA"]),
        ("narrower", 1.0, (1, 8), ["AA"]),
    ],
)
def test_a_rule_decides_what_it_can(rule, share, bounds, words):
    merged, conflicts = merge(rule)
    distance = merged.feature[0]
    assert distance.presence.min_fraction == share
    assert (distance.int_domain.min, distance.int_domain.max) == bounds
    assert list(merged.string_domain[0].value) == words
    undecided = [conflict.place for conflict in conflicts if not conflict.rule]
    assert undecided == ([] if rule in ("first", "second") else ["s.a.type"])


def test_a_choice_goes_before_the_rule():
    merged, conflicts = merge("first", {"s.a.type": "second", "distance.int_domain.max": "wider"})
    assert merged.feature[2].struct_domain.feature[0].type == schema_pb2.FLOAT
    assert merged.feature[0].int_domain.min == 1
    assert [conflict.rule for conflict in conflicts] == [
        "first",
        "first",
        "wider",
        "second",
        "first",
    ]


def test_kinds_of_domain_are_one_choice():
    first = 'feature { name: "x" type: INT int_domain { min: 1 } }'
    second = 'feature { name: "x" type: INT bool_domain { } }'
    merged, (conflict,) = merge("second", first=first, second=second)
    assert str(conflict) == "x.domain_info: int_domain min: 1 or bool_domain"
    assert merged == schema_of(second)
    merged, (conflict,) = merge("wider", first=first, second=second)
    assert (conflict.rule, merged) == ("", schema_of(first))


@pytest.mark.parametrize("rule", ["", "first", "second", "wider", "narrower"])
def test_a_schema_merged_with_itself_is_itself(rule):
    assert merge(rule, second=FIRST) == (schema_of(FIRST), [])


def test_what_both_sides_of_a_wider_merge_accept_it_accepts():
    merged, _ = merge("wider", {"s.a.type": "first"})
    again, conflicts = merge_schemas(schema_of(FIRST), merged, "wider")
    assert list(again.string_domain[0].value) == list(merged.string_domain[0].value)
    assert {conflict.rule for conflict in conflicts} <= {"wider"}


def test_unknown_rules_and_places_are_refused():
    with pytest.raises(PenstockError) as error:
        merge("theirs")
    assert str(error.value) == (
        "There is no rule 'theirs'; there are first, second, wider, narrower."
    )
    with pytest.raises(PenstockError) as error:
        merge("first", {"carrier.type": "second"}, second=FIRST)
    assert str(error.value) == (
        "The choice 'carrier.type' is of no contradiction between the schemas; there are none."
    )
