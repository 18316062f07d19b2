"""Normalized absolute difference: the most that any one category's count has changed.

    max over categories of |count of the one side - count of the other| / (all counts of both sides)

from 0 to 1, symmetric. Unlike the other measures it sees that one side has more rows: twice the
same data lie 1 / 3 of the greatest share apart. Counts are of named categories, which is TFDV's
definition, so this is the number of its `normalized_abs_difference` comparator. Categories only.

Source: TFDV, anomalies/metrics.cc, NormalizedAbsoluteDifference.
"""

from __future__ import annotations

from ..distribution import Categorical, Distribution
from .measure import CATEGORICAL, Measure, share_quantile


def normalized_absolute_difference(reference: Distribution, current: Distribution) -> float:
    """Return the largest difference of a category's counts, in all counts, from 0 to 1.

    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> normalized_absolute_difference(one, other)
    0.2
    """
    assert isinstance(reference, Categorical) and isinstance(current, Categorical)
    total = sum(side.n - side.unlisted for side in (reference, current))
    return max(
        abs(reference.counts.get(name, 0) - current.counts.get(name, 0)) / total
        for name in reference.counts.keys() | current.counts.keys()
    )


NORMALIZED_ABSOLUTE_DIFFERENCE = Measure(
    name="normalized_absolute_difference",
    title="normalized absolute difference",
    kinds=(CATEGORICAL,),
    distance=normalized_absolute_difference,
    threshold=0.05,
    floor=0.025,
    most=1.0,
    # For sides of the same size it is half of L-infinity.
    needed=lambda threshold, shares: share_quantile(shares) / (2 * threshold) ** 2,
)
