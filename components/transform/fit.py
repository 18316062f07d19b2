"""The state of each feature, from the statistics where they determine it, else from the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import statistics_pb2

from ...errors import PenstockError
from .counts import Counts
from .features import Bucketized, Categorical, Feature, Numeric

Float32s = np.ndarray[Any, np.dtype[np.float32]]

# What TFDV writes in place of values that it does not keep.
_NOT_VALUES = ("__BYTES_VALUE__", "__LARGE_BYTES__")


@dataclass(frozen=True)
class State:
    """What was fitted for one feature.

    Attributes:
        source: `statistics`, `data`, `base_model` when it was taken from there, or `declaration`
            when nothing had to be fitted.
        values: `Numeric`: `fill`, `shift`, `scale`. `Bucketized`: `boundaries`. `Categorical`:
            `vocabulary`. Others: nothing.
    """

    source: Literal["statistics", "data", "base_model", "declaration"]
    values: dict[str, Any] = field(default_factory=dict)


def fit_feature(
    name: str,
    feature: Feature,
    statistics: statistics_pb2.FeatureNameStatistics | None,
    counts: Counts,
) -> State:
    """Return the state of one feature.

    Args:
        name: The feature's name, for the sentences.
        feature: Its declaration.
        statistics: TFDV's statistics of its column; None when there are none.
        counts: Called with a column's name and what to count of its values, counts them in the
            training split; called only when the statistics do not suffice.

    Raises:
        PenstockError: The column has no values, or values that are infinite.
    """
    if isinstance(feature, Numeric):
        if feature.scale == "none" and feature.missing != "mean":
            return State(
                "declaration", {"fill": _float32(feature.missing), "shift": 0.0, "scale": 1.0}
            )
        return _fit_numeric(name, feature, _seen(name, feature.column, statistics))
    if isinstance(feature, Bucketized):
        if feature.boundaries is not None:
            return State("declaration", {"boundaries": list(map(float, feature.boundaries))})
        return _fit_buckets(name, feature, _seen(name, feature.column, statistics), counts)
    if isinstance(feature, Categorical):
        return _fit_vocabulary(name, feature, _seen(name, feature.column, statistics), counts)
    return State("declaration")


def exact_quantiles(column: str, counts: Counts, fractions: Sequence[float]) -> Any:
    """Return quantiles of a column as float32, by counting their bits: exact, in fixed memory.

    A float32's bits, with the sign made to sort, are a 32-bit key in the order of the numbers. The
    first pass counts the keys' upper halves, which says where each quantile lies; the second counts
    the lower halves there (a radix selection).

    Args:
        column: Which column; NaN and null are left out.
        counts: Counts what is asked of its values; called twice.
        fractions: Each in (0, 1].

    Returns:
        For each fraction q the smallest value x such that a share of at least q is <= x (numpy's
        `inverted_cdf`); float32.
    """
    upper = _histogram(counts(column, upper_halves), 1 << 16)
    ranks = np.ceil(np.asarray(fractions) * upper.sum()).astype(np.int64) - 1
    ends = np.cumsum(upper)
    at = np.searchsorted(ends, ranks, side="right")
    wanted = np.unique(at)
    found = _histogram(counts(column, LowerHalves(wanted)), len(wanted) << 16)
    lower = found.reshape(len(wanted), 1 << 16).cumsum(axis=1)
    within = ranks - (ends[at] - upper[at])
    keys = [
        (int(high) << 16) + int(np.searchsorted(lower[np.searchsorted(wanted, high)], r, "right"))
        for high, r in zip(at, within, strict=True)
    ]
    return _from_sort_keys(np.array(keys, np.uint32))


def upper_halves(values: pa.Array) -> pa.Array:
    """Return the upper half of each number's sorting key."""
    return pa.array(_sort_keys(_numbers(values)) >> 16)


@dataclass(frozen=True)
class LowerHalves:
    """Gives the lower half of the keys whose upper half is wanted, numbered by it.

    Attributes:
        wanted: The upper halves, increasing.
    """

    wanted: np.ndarray[Any, np.dtype[np.int64]]

    def __call__(self, values: pa.Array) -> pa.Array:
        """Return `place << 16 | lower half` for the values that are wanted."""
        keys = _sort_keys(_numbers(values))
        place = np.minimum(np.searchsorted(self.wanted, keys >> 16), len(self.wanted) - 1)
        here = self.wanted[place] == keys >> 16
        return pa.array((place[here] << 16) + (keys[here] & 0xFFFF))


