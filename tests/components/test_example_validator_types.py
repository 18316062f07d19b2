"""Every anomaly type that TFDV documents as detected, provoked by the least data that does it."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from penstock.components.example_validator.anomaly_types import ANOMALY_TYPES

from .conftest import write_examples
from .validating import validate

# TFDV's own documentation (docs/anomalies.md of tensorflow/data-validation 1.21) calls these "not
# detected", UNKNOWN_TYPE and MULTIPLE_REASONS stand for no anomaly, and CUSTOM_VALIDATION is for
# validations that a caller adds.
NOT_DETECTED = {
    "UNKNOWN_TYPE",
    "MULTIPLE_REASONS",
    "CUSTOM_VALIDATION",
    "BOOL_TYPE_BYTES_NOT_INT",
    "BOOL_TYPE_BYTES_NOT_STRING",
    "BOOL_TYPE_FLOAT_NOT_INT",
    "BOOL_TYPE_FLOAT_NOT_STRING",
    "BOOL_TYPE_INT_NOT_STRING",
    "BOOL_TYPE_STRING_NOT_INT",
    "ENUM_TYPE_BYTES_NOT_STRING",
    "ENUM_TYPE_FLOAT_NOT_STRING",
    "ENUM_TYPE_INT_NOT_STRING",
    "FEATURE_TYPE_NO_VALUES",
    "FEATURE_TYPE_UNEXPECTED_REPEATED",
    "FLOAT_TYPE_NOT_FLOAT",
    "FLOAT_TYPE_NON_STRING",
    "FLOAT_TYPE_UNKNOWN_TYPE_NUMBER",
    "INT_TYPE_INT_EXPECTED",
    "INT_TYPE_NOT_STRING",
    "INT_TYPE_STRING_EXPECTED",
    "INT_TYPE_UNKNOWN_TYPE_NUMBER",
    "SCHEMA_TRAINING_SERVING_SKEW",
    "STRING_TYPE_NOW_FLOAT",
    "STRING_TYPE_NOW_INT",
    "COMPARATOR_TREATMENT_DATA_MISSING",
    "NO_DATA_IN_SPAN",
    "NLP_WRONG_LOCATION",
    "EMBEDDING_SHAPE_INVALID",
}
# Documented as detected, but no code of TFDV emits it.
NOT_EMITTED = {"BOOL_TYPE_INVALID_CONFIG"}


@dataclass(frozen=True)
class Case:
    """Data that provokes a type in the feature x, and the rows that offend.

    Attributes:
        values: The column x.
        schema: What the schema says of x, without its name.
        rows: The numbers of the rows that are named; None where none can be.
        feature: What the anomaly is about.
        more: Other columns.
        extra: More of the schema.
        edit: Changes the statistics.
        previous: The column x of the previous span.
        serving: The column x of serving.
        options: TFDV's, for the statistics.
    """

    values: Any
    schema: str
    rows: list[int] | None = None
    feature: str | None = "x"
    more: dict[str, Any] = field(default_factory=dict)
    extra: str = ""
    edit: Any = None
    previous: Any = None
    serving: Any = None
    options: dict[str, Any] = field(default_factory=dict)


def lists(*values):
    return pa.array(values, pa.list_(pa.int64()))


def custom(name, **value):
    """Adds a custom statistic to x."""

    def edit(dataset):
        stat = dataset.features[0].custom_stats.add(name=name)
        if "pack" in value:
            stat.any.Pack(value["pack"])
        elif "str" in value:
            stat.str = value["str"]
        else:
            for label, count in value["ranks"].items():
                stat.rank_histogram.buckets.add(label=label, sample_count=count)

    return edit


def language(**constraint):
    """A language feature, whose token "yes" is in half of the sequences, 2 to 5 times each."""
    stats = statistics_pb2.NaturalLanguageStatistics(feature_coverage=0.3, avg_token_length=2.0)
    stats.token_statistics.add(
        string_token="yes",
        fraction_of_sequences=0.5,
        per_sequence_min_frequency=2,
        per_sequence_max_frequency=5,
    )
    (name, value), *_ = constraint.items()
    part = "coverage" if name.startswith("min_coverage") or "avg" in name else "token_constraints"
    token = "" if part == "coverage" else 'string_value: "yes" '
    return Case(
        ["a", "b"],
        f"type: BYTES natural_language_domain {{ {part} {{ {token}{name}: {value} }} }}",
        edit=custom("nl_statistics", pack=stats),
    )


def derived(dataset):
    dataset.features[0].validation_derived_source.deriver_name = "length"


def unnamed(dataset):
    dataset.features.add().CopyFrom(dataset.features[0])
    dataset.features[1].path.step[0] = ""


SPARSE = """
feature { name: "i" type: INT }
sparse_feature { name: "s" value_feature { name: "x" } index_feature { name: "i" } }
"""
WEIGHTED = """
feature { name: "i" type: INT }
weighted_feature { name: "s" feature { step: "x" } weight_feature { step: "i" } }
"""
ROWS_COMPARED = "dataset_constraints {{ num_examples_drift_comparator {{ {} }} }}"
INT_RANGE = "type: INT int_domain { min: 2 max: 5 }"
FLOAT_RANGE = "type: FLOAT float_domain { min: 2 max: 5 disallow_nan: true disallow_inf: true }"
NAN, INF = float("nan"), float("inf")
PNG = b"\x89PNG\r\n\x1a\n----"

CASES = {
    "DATASET_LOW_NUM_EXAMPLES": Case(
        [1, 2], "type: INT", None, None, extra="dataset_constraints { min_examples_count: 3 }"
    ),
    "DATASET_HIGH_NUM_EXAMPLES": Case(
        [1, 2],
        "type: INT",
        None,
        None,
        extra="dataset_constraints { min_examples_count: 0 max_examples_count: 1 }",
    ),
    "COMPARATOR_LOW_NUM_EXAMPLES": Case(
        [1],
        "type: INT",
        None,
        None,
        extra=ROWS_COMPARED.format("min_fraction_threshold: 0.9"),
        previous=[1, 1],
    ),
    "COMPARATOR_HIGH_NUM_EXAMPLES": Case(
        [1, 1],
        "type: INT",
        None,
        None,
        extra=ROWS_COMPARED.format("max_fraction_threshold: 1.5"),
        previous=[1],
    ),
    "SCHEMA_MISSING_COLUMN": Case(
        [1],
        "type: INT",
        None,
        "y",
        extra='feature { name: "y" type: INT presence { min_count: 1 } }',
    ),
    "SCHEMA_NEW_COLUMN": Case([1], "type: INT", None, "y", {"y": [1]}),
    "UNEXPECTED_DATA_TYPE": Case(["1", "one", "2", None], "type: INT", [1]),
    "INT_TYPE_NOT_INT_STRING": Case(
        ["1", "one", " -2 ", "2.0", "", None], "type: BYTES int_domain { }", [1, 3, 4]
    ),
    "FLOAT_TYPE_STRING_NOT_FLOAT": Case(
        ["1e3", "one", "nan", "-.5", "1_0", None], "type: BYTES float_domain { }", [1, 4]
    ),
    "ENUM_TYPE_INVALID_UTF8": Case(
        pa.array([b"a", b"\xff", None]), 'type: BYTES string_domain { value: "a" }', [1]
    ),
    "FEATURE_TYPE_NOT_PRESENT": Case(
        pa.array([None, None], pa.int64()), "type: INT presence { min_count: 1 }", [0, 1]
    ),
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": Case(
        [1, None, None, 4], "type: INT presence { min_fraction: 0.75 }", [1, 2]
    ),
    "FEATURE_TYPE_LOW_NUMBER_PRESENT": Case(
        [1, None, 3], "type: INT presence { min_count: 3 }", [1]
    ),
    "FEATURE_TYPE_LOW_NUMBER_VALUES": Case(
        lists([1, 2], [1], None, []), "type: INT value_count { min: 2 }", [1, 3]
    ),
    "FEATURE_TYPE_HIGH_NUMBER_VALUES": Case(
        lists([1, 2], [1], None, [1, 2, 3]), "type: INT value_count { max: 1 }", [0, 3]
    ),
    "INVALID_FEATURE_SHAPE": Case(
        lists([1, 2], [1], None, [3, 4]), "type: INT shape { dim { size: 2 } }", [1, 2]
    ),
    "VALUE_NESTEDNESS_MISMATCH": Case(
        pa.array([[[1]]], pa.list_(pa.list_(pa.int64()))), "type: INT value_count { min: 1 }"
    ),
    "INT_TYPE_SMALL_INT": Case([2, 1, 5, None], INT_RANGE, [1]),
    "INT_TYPE_BIG_INT": Case([2, 5, 6, None], INT_RANGE, [2]),
    "FLOAT_TYPE_SMALL_FLOAT": Case([2.0, 1.9, 5.0, NAN, None], FLOAT_RANGE, [1]),
    "FLOAT_TYPE_BIG_FLOAT": Case([2.0, 5.1, NAN, INF, None], FLOAT_RANGE, [1, 3]),
    "FLOAT_TYPE_HAS_NAN": Case([2.0, NAN, None], FLOAT_RANGE, [1]),
    "FLOAT_TYPE_HAS_INF": Case([2.0, -INF, None], FLOAT_RANGE, [1]),
    "BOOL_TYPE_SMALL_INT": Case([0, 1, -1, None], "type: INT bool_domain { }", [2]),
    "BOOL_TYPE_BIG_INT": Case([0, 1, 2, None], "type: INT bool_domain { }", [2]),
    "BOOL_TYPE_UNEXPECTED_FLOAT": Case([0.0, 1.0, 2.5, None], "type: FLOAT bool_domain { }", [2]),
    "BOOL_TYPE_UNEXPECTED_STRING": Case(
        ["y", "n", "m", None],
        'type: BYTES bool_domain { true_value: "y" false_value: "n" }',
        [2],
    ),
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": Case(
        ["a", "it's {b}", "c", None],
        'type: BYTES string_domain { value: "a" value: "it\'s {b}" }',
        [2],
    ),
    "FEATURE_TYPE_LOW_UNIQUE": Case(["a"], "type: BYTES unique_constraints { min: 2 max: 9 }"),
    "FEATURE_TYPE_HIGH_UNIQUE": Case(
        ["a", "b"], "type: BYTES unique_constraints { min: 1 max: 1 }"
    ),
    "FEATURE_TYPE_NO_UNIQUE": Case([1], "type: INT unique_constraints { min: 1 max: 9 }"),
    "COMPARATOR_L_INFTY_HIGH": Case(
        ["a"], "type: BYTES drift_comparator { infinity_norm { threshold: 0.1 } }", previous=["b"]
    ),
    "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH": Case(
        [1.0],
        "type: FLOAT skew_comparator { jensen_shannon_divergence { threshold: 0.1 } }",
        serving=[7.0],
    ),
    "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH": Case(
        ["a"],
        "type: BYTES drift_comparator { normalized_abs_difference { threshold: 0.1 } }",
        previous=["b"],
    ),
    "COMPARATOR_CONTROL_DATA_MISSING": Case(
        ["a"],
        "type: BYTES drift_comparator { infinity_norm { threshold: 0.1 } }",
        previous={"y": [1]},
    ),
    "SPARSE_FEATURE_MISSING_VALUE": Case(
        lists([1], None), "type: INT", [1], "s", {"i": lists([1], [1])}, SPARSE
    ),
    "SPARSE_FEATURE_MISSING_INDEX": Case(
        lists([1], [1]), "type: INT", [1], "s", {"i": lists([1], None)}, SPARSE
    ),
    "SPARSE_FEATURE_LENGTH_MISMATCH": Case(
        lists([1], [1, 2]), "type: INT", [1], "s", {"i": lists([1], [1])}, SPARSE
    ),
    "SPARSE_FEATURE_NAME_COLLISION": Case(
        lists([1]),
        "type: INT",
        None,
        "s",
        {"i": lists([1])},
        SPARSE + 'feature { name: "s" type: INT }',
    ),
    "WEIGHTED_FEATURE_MISSING_VALUE": Case(
        lists([1], None), "type: INT", [1], "s", {"i": lists([1], [1])}, WEIGHTED
    ),
    "WEIGHTED_FEATURE_MISSING_WEIGHT": Case(
        lists([1], [1]), "type: INT", [1], "s", {"i": lists([1], None)}, WEIGHTED
    ),
    "WEIGHTED_FEATURE_LENGTH_MISMATCH": Case(
        lists([1], [1, 2]), "type: INT", [1], "s", {"i": lists([1], [1])}, WEIGHTED
    ),
    "WEIGHTED_FEATURE_NAME_COLLISION": Case(
        lists([1]),
        "type: INT",
        None,
        "s",
        {"i": lists([1])},
        WEIGHTED + 'feature { name: "s" type: INT }',
    ),
    "LOW_SUPPORTED_IMAGE_FRACTION": Case(
        pa.array([PNG, b"text"]),
        "type: BYTES image_domain { minimum_supported_image_fraction: 0.9 }",
        edit=custom("image_format_histogram", ranks={"PNG": 1, "UNKNOWN": 1}),
    ),
    "MAX_IMAGE_BYTE_SIZE_EXCEEDED": Case(
        pa.array([PNG, b"text"]),
        "type: BYTES image_domain { max_image_byte_size: 4 }",
        [0],
        options={"enable_semantic_domain_stats": True},
    ),
    "FEATURE_COVERAGE_TOO_LOW": language(min_coverage=0.5),
    "FEATURE_COVERAGE_TOO_SHORT_AVG_TOKEN_LENGTH": language(min_avg_token_length=3),
    "SEQUENCE_VALUE_TOO_FEW_OCCURRENCES": language(min_per_sequence=3),
    "SEQUENCE_VALUE_TOO_MANY_OCCURRENCES": language(max_per_sequence=4),
    "SEQUENCE_VALUE_TOO_SMALL_FRACTION": language(min_fraction_of_sequences=0.6),
    "SEQUENCE_VALUE_TOO_LARGE_FRACTION": language(max_fraction_of_sequences=0.4),
    "STATS_NOT_AVAILABLE": Case(
        ["a"], "type: BYTES natural_language_domain { coverage { min_coverage: 0.5 } }"
    ),
    "SEMANTIC_DOMAIN_UPDATE": Case(
        ["a"], "type: BYTES", edit=custom("domain_info", str="mid_domain { }")
    ),
    "DOMAIN_INVALID_FOR_TYPE": Case(["a"], "type: BYTES struct_domain { }"),
    "FEATURE_MISSING_NAME": Case(
        [1], "type: INT", None, "", extra="feature { type: INT }", edit=unnamed
    ),
    "FEATURE_MISSING_TYPE": Case([1], ""),
    "INVALID_SCHEMA_SPECIFICATION": Case([1], "type: INT presence { min_fraction: 2 }"),
    "INVALID_DOMAIN_SPECIFICATION": Case(["a"], 'type: BYTES domain: "nowhere"'),
    "DERIVED_FEATURE_INVALID_SOURCE": Case([1], "type: INT", edit=derived),
    "DERIVED_FEATURE_BAD_LIFECYCLE": Case(
        [1],
        "type: INT lifecycle_stage: PRODUCTION "
        'validation_derived_source { deriver_name: "length" }',
        edit=derived,
    ),
}


def test_every_type_that_tfdv_detects_is_in_the_table_and_provoked_here():
    detected = set(anomalies_pb2.AnomalyInfo.Type.keys()) - NOT_DETECTED - NOT_EMITTED
    known = {name for name, kind in ANOMALY_TYPES.items() if kind.emitted_by == "tfdv"}
    assert known == detected == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_each_type_is_found_with_its_feature_severity_and_rows(tmp_path, kind):
    # Given: the least data that provokes it
    case = CASES[kind]
    table = pa.table({"x": case.values, **case.more})
    other = {}
    for name in ("previous", "serving"):
        values = getattr(case, name)
        if values is not None:
            columns = values if isinstance(values, dict) else {"x": values}
            other[name] = {"train": pa.table(columns)}
    # When
    done = validate(
        tmp_path,
        {"train": table},
        f'feature {{ name: "x" {case.schema} }} {case.extra}',
        write_examples=write_examples,
        edit=case.edit,
        options=case.options,
        **other,
    )
    # Then: the type is named, for the feature, and does what the table says
    anomaly = done.anomalies()[case.feature, kind]
    assert (anomaly["type"], anomaly["severity"]) == (kind, ANOMALY_TYPES[kind].severity)
    assert anomaly["outcome"] == ("warn" if kind == "SEMANTIC_DOMAIN_UPDATE" else "fail")
    assert anomaly["description"]
    # and the rows are named where the table says that they can be
    assert ANOMALY_TYPES[kind].rows == (case.rows is not None)
    if case.rows is None:
        assert anomaly["offending"] is None
        return
    assert anomaly["offending"] == len(case.rows)
    assert anomaly["share"] == len(case.rows) / len(table)
    kept = [row for row in done.rows("offending_rows.parquet") if row["rule"] == kind]
    assert [row["row"] for row in kept] == case.rows
    assert {(row["feature"], row["shard"]) for row in kept} == {
        (case.feature, "Split-train/part-00000.parquet")
    }
    for row in kept:
        wanted = table["x"][row["row"]].as_py()
        assert row["example"]["x"] == wanted or wanted != wanted
