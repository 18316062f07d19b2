"""Exact counts of distinct values by Arrow, told in TFDV's words.

TFDV's own exact generator passes every distinct value of every batch through Beam as a Python
tuple. Here a feature's counts are one Arrow table, merged by a hash aggregation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_data_validation import types
from tensorflow_data_validation.arrow import arrow_util
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_data_validation.utils import (
    schema_util,
    stats_util,
    top_k_uniques_stats_util,
)
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.arrow import array_util

Counts = dict[types.FeaturePath, pa.Table]


def count_values(batch: pa.RecordBatch, options: StatsOptions) -> Counts:
    """Return how often each value of the string and categorical features occurs.

    Args:
        batch: A list of values per cell.
        options: Its schema says which strings are bytes, which are not counted, and which integers
            are categories, which are; its weight column adds a sum of weights.

    Returns:
        Per feature a table of `value`, `count` and, with a weight column, `weight`.
    """
    counts: Counts = {}
    weight_map = options.example_weight_map
    kinds = _kinds(options)
    for path, array, weights in arrow_util.enumerate_arrays(
        batch, example_weight_map=weight_map, enumerate_leaves_only=True
    ):
        if not kinds.are_counted(path, array):
            continue
        values, parents = array_util.flatten_nested(array, weights is not None)
        if not len(values) - values.null_count:
            continue
        if weights is None:
            counted = values.value_counts()
            table = pa.table({"value": counted.field("values"), "count": counted.field("counts")})
        else:
            ones = np.ones(len(values), np.int64)
            rows = pa.table({"value": values, "count": ones, "weight": weights[parents]})
            table = _sum(rows)
        counts[path] = table.filter(pc.is_valid(table["value"]))
    return counts


def merge_counts(parts: list[Counts]) -> Counts:
    """Return the counts of all parts together."""
    tables: dict[types.FeaturePath, list[pa.Table]] = {}
    for part in parts:
        for path, table in part.items():
            tables.setdefault(path, []).append(table)
    return {
        path: found[0] if len(found) == 1 else _sum(pa.concat_tables(found))
        for path, found in tables.items()
    }


def top_values(counts: Counts, options: StatsOptions) -> statistics_pb2.DatasetFeatureStatistics:
    """Return top values, rank histogram and number of distinct values of every feature."""
    result = statistics_pb2.DatasetFeatureStatistics()
    for path, table in counts.items():
        most = _most(table, "count", options)
        weighted = _most(table, "weight", options) if "weight" in table.column_names else None
        result.features.append(
            top_k_uniques_stats_util.make_feature_stats_proto_topk_uniques(
                path,
                options.num_top_values,
                options.num_rank_histogram_buckets,
                len(table),
                most,
                weighted,
                options.frequency_threshold,
                options.weighted_frequency_threshold,
            )
        )
    return result


@dataclass(frozen=True)
class _Kinds:
    """What a schema says of features: which strings are bytes, which numbers categories."""

    bytes_features: frozenset[types.FeaturePath]
    categories: Mapping[types.FeaturePath, Any]

    def are_counted(self, path: types.FeaturePath, array: pa.Array) -> bool:
        """Return whether the values of a feature are counted one by one."""
        kind = stats_util.get_feature_type_from_arrow_type(path, array.type)
        if kind == statistics_pb2.FeatureNameStatistics.STRING:
            return path not in self.bytes_features
        # A categorical float is an error to TFDV's exact generator too: it is left out.
        return (
            kind == statistics_pb2.FeatureNameStatistics.INT
            and path not in self.bytes_features
            and top_k_uniques_stats_util.output_categorical_numeric(self.categories, path, kind)
        )


def _kinds(options: StatsOptions) -> _Kinds:
    if options.schema is None:
        return _Kinds(frozenset(), {})
    return _Kinds(
        frozenset(schema_util.get_bytes_features(options.schema)),
        schema_util.get_categorical_numeric_feature_types(options.schema),
    )


def _sum(rows: pa.Table) -> pa.Table:
    names = [name for name in rows.column_names if name != "value"]
    summed = rows.combine_chunks().group_by("value").aggregate([(name, "sum") for name in names])
    return pa.table(
        {"value": summed["value"]} | {name: summed[f"{name}_sum"] for name in names}
    ).combine_chunks()


def _most(
    table: pa.Table, by: str, options: StatsOptions
) -> list[top_k_uniques_stats_util.FeatureValueCount]:
    """Return the values that occur most, ties by the greater value as in TFDV."""
    wanted = max(options.num_top_values, options.num_rank_histogram_buckets)
    order = pc.sort_indices(table, sort_keys=[(by, "descending"), ("value", "descending")])
    first = table.take(order[:wanted])
    return [
        top_k_uniques_stats_util.FeatureValueCount(value, count)
        for value, count in zip(first["value"].to_pylist(), first[by].to_pylist(), strict=True)
    ]
