"""Distributions from TFDV's statistics, without a second pass over the data.

A category's count is that of TFDV's rank histogram, which names the 1,000 most frequent unless
`num_rank_histogram_buckets` says otherwise. A number's curve goes through the edges of TFDV's
quantile and equal-width histograms, ten buckets each by default, and through its count of zeros.
Weights are left aside: what is compared are rows.
"""

from __future__ import annotations

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
    known = [part for part in (quantiles, standard) if part is not None]
    points, cumulative = _curve(known, n, stats) if known and n > 0 else (np.empty(0), np.empty(0))
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


def _curve(known: list[Array], n: float, stats: Any) -> tuple[Array, Array]:
    """Return the points of all histograms on one ascending curve that ends at n."""
    jumps: dict[float, tuple[float, float]] = {}
    for buckets in known:
        scale = n / buckets[:, 2].sum() if buckets[:, 2].sum() else 0.0
        reached = 0.0
        for low, high, count in buckets:
            start, reached = reached, reached + count * scale
            for value, share in ((low, start), (high, reached)):
                if math.isfinite(value):
                    least, most = jumps.get(value, (share, share))
                    jumps[value] = (min(least, share), max(most, share))
    # What the buckets only bound, the count of zeros says: a number that is mostly zero.
    if stats.num_zeros and 0.0 in jumps and stats.min == 0.0:
        jumps[0.0] = (jumps[0.0][0], float(stats.num_zeros))
    points = np.array(sorted(jumps))
    pairs = np.array([jumps[point] for point in points])
    return np.repeat(points, 2), np.maximum.accumulate(pairs.ravel())
