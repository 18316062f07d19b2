"""TFDV's own Jensen-Shannon divergence of numbers, over its own histograms.

The buckets of both sides are cut at the edges of both, values lying evenly within a bucket, and a
bucket without width is a cell of its own; then the divergence in bits, from 0 to 1, symmetric. The
number is that of TFDV's `jensen_shannon_divergence` comparator, whose `source` is the equal-width
histogram (STANDARD, TFDV's default) or QUANTILES. For categories TFDV's number is plain
`jensen_shannon_divergence`.

It is here for whoever has thresholds for it. Both sources let one outlier decide. With one on each
side the equal-width histograms put nearly all values into one bucket, and are blind. With one on a
single side its buckets are so wide that the values seem to be elsewhere: nearly all in the
equal-width histogram, the outermost tenth in the quantile histogram. As in TFDV, infinite buckets
never have anything in common, and NaN counts only where both sides have the same edges, and then as
different. `jensen_shannon_divergence` has none of this.

Source: TFDV, anomalies/metrics.cc, JensenShannonDivergence, AlignHistograms.
"""

from __future__ import annotations

import numpy as np

from ..distribution import Array, Distribution, Numeric
from .jensen_shannon import divergence_of_shares
from .measure import NUMERIC, Measure

BUCKETS = 10


def tfdv_divergence_of_standard(reference: Distribution, current: Distribution) -> float:
    """Return TFDV's divergence over the equal-width histograms, in bits, from 0 to 1.

    >>> from penstock.drift.distribution import numeric
    >>> low, high = numeric(range(10)), numeric([*range(9), 1000])
    >>> round(tfdv_divergence_of_standard(low, high), 3)
    0.792
    """
    assert isinstance(reference, Numeric) and isinstance(current, Numeric)
    return _divergence(
        reference, current, standard_histogram(reference), standard_histogram(current)
    )


def tfdv_divergence_of_quantiles(reference: Distribution, current: Distribution) -> float:
    """Return TFDV's divergence over the quantile histograms, in bits, from 0 to 1."""
    assert isinstance(reference, Numeric) and isinstance(current, Numeric)
    return _divergence(
        reference, current, quantile_histogram(reference), quantile_histogram(current)
    )


def standard_histogram(side: Numeric) -> Array:
    """Return ten buckets of equal width as rows of low, high and count: TFDV's, or as it makes."""
    if side.standard is not None:
        return side.standard
    edges = np.linspace(side.points[0], side.points[-1], BUCKETS + 1)
    return _rows(edges, side.share_up_to(edges) * side.n, side)


def quantile_histogram(side: Numeric) -> Array:
    """Return ten buckets of equal count as rows of low, high and count: TFDV's, or as it makes."""
    if side.quantiles is not None:
        return side.quantiles
    ranks = np.linspace(side.cumulative[0], side.cumulative[-1], BUCKETS + 1)
    return _rows(np.interp(ranks, side.cumulative, side.points), ranks, side)


def _rows(edges: Array, up_to: Array, side: Numeric) -> Array:
    counts = np.diff(np.concatenate(([side.cumulative[0]], up_to[1:])))
    return np.column_stack((edges[:-1], edges[1:], counts))


def _divergence(reference: Numeric, current: Numeric, one: Array, other: Array) -> float:
    sides = [_split(one), _split(other)]
    reference_edges, current_edges = (np.unique(wide[:, :2]) for wide, _, _ in sides)
    union = np.unique(np.concatenate((reference_edges, current_edges)))
    same_edges = np.array_equal(reference_edges, current_edges)
    points = sorted({point for _, narrow, _ in sides for point in narrow})
    counts = []
    for place, (wide, narrow, infinite) in enumerate(sides):
        cells = list(_cut(wide, union)) + [narrow.get(point, 0.0) for point in points]
        nan = (reference, current)[place].nan if same_edges else 0.0
        # What never has anything in common: a cell for each side.
        cells += [infinite, 0.0, nan, 0.0] if place == 0 else [0.0, infinite, 0.0, nan]
        counts.append(np.array(cells))
    return divergence_of_shares(counts[0] / counts[0].sum(), counts[1] / counts[1].sum())


def _split(buckets: Array) -> tuple[Array, dict[float, float], float]:
    """Return the buckets with a width, the counts of those without, and of infinite ones."""
    finite = np.isfinite(buckets[:, 0]) & np.isfinite(buckets[:, 1])
    infinite = float(buckets[~finite, 2].sum())
    buckets = buckets[finite]
    narrow = buckets[:, 0] == buckets[:, 1]
    counts: dict[float, float] = {}
    for point, _, count in buckets[narrow]:
        counts[float(point)] = counts.get(float(point), 0.0) + float(count)
    return buckets[~narrow], counts, infinite


def _cut(buckets: Array, edges: Array) -> Array:
    """Return the counts between the edges, among which are all ends of the buckets."""
    if not len(edges) or not len(buckets):
        return np.zeros(max(len(edges) - 1, 0))
    ends = buckets[:, :2].ravel()
    reached = np.cumsum(buckets[:, 2])
    up_to = np.column_stack((reached - buckets[:, 2], reached)).ravel()
    return np.diff(np.interp(edges, ends, up_to))


def _needed(threshold: float, shares: Array) -> float:
    # The extremes decide, which do not settle however many values there are (docs/drift.md).
    return 0.0


TFDV_STANDARD = Measure(
    name="tfdv_jensen_shannon_standard",
    title="TFDV's Jensen-Shannon divergence",
    kinds=(NUMERIC,),
    distance=tfdv_divergence_of_standard,
    threshold=0.5,
    floor=0.1,
    most=1.0,
    needed=_needed,
)
TFDV_QUANTILES = Measure(
    name="tfdv_jensen_shannon_quantiles",
    title="TFDV's Jensen-Shannon divergence over quantiles",
    kinds=(NUMERIC,),
    distance=tfdv_divergence_of_quantiles,
    threshold=0.2,
    floor=0.05,
    most=1.0,
    needed=_needed,
)
