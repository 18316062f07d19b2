"""A schema that contradicts itself, or that can never have an effect, is named before data come."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.schemas import schema_text
from penstock.schemas.lint import check_schema

SERVED = 'default_environment: "TRAINING" default_environment: "SERVING" '


def schema_of(text):
    return text_format.Parse(text, schema_pb2.Schema())


def rules(text, *labels):
    return [finding.rule for finding in check_schema(schema_of(text), labels)]


def test_the_flights_schema_is_clean():
    assert check_schema(schema_of(schema_text("flights")), ["late"]) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('feature { name: "x" type: INT } feature { name: "x" type: INT }', "duplicate-feature"),
        (
            'feature { name: "s" type: STRUCT struct_domain { feature { name: "x" type: INT } '
            'feature { name: "x" type: INT } } }',
            "duplicate-feature",
        ),
        ("feature { type: INT }", "no-name"),
        ('feature { name: "x" }', "no-type"),
        ('feature { name: "x" type: BYTES domain: "d" }', "undefined-domain"),
        ('feature { name: "x" type: INT } string_domain { name: "d" value: "a" }', "unused-domain"),
        (
            'feature { name: "x" type: BYTES domain: "d" } string_domain { name: "d" value: "a" } '
            'string_domain { name: "d" value: "b" }',
            "duplicate-domain",
        ),
        ('feature { name: "x" type: BYTES string_domain { } }', "empty-domain"),
        (
            'feature { name: "x" type: BYTES string_domain { value: "a" value: "a" } }',
            "duplicate-word",
        ),
        ('feature { name: "x" type: INT float_domain { } }', "domain-of-another-type"),
        (
            'feature { name: "x" type: INT domain: "d" } string_domain { name: "d" value: "a" }',
            "domain-of-another-type",
        ),
        ('feature { name: "x" type: FLOAT int_domain { } }', "domain-of-another-type"),
        (
            'feature { name: "x" type: BYTES bool_domain { true_value: "a" false_value: "a" } }',
            "one-boolean",
        ),
        (
            'feature { name: "x" type: FLOAT float_domain { is_categorical: true } }',
            "categorical-float",
        ),
        ('feature { name: "x" type: INT int_domain { min: 2 max: 1 } }', "min-above-max"),
        ('feature { name: "x" type: INT int_domain { min: 2 max: 0 } }', "min-above-max"),
        ('feature { name: "x" type: FLOAT float_domain { min: 0.5 max: 0.2 } }', "min-above-max"),
        (
            'feature { name: "x" type: FLOAT float_domain { min: nan } }',
            "bound-not-a-number",
        ),
        ('feature { name: "x" type: INT value_count { min: 2 max: 1 } }', "min-above-max"),
        (
            'feature { name: "x" type: INT value_counts { value_count { min: 2 max: 1 } } }',
            "min-above-max",
        ),
        ('feature { name: "x" type: INT value_count { min: -1 } }', "count-out-of-range"),
        ('feature { name: "x" type: INT shape { dim { size: 0 } } }', "shape-out-of-range"),
        ('feature { name: "x" type: INT presence { min_fraction: 1.1 } }', "share-out-of-range"),
        ('feature { name: "x" type: INT presence { min_count: -1 } }', "presence-out-of-range"),
        (
            'feature { name: "x" type: BYTES distribution_constraints { min_domain_mass: 2 } }',
            "share-out-of-range",
        ),
        (
            'feature { name: "x" type: INT } '
            "dataset_constraints { min_examples_count: 9 max_examples_count: 3 }",
            "min-above-max",
        ),
        (
            'feature { name: "x" type: INT not_in_environment: "SERVING" }',
            "unreachable-environment",
        ),
        (
            SERVED + 'feature { name: "x" type: INT not_in_environment: "TRAINING" '
            'not_in_environment: "SERVING" }',
            "unreachable-feature",
        ),
        (
            SERVED + 'feature { name: "x" type: INT in_environment: "SERVING" '
            'not_in_environment: "SERVING" }',
            "environment-contradiction",
        ),
        (
            'feature { name: "x" type: INT in_environment: "SERVING" } '
            'feature { name: "y" type: INT }',
            "environment-of-few",
        ),
        ('feature { name: "x" type: INT drift_comparator { } }', "empty-comparator"),
        (
            'feature { name: "x" type: INT skew_comparator { infinity_norm { threshold: 0.1 } } }',
            "l-infinity-on-numbers",
        ),
        (
            'feature { name: "x" type: FLOAT '
            "drift_comparator { normalized_abs_difference { threshold: 0.1 } } }",
            "comparator-of-another-type",
        ),
        (
            'feature { name: "x" type: STRUCT '
            "drift_comparator { jensen_shannon_divergence { threshold: 0.1 } } }",
            "comparator-of-another-type",
        ),
        (
            'feature { name: "x" type: BYTES drift_comparator { infinity_norm { } } }',
            "no-threshold",
        ),
        (
            'feature { name: "x" type: BYTES drift_comparator { infinity_norm { threshold: 1 } } }',
            "threshold-out-of-range",
        ),
        ('feature { name: "x" type: FLOAT unique_constraints { min: 1 } }', "unique-of-numbers"),
        (
            'feature { name: "x" type: INT } sparse_feature { name: "s" '
            'index_feature { name: "i" } value_feature { name: "x" } }',
            "undefined-feature",
        ),
        (
            'feature { name: "x" type: INT } weighted_feature { name: "w" '
            'feature { step: "x" } weight_feature { step: "y" } }',
            "undefined-feature",
        ),
    ],
)
def test_what_is_wrong_is_named_and_nothing_else(text, rule):
    assert rules(text) == [rule]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SERVED + 'feature { name: "y" type: INT }', ["label-in-serving"]),
        (SERVED + 'feature { name: "y" type: INT not_in_environment: "SERVING" }', []),
        ('feature { name: "y" type: INT }', ["no-serving-environment"]),
        (SERVED + 'feature { name: "x" type: INT }', ["no-label"]),
    ],
)
def test_a_label_that_serving_rows_must_have_is_named(text, found):
    assert rules(text, "y") == found


def test_errors_come_before_warnings_and_say_how_to_mend():
    text = 'feature { name: "a" } feature { name: "b" type: BYTES domain: "d" }'
    first, second = check_schema(schema_of(text))
    assert str(first) == (
        "error: b: The domain 'd' is not defined; add string_domain { name: \"d\" ... }, or take "
        "the reference out. [undefined-domain]"
    )
    assert (second.severity, second.rule) == ("warning", "no-type")


@pytest.mark.parametrize("measure", ["infinity_norm", "normalized_abs_difference"])
@pytest.mark.parametrize(
    ("column", "domain", "measured"),
    [
        ("INT", "", False),
        ("FLOAT", "", False),
        ("BYTES", "", True),
        ("INT", "int_domain { is_categorical: true }", True),
        ("INT", "bool_domain { }", True),
        ("BYTES", "image_domain { }", False),
    ],
)
def test_a_comparator_is_an_error_exactly_where_tfdv_measures_nothing(
    measure, column, domain, measured
):
    text = (
        f'feature {{ name: "x" type: {column} {domain} '
        f"drift_comparator {{ {measure} {{ threshold: 0.01 }} }} }}"
    )
    schema = schema_of(text)
    make = {"INT": int, "FLOAT": float, "BYTES": lambda n: f"w{n:.0f}"}[column]
    options = tfdv.StatsOptions(schema=schema)
    old, new = (
        tfdv.generate_statistics_from_dataframe(
            pd.DataFrame({"x": [make(n) for n in np.repeat(values, 50)]}), options
        )
        for values in ([0.0, 1.0], [7.0, 8.0])
    )
    anomalies = tfdv.validate_statistics(new, schema, previous_statistics=old)
    distances = [m.value for i in anomalies.drift_skew_info for m in i.drift_measurements]
    assert (distances[0] > 0) == measured
    assert (rules(text) == []) == measured
