"""Every anomaly type there is: what it means, what it does by default, whether rows can be named.

The names are those of TensorFlow Metadata's `AnomalyInfo.Type`; those that TFDV declares and never
emits are left out. `docs/validation.md` shows this table.
"""

from __future__ import annotations

from dataclasses import dataclass

SEVERITIES = ("ignore", "warn", "fail", "quarantine")


@dataclass(frozen=True)
class AnomalyType:
    """A kind of anomaly.

    Attributes:
        meaning: What is wrong, in words.
        severity: What it does when the policy says nothing: one of `SEVERITIES`.
        rows: Whether single rows break it, so that they can be named, counted and quarantined.
        emitted_by: `tfdv` or `penstock`.
    """

    meaning: str
    severity: str = "fail"
    rows: bool = False
    emitted_by: str = "tfdv"


def _rows(meaning: str) -> AnomalyType:
    return AnomalyType(meaning, rows=True)


def _ours(meaning: str, severity: str = "fail") -> AnomalyType:
    return AnomalyType(meaning, severity, emitted_by="penstock")


SPLIT_EMPTY = "SPLIT_EMPTY"
QUARANTINE_TOO_LARGE = "QUARANTINE_TOO_LARGE"
COMPARATOR_CANNOT_MEASURE = "COMPARATOR_CANNOT_MEASURE"
COMPARISON_INSUFFICIENT_ROWS = "COMPARISON_INSUFFICIENT_ROWS"
DRIFT_HIGH = "DRIFT_HIGH"
SKEW_HIGH = "SKEW_HIGH"

