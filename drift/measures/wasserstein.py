"""Normalized Wasserstein: how far values were carried on average, in standard deviations.

    W = integral of |F(x) - G(x)| dx / standard deviation of the reference

with F and G the shares of the finite values up to x; from 0 upward. A shift of a tenth of a
standard deviation is 0.1, of a whole one 1. Numbers only. Where the reference has a single value,
the standard deviation is that of both sides together, each weighing the same. It is not symmetric,
as the reference gives the unit. It sees how far values went, which the other measures do not, and
so needs more of them: one value that went far may carry more than thousands that went a little.

Source: L. Vaserstein (1969); L. Kantorovich, On the translocation of masses (1942). In one
dimension the integral: S. Vallender, Theory of Probability and its Applications 18 (1974). The
standard deviation divides by the number of values, as TFDV's does.
"""

from __future__ import annotations

import math

import numpy as np

from ..distribution import Array, Distribution, Numeric
from .measure import NUMERIC, Measure


def normalized_wasserstein(reference: Distribution, current: Distribution) -> float:
    """Return the distance in standard deviations of the reference, at least 0.

    NaN where numbers are too large to be squared.

    >>> from penstock.drift.distribution import numeric
    >>> round(normalized_wasserstein(numeric([1, 2, 3, 4]), numeric([2, 3, 4, 5])), 4)
    0.8944
    """
    assert isinstance(reference, Numeric) and isinstance(current, Numeric)
    variance = reference.variance
    if not variance:
        variance = current.variance / 2 + (reference.mean - current.mean) ** 2 / 4
    if not math.isfinite(variance):
        return math.nan
    carried = _carried(reference, current)
    return carried / math.sqrt(variance) if variance else 0.0


def _carried(reference: Numeric, current: Numeric) -> float:
    """Return the integral of the gap, exactly: between two points it is a straight line."""
    points = np.unique(np.concatenate((reference.points, current.points)))
    left = _share(reference, points[:-1], True) - _share(current, points[:-1], True)
    right = _share(reference, points[1:], False) - _share(current, points[1:], False)
    one, other = np.abs(left), np.abs(right)
    total = one + other
    # A line that crosses zero leaves two triangles.
    crossing = left * right < 0
    height = np.where(crossing, (one**2 + other**2) / np.where(total > 0, total, 1), total) / 2
    return float(np.sum(height * np.diff(points)))


def _share(side: Numeric, points: Array, with_point: bool) -> Array:
    """Return the share of the finite values up to, or below, each point."""
    share = (side.share_up_to(points) if with_point else side.share_below(points)) * side.n
    low, high = side.cumulative[0], side.cumulative[-1]
    return (share - low) / (high - low)


NORMALIZED_WASSERSTEIN = Measure(
    name="normalized_wasserstein",
    title="normalized Wasserstein distance",
    kinds=(NUMERIC,),
    distance=normalized_wasserstein,
    threshold=0.1,
    floor=0.05,
    most=math.inf,
    # By simulation: heavy tails need this many (docs/drift.md).
    needed=lambda threshold, shares: 5000 * (0.1 / threshold) ** 2,
    symmetric=False,
)
