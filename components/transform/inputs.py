"""What the author's declarations read: columns of the examples, schema and statistics."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from ...data.examples import Manifest
from ...data.statistics import read_statistics
from ...errors import PenstockError
from ...models.transform_graph import Kind
from .features import (
    Bucketized,
    Categorical,
    Crossed,
    Feature,
    Hashed,
    Numeric,
    is_tensor_name,
)

# Numbers reach the model as float32, which holds every whole number up to here.
LARGEST_CATEGORY = 2**24

_KINDS: dict[int, Kind] = {
    schema_pb2.BYTES: "string",
    schema_pb2.INT: "integer",
    schema_pb2.FLOAT: "float",
}


def split_statistics(
    path: str | os.PathLike[str], split: str, rows: int
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Read the statistics of `split` by column.

    Args:
        path: The Statistics artifact's folder.
        split: Which split.
        rows: How many rows the split has; statistics of a sample count fewer.

    Raises:
        PenstockError: There are none for this split, they are unreadable, or they count more rows
            than the split has.
    """
    (dataset,) = read_statistics(path, split).datasets
    counted = dataset.num_examples
    if counted > rows:
        raise PenstockError(
            f"The statistics at {path} count {counted} rows in split {split!r}, the examples have "
            f"{rows}; give transform the statistics of the same examples."
        )
    return {f.path.step[0]: f for f in dataset.features if len(f.path.step) == 1}


def check_columns(
    features: Mapping[str, Feature], manifest: Manifest, schema: schema_pb2.Schema
) -> dict[str, Kind]:
    """Return the kind of each raw column that the features read, sorted by name.

    Args:
        features: The author's declarations.
        manifest: The examples' manifest, which says what columns they have.
        schema: The schema, which says of what type a column is.

    Raises:
        PenstockError: A column is in neither or only one of them, has a name that no SavedModel
            can take, is not a single value per row, is not there when serving, or is of a type that
            its declaration cannot read.
    """
    types = {column.name: column.type for column in manifest.columns}
    declared = {feature.name: feature for feature in schema.feature}
    kinds: dict[str, Kind] = {}
    for name, feature in features.items():
        for column in feature.columns:
            who = f"FEATURES[{name!r}] reads column {column!r}"
            if column not in types:
                raise PenstockError(
                    f"{who}, which the examples do not have; they have {_names(types)}."
                )
            if column not in declared:
                raise PenstockError(
                    f"{who}, which the schema does not have; it has {_names(declared)}."
                )
            if not is_tensor_name(column):
                raise PenstockError(
                    f"{who}, which cannot name an input of a SavedModel; rename it in the data to "
                    "letters, digits and underscores, with a letter first."
                )
            kinds[column] = _kind(who, declared[column], types[column])
            _check_reads(who, feature, kinds[column])
    return dict(sorted(kinds.items()))


def check_categories(
    features: Mapping[str, Feature],
    kinds: Mapping[str, Kind],
    statistics: Mapping[str, statistics_pb2.FeatureNameStatistics],
) -> None:
    """Refuse integer categories that float32 cannot tell apart.

    Raises:
        PenstockError: An integer column used as a category has a value beyond +-2^24.
    """
    for name, feature in features.items():
        if isinstance(feature, (Numeric, Bucketized)):
            continue
        for column in feature.columns:
            if kinds[column] != "integer" or column not in statistics:
                continue
            seen = statistics[column].num_stats
            largest = max(abs(seen.min), abs(seen.max))
            if math.isfinite(largest) and largest > LARGEST_CATEGORY:
                raise PenstockError(
                    f"FEATURES[{name!r}] takes the integers in column {column!r} as categories, "
                    f"and there are values up to {largest:.0f}; beyond {LARGEST_CATEGORY} they "
                    "cannot be told apart as float32, so make it a string column."
                )


def _kind(who: str, declared: schema_pb2.Feature, arrow: str) -> Kind:
    if declared.type not in _KINDS:
        raise PenstockError(
            f"{who}, whose type in the schema is {schema_pb2.FeatureType.Name(declared.type)}; "
            "a feature reads BYTES, INT or FLOAT."
        )
    kind = _KINDS[declared.type]
    found = _arrow_kind(arrow)
    if found is None:
        raise PenstockError(
            f"{who}, whose values are {arrow}; a feature reads one string, number or boolean per "
            "row."
        )
    if (kind == "string") != (found == "string") and arrow != "null":
        raise PenstockError(
            f"{who}, which is {schema_pb2.FeatureType.Name(declared.type)} in the schema and "
            f"{arrow} in the examples; correct the one that is wrong."
        )
    if "SERVING" in declared.not_in_environment:
        raise PenstockError(
            f"{who}, which the schema says is not there when serving (not_in_environment "
            '"SERVING"), as a label is; a feature must be known then.'
        )
    return kind


def _arrow_kind(arrow: str) -> Kind | None:
    if arrow in ("string", "large_string", "binary", "large_binary"):
        return "string"
    if arrow.startswith(("int", "uint")) or arrow == "bool":
        return "integer"
    if arrow in ("float", "double", "halffloat", "null"):
        return "float"
    return None


def _check_reads(who: str, feature: Feature, kind: Kind) -> None:
    declaration = type(feature).__name__
    if isinstance(feature, (Numeric, Bucketized)) and kind == "string":
        raise PenstockError(
            f"{who} as {declaration}, and it holds strings; use Categorical or Hashed."
        )
    if isinstance(feature, (Categorical, Hashed, Crossed)) and kind == "float":
        raise PenstockError(
            f"{who} as {declaration}, and it holds fractions; use Numeric or Bucketized."
        )


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"