ANOMALY_TYPES: dict[str, AnomalyType] = {
    # The split as a whole.
    SPLIT_EMPTY: _ours("The split has no rows."),
    QUARANTINE_TOO_LARGE: _ours(
        "More of the split's rows would go to quarantine than max_quarantined_share, or all of "
        "them."
    ),
    "DATASET_LOW_NUM_EXAMPLES": AnomalyType(
        "The split has fewer rows than dataset_constraints.min_examples_count."
    ),
    "DATASET_HIGH_NUM_EXAMPLES": AnomalyType(
        "The split has more rows than dataset_constraints.max_examples_count, which TFDV looks at "
        "only where min_examples_count is given too."
    ),
    "COMPARATOR_LOW_NUM_EXAMPLES": AnomalyType(
        "The split shrank against the previous span by more than num_examples_drift_comparator "
        "allows."
    ),
    "COMPARATOR_HIGH_NUM_EXAMPLES": AnomalyType(
        "The split grew against the previous span by more than num_examples_drift_comparator "
        "allows."
    ),
    # Columns.
    "SCHEMA_MISSING_COLUMN": AnomalyType("A feature of the schema is not in the data."),
    "SCHEMA_NEW_COLUMN": AnomalyType(
        "A column of the data is not in the schema, or not in this environment of it."
    ),
    # Types.
    "UNEXPECTED_DATA_TYPE": _rows("The feature is of another type than the schema's."),
    "INT_TYPE_NOT_INT_STRING": _rows("Text that stands for integers holds text that does not."),
    "FLOAT_TYPE_STRING_NOT_FLOAT": _rows("Text that stands for numbers holds text that does not."),
    "ENUM_TYPE_INVALID_UTF8": _rows("Text is not UTF-8."),
    # Presence and valency.
    "FEATURE_TYPE_NOT_PRESENT": _rows("The feature has no value in any row."),
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": _rows(
        "The feature has values in a smaller share of the rows than presence.min_fraction."
    ),
    "FEATURE_TYPE_LOW_NUMBER_PRESENT": _rows(
        "The feature has values in fewer rows than presence.min_count."
    ),
    "FEATURE_TYPE_LOW_NUMBER_VALUES": _rows("A row has fewer values than value_count.min."),
    "FEATURE_TYPE_HIGH_NUMBER_VALUES": _rows("A row has more values than value_count.max."),
    "INVALID_FEATURE_SHAPE": _rows(
        "A row lacks the feature, or has another number of values than its fixed shape."
    ),
    "VALUE_NESTEDNESS_MISMATCH": AnomalyType(
        "Lists are nested more or less deeply than value_counts says."
    ),
    # Ranges and domains.
    "INT_TYPE_SMALL_INT": _rows("An integer is below int_domain.min."),
    "INT_TYPE_BIG_INT": _rows("An integer is above int_domain.max."),
    "FLOAT_TYPE_SMALL_FLOAT": _rows("A number is below float_domain.min."),
    "FLOAT_TYPE_BIG_FLOAT": _rows("A number is above float_domain.max."),
    "FLOAT_TYPE_HAS_NAN": _rows("A number is NaN where float_domain.disallow_nan is set."),
    "FLOAT_TYPE_HAS_INF": _rows("A number is infinite where float_domain.disallow_inf is set."),
    "BOOL_TYPE_SMALL_INT": _rows("An integer below 0 in a bool_domain."),
    "BOOL_TYPE_BIG_INT": _rows("An integer above 1 in a bool_domain."),
    "BOOL_TYPE_UNEXPECTED_FLOAT": _rows("A number other than 0 and 1 in a bool_domain."),
    "BOOL_TYPE_UNEXPECTED_STRING": _rows("Text other than bool_domain.true_value and false_value."),
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": _rows("A value is not in the feature's string domain."),
    "FEATURE_TYPE_LOW_UNIQUE": AnomalyType(
        "The feature has fewer distinct values than unique_constraints.min."
    ),
    "FEATURE_TYPE_HIGH_UNIQUE": AnomalyType(
        "The feature has more distinct values than unique_constraints.max."
    ),
    "FEATURE_TYPE_NO_UNIQUE": AnomalyType(
        "unique_constraints stand on a feature whose distinct values are not counted: it is "
        "neither text nor categorical."
    ),
    # Against other data.
    "COMPARATOR_L_INFTY_HIGH": AnomalyType(
        "The L-infinity distance to the previous span (drift_comparator) or to serving "
        "(skew_comparator) is above its threshold."
    ),
    "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH": AnomalyType(
        "The Jensen-Shannon divergence from the previous span or from serving is above its "
        "threshold."
    ),
    "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH": AnomalyType(
        "The normalized absolute difference from the previous span or from serving is above its "
        "threshold."
    ),
    "COMPARATOR_CONTROL_DATA_MISSING": AnomalyType(
        "The feature has a comparator, and the previous span or serving does not have the feature."
    ),
    COMPARATOR_CANNOT_MEASURE: _ours(
        "The feature has an L-infinity comparator and is numeric: TFDV measures 0 whatever the "
        "data."
    ),
    DRIFT_HIGH: _ours(
        "Against the previous span, a distance is above Penstock's threshold, on a feature without "
        "a drift_comparator.",
        "warn",
    ),
    SKEW_HIGH: _ours(
        "Against serving, a distance is above Penstock's threshold, on a feature without a "
        "skew_comparator.",
        "warn",
    ),
    COMPARISON_INSUFFICIENT_ROWS: _ours(
        "A side has too few rows for its distance to mean anything.", "warn"
    ),
    # Sparse and weighted features.
    "SPARSE_FEATURE_MISSING_VALUE": _rows("A row has indices of a sparse feature and no values."),
    "SPARSE_FEATURE_MISSING_INDEX": _rows("A row has values of a sparse feature and no indices."),
    "SPARSE_FEATURE_LENGTH_MISMATCH": _rows(
        "A row has another number of values of a sparse feature than of indices."
    ),
    "SPARSE_FEATURE_NAME_COLLISION": AnomalyType("A sparse feature has the name of a feature."),
    "WEIGHTED_FEATURE_MISSING_VALUE": _rows("A row has weights of a feature and no values."),
    "WEIGHTED_FEATURE_MISSING_WEIGHT": _rows("A row has values of a feature and no weights."),
    "WEIGHTED_FEATURE_LENGTH_MISMATCH": _rows(
        "A row has another number of values of a feature than of weights."
    ),
    "WEIGHTED_FEATURE_NAME_COLLISION": AnomalyType(
        "A weighted feature has the name of a feature or of a sparse feature."
    ),
    # Images and language; these need semantic statistics.
    "LOW_SUPPORTED_IMAGE_FRACTION": AnomalyType(
        "Fewer of the values are images than image_domain.minimum_supported_image_fraction."
    ),
    "MAX_IMAGE_BYTE_SIZE_EXCEEDED": _rows(
        "A value has more bytes than image_domain.max_image_byte_size."
    ),
    "FEATURE_COVERAGE_TOO_LOW": AnomalyType(
        "A smaller share of the tokens is in the vocabulary than coverage.min_coverage."
    ),
    "FEATURE_COVERAGE_TOO_SHORT_AVG_TOKEN_LENGTH": AnomalyType(
        "The tokens are shorter on average than coverage.min_avg_token_length."
    ),
    "SEQUENCE_VALUE_TOO_FEW_OCCURRENCES": AnomalyType(
        "A token occurs in some sequence fewer times than token_constraints.min_per_sequence."
    ),
    "SEQUENCE_VALUE_TOO_MANY_OCCURRENCES": AnomalyType(
        "A token occurs in some sequence more often than token_constraints.max_per_sequence."
    ),
    "SEQUENCE_VALUE_TOO_SMALL_FRACTION": AnomalyType(
        "A token occurs in a smaller share of the sequences than min_fraction_of_sequences."
    ),
    "SEQUENCE_VALUE_TOO_LARGE_FRACTION": AnomalyType(
        "A token occurs in a larger share of the sequences than max_fraction_of_sequences."
    ),
    "STATS_NOT_AVAILABLE": AnomalyType(
        "A constraint cannot be checked, as the statistics lack what it is about."
    ),
    "SEMANTIC_DOMAIN_UPDATE": AnomalyType(
        "The statistics recognise a semantic domain that the schema does not state: a proposal.",
        "warn",
    ),
    # The schema itself is wrong.
    "DOMAIN_INVALID_FOR_TYPE": AnomalyType(
        "The feature's domain does not fit its type, or the data's."
    ),
    "FEATURE_MISSING_NAME": AnomalyType("A feature of the schema has no name."),
    "FEATURE_MISSING_TYPE": AnomalyType("A feature of the schema has no type."),
    "INVALID_SCHEMA_SPECIFICATION": AnomalyType(
        "The schema contradicts itself, such as a min_fraction above 1."
    ),
    "INVALID_DOMAIN_SPECIFICATION": AnomalyType(
        "A domain is not defined, or has grown beyond what TFDV keeps as a domain."
    ),
    "DERIVED_FEATURE_BAD_LIFECYCLE": AnomalyType(
        "A derived feature has a lifecycle_stage other than VALIDATION_DERIVED or DISABLED."
    ),
    "DERIVED_FEATURE_INVALID_SOURCE": AnomalyType(
        "The statistics say that the feature is derived, and the schema does not."
    ),
}


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| type | meaning | default | rows named |", "|---|---|---|---|"]
    lines += [
        f"| `{name}`{'' if kind.emitted_by == 'tfdv' else ' *'} | {kind.meaning} | {kind.severity} "
        f"| {'yes' if kind.rows else ''} |"
        for name, kind in ANOMALY_TYPES.items()
    ]
    return "\n".join(lines) + "\n"
