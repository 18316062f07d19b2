"""Two distributions of a number over one axis, to be drawn over each other."""

from __future__ import annotations

import numpy as np

from ...drift.distribution import Array, Distribution, Numeric
from ...reports.distribution import Plot, Rect

BINS = 24
# What lies beyond these quantiles of both sides is not drawn: a few far values would squeeze the
# rest.
QUANTILES = (0.005, 0.995)


def overlaid_plots(one: Distribution, other: Distribution) -> tuple[Plot, Plot] | None:
    """Return histograms of two numbers over the axis that both share; None where there are none.

    A bar's height is the share of the side's values between its ends, in percent of the highest.
    """
    if not isinstance(one, Numeric) or not isinstance(other, Numeric):
        return None
    if not (len(one.points) and len(other.points) and one.n and other.n):
        return None
    ends = [_quantile(side, share) for side in (one, other) for share in QUANTILES]
    low, high = min(ends), max(ends)
    if not low < high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.diff(side.share_up_to(edges)) for side in (one, other)]
    # What lies on the first edge belongs to the first bar.
    for side, share in zip((one, other), shares, strict=True):
        share[0] += side.share_up_to(edges[:1])[0] - side.share_below(edges[:1])[0]
    highest = max(float(share.max()) for share in shares) or 1.0
    whole = low <= min(one.points[0], other.points[0]) and high >= max(
        one.points[-1], other.points[-1]
    )
    first, second = (_plot(edges, share, highest, whole) for share in shares)
    return first, second


def _quantile(side: Numeric, share: float) -> float:
    # The curve's jumps are vertical, which interp takes when told to go by the counts.
    return float(np.interp(share * side.n, side.cumulative, side.points))


def _plot(edges: Array, shares: Array, highest: float, whole: bool) -> Plot:
    width = 100 / BINS
    rects = tuple(
        Rect(
            place * width,
            width,
            100 * float(share) / highest,
            float(edges[place]),
            float(edges[place + 1]),
            float(share),
        )
        for place, share in enumerate(shares)
        if share > 0
    )
    return Plot(rects, float(edges[0]), float(edges[-1]), whole)
