"""Distributions from TFDV's statistics, without a second pass over the data.

A category's count is that of TFDV's rank histogram, which names the 1,000 most frequent unless
`num_rank_histogram_buckets` says otherwise. A number's curve goes through the edges of TFDV's
quantile and equal-width histograms, ten buckets each by default, and through its count of zeros.
Weights are left aside: what is compared are rows.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .distribution import Array, Distribution, Numeric, categorical

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

STANDARD, QUANTILES = 0, 1


def distributions_of_statistics(
    dataset: statistics_pb2.DatasetFeatureStatistics,
) -> dict[str, Distribution]:
    """Return the distribution of every feature of a dataset's statistics.

    Features of bytes and of structs have none and are left out.

    Returns:
        By the feature's path, its steps joined by dots.
    """
    found = {}
    for feature in dataset.features:
        distribution = distribution_of_feature(feature, dataset.num_examples)
        if distribution is not None:
            found[".".join(feature.path.step) or feature.name] = distribution
    return found


def distribution_of_feature(
    feature: statistics_pb2.FeatureNameStatistics, rows: int
) -> Distribution | None:
    """Return the distribution of a feature of statistics; None for bytes and structs.

    Args:
        feature: With `num_stats` or `string_stats`.
        rows: The number of rows that the statistics are of.
    """
    kind = feature.WhichOneof("stats")
    if kind not in ("num_stats", "string_stats"):
        return None
    stats = getattr(feature, kind)
    common = stats.common_stats
    missing = float(rows - common.num_non_missing)
    if kind == "string_stats":
        counts = {b.label: b.sample_count for b in stats.rank_histogram.buckets if b.sample_count}
        if not counts:
            counts = {top.value: top.frequency for top in stats.top_values}
        unlisted = max(common.tot_num_values - math.fsum(counts.values()), 0.0)
        return categorical(counts, unlisted, missing)
    return _numeric(stats, missing)


def _numeric(stats: Any, missing: float) -> Numeric:
    histograms = {h.type: h for h in stats.histograms}
    nan = max((float(h.num_nan) for h in histograms.values()), default=0.0)
    n = float(stats.common_stats.tot_num_values) - nan
    standard, quantiles = (_buckets(histograms.get(kind)) for kind in (STANDARD, QUANTILES))
    points, cumulative = np.empty(0), np.empty(0)
    if standard is not None and quantiles is not None and n > 0:
        points, cumulative = _curve(standard, quantiles, n, stats)
    mean, variance = float(stats.mean), float(stats.std_dev) ** 2
    if not math.isfinite(mean + variance):  # TFDV counts infinities in
        mean, variance = _moments(points, cumulative)
    return Numeric(
        points,
        cumulative,
        max(n, 0.0),
        mean,
        variance,
        missing,
        nan,
        float(cumulative[0]) if len(cumulative) else 0.0,
        standard,
        quantiles,
    )


def _moments(points: Array, cumulative: Array) -> tuple[float, float]:
    """Return mean and variance of the finite values, which lie evenly between the points."""
    if not len(points) or cumulative[-1] == cumulative[0]:
        return 0.0, 0.0
    weights = np.diff(cumulative) / (cumulative[-1] - cumulative[0])
    middles, widths = (points[1:] + points[:-1]) / 2, np.diff(points)
    mean = float(weights @ middles)
    return mean, float(weights @ ((middles - mean) ** 2 + widths**2 / 12))


def _buckets(histogram: Any) -> Array | None:
    if histogram is None or not histogram.buckets:
        return None
    return np.array([(b.low_value, b.high_value, b.sample_count) for b in histogram.buckets])


def _curve(standard: Array, quantiles: Array, n: float, stats: Any) -> tuple[Array, Array]:
    """Return the points of both histograms on one ascending curve that ends at n.

    TFDV's equal-width histogram says how many values there are up to the edge of a bucket. Its
    quantile histogram says which number a share of the values reaches: with whole numbers the share
    lies somewhere within those that are this number.
    """
    edges = quantiles[np.isfinite(quantiles[:, :2]).all(axis=1), :2]
    if len(edges) and edges.min() < edges.max() and np.array_equal(edges, np.floor(edges)):
        known = _of_whole_numbers(_reached(standard, n), _reached(quantiles, n))
        before_zero = -1.0
    else:
        known = _reached(standard, n) + _reached(quantiles, n)
        before_zero = 0.0
    # What the buckets only bound, the count of zeros says: a number that is often zero.
    if stats.num_zeros and stats.min == 0:
        known += [(before_zero, 0.0), (0.0, float(stats.num_zeros))]
    points, cumulative = np.array(sorted(known)).reshape(-1, 2).T
    return points, np.maximum.accumulate(cumulative)


def _reached(buckets: Array, n: float) -> list[tuple[float, float]]:
    """Return the finite edges with the number of values up to them, ends of buckets twice."""
    total = buckets[:, 2].sum()
    ends = np.cumsum(buckets[:, 2]) * (n / total if total else 0.0)
    starts = np.concatenate(([0.0], ends[:-1]))
    return [
        (float(edge), float(reached))
        for (low, high, _), start, end in zip(buckets, starts, ends, strict=True)
        for edge, reached in ((low, start), (high, end))
        if math.isfinite(edge)
    ]


def _of_whole_numbers(
    standard: list[tuple[float, float]], quantiles: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return the points of a curve of whole numbers, each spread over the unit below it.

    Up to an edge are the values up to the whole number below the edge. A share that a quantile
    reaches is taken to be reached in the middle of its number, or, where several do, between the
    number before and it.
    """
    start, none = standard[0]
    exact = {start - 1: none} | {float(math.floor(edge)): end for edge, end in standard[1::2]}
    known = list(exact.items())
    gaps = [(a, b) for a, b in itertools.pairwise(sorted(exact)) if b - a > 1]
    spans: dict[float, list[float]] = {}
    for number, reached in quantiles:
        spans.setdefault(number, []).append(reached)
    for number, span in spans.items():
        if any(before < number < after for before, after in gaps):
            low, high = min(span), max(span)
            known += [(number - 0.5, low)] if low == high else [(number - 1, low), (number, high)]
    return known