def _histogram(counted: pa.Table, length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    found = np.zeros(length, np.int64)
    if len(counted):
        found[counted["value"].to_numpy()] = counted["n"].to_numpy()
    return found


def _seen(
    name: str, column: str, statistics: statistics_pb2.FeatureNameStatistics | None
) -> statistics_pb2.FeatureNameStatistics:
    """Return the statistics, after checking that the column has a value."""
    if statistics is None:
        raise PenstockError(
            f"FEATURES[{name!r}] is fitted to column {column!r}, of which the statistics know "
            "nothing; run statistics_gen on these examples."
        )
    numbers = statistics.num_stats
    common = statistics.string_stats.common_stats
    if statistics.HasField("num_stats"):
        common = numbers.common_stats
    not_a_number = max((h.num_nan for h in numbers.histograms), default=0)
    if common.num_non_missing - not_a_number <= 0:
        raise _empty(name, column)
    return statistics


def _empty(name: str, column: str) -> PenstockError:
    return PenstockError(
        f"FEATURES[{name!r}] is fitted to column {column!r}, which is missing in every training "
        "row; drop the feature, or look for what emptied the column."
    )


def _fit_numeric(
    name: str, feature: Numeric, statistics: statistics_pb2.FeatureNameStatistics
) -> State:
    seen = statistics.num_stats
    values = (seen.mean, seen.std_dev, seen.min, seen.max)
    if not all(map(math.isfinite, values)):
        raise PenstockError(
            f"FEATURES[{name!r}] is fitted to column {feature.column!r}, which holds infinite "
            "values in the training rows; replace them before example_gen."
        )
    shift, width = 0.0, 1.0
    if feature.scale == "z_score":
        shift, width = seen.mean, seen.std_dev
    elif feature.scale == "min_max":
        shift, width = seen.min, seen.max - seen.min
    fill = seen.mean if feature.missing == "mean" else feature.missing
    # A column that never varies has no unit to scale by; its sums may leave a tiny deviation.
    constant = feature.scale != "none" and (width <= 0 or seen.max <= seen.min)
    scale = 0.0 if constant else 1.0 / width
    # Float32 is what the model computes in; it also drops what the order of summing left.
    return State(
        "statistics",
        {"fill": _float32(fill), "shift": _float32(shift), "scale": _float32(scale)},
    )


def _fit_buckets(
    name: str, feature: Bucketized, statistics: statistics_pb2.FeatureNameStatistics, counts: Counts
) -> State:
    count = feature.num_buckets or 2
    histograms = [
        h
        for h in statistics.num_stats.histograms
        if h.type == statistics_pb2.Histogram.QUANTILES and len(h.buckets) % count == 0
    ]
    if histograms and len(histograms[0].buckets):
        step = len(histograms[0].buckets) // count
        cuts = [b.low_value for b in histograms[0].buckets][step::step]
        source: Literal["statistics", "data"] = "statistics"
    else:
        fractions = [i / count for i in range(1, count)]
        cuts = exact_quantiles(feature.column, counts, fractions).tolist()
        source = "data"
    boundaries = sorted({_float32(cut) for cut in cuts if math.isfinite(cut)})
    if not boundaries:
        raise PenstockError(
            f"FEATURES[{name!r}] finds no finite quantile in column {feature.column!r}; put finite "
            "values in place of infinite ones before example_gen."
        )
    return State(source, {"boundaries": boundaries})


def _fit_vocabulary(
    name: str,
    feature: Categorical,
    statistics: statistics_pb2.FeatureNameStatistics,
    counts: Counts,
) -> State:
    source: Literal["statistics", "data"] = "statistics"
    vocabulary: list[Any] | None = None
    if statistics.type == statistics_pb2.FeatureNameStatistics.STRING:
        vocabulary = _vocabulary_from_statistics(statistics, feature.max_tokens)
    if vocabulary is None:
        source = "data"
        vocabulary = most_frequent(counts(feature.column, categories), feature.max_tokens)
    if not vocabulary:
        raise _empty(name, feature.column)
    return State(source, {"vocabulary": vocabulary})


def _vocabulary_from_statistics(
    statistics: statistics_pb2.FeatureNameStatistics, max_tokens: int
) -> list[str] | None:
    """Return the vocabulary when the rank histogram holds all of it, else None.

    The histogram keeps TFDV's most frequent 1,000 values. It determines a vocabulary when these are
    all there are, or when the cut at `max_tokens` lies above its least frequent value, whose equals
    may have been left out.
    """
    buckets = statistics.string_stats.rank_histogram.buckets
    counts = {bucket.label: bucket.sample_count for bucket in buckets}
    if not counts or any(token in counts for token in _NOT_VALUES):
        return None
    complete = statistics.string_stats.unique <= len(counts)
    counts.pop("", None)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    least = min(counts.values(), default=0.0)
    if complete or (len(ranked) >= max_tokens and counts[ranked[max_tokens - 1]] > least):
        return ranked[:max_tokens]
    return None


def categories(values: pa.Array) -> pa.Array:
    """Return values as they are categories: booleans 0 and 1, bytes text."""
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int64())
    return values.cast(pa.string()) if pa.types.is_binary(values.type) else values


def most_frequent(counted: pa.Table, max_tokens: int) -> list[Any]:
    """Return the most frequent values, equally frequent ones in their own order.

    Args:
        counted: `value` and `n`.
        max_tokens: How many at most; the empty string is none of them.
    """
    order = [("n", "descending"), ("value", "ascending")]
    ranked = counted["value"].take(pc.sort_indices(counted, sort_keys=order)[: max_tokens + 1])
    return [value for value in ranked.to_pylist() if value != ""][:max_tokens]


def _numbers(batch: pa.Array) -> Float32s:
    values: Float32s = batch.drop_null().cast(pa.float32(), safe=False).to_numpy()
    return values[~np.isnan(values)]


def _float32(value: float | str) -> float:
    return float(np.float32(value))


def _sort_keys(values: Float32s) -> np.ndarray[Any, np.dtype[np.int64]]:
    # Adding zero makes -0.0 and 0.0 one value.
    bits = (values + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | 0x80000000).astype(np.int64)


def _from_sort_keys(keys: np.ndarray[Any, np.dtype[np.uint32]]) -> Float32s:
    return np.where(keys >> 31, keys & 0x7FFFFFFF, ~keys).astype(np.uint32).view(np.float32)
