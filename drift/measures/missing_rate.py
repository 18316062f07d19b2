"""Missing-rate change: by how much the share of cells without a value has changed.

    |missing / cells of the current side - missing / cells of the reference|

from 0 to 1, symmetric. NaN counts as missing. It measures any kind of feature, also one that is
missing altogether.

>>> from penstock.drift.distribution import Categorical
>>> round(missing_rate_change(Categorical({"AA": 98}, 0, 2), Categorical({"AA": 90}, 0, 10)), 4)
0.08
"""

from __future__ import annotations

from ..distribution import Distribution, missing_rate
from .measure import BOTH, Measure, share_quantile


def missing_rate_change(reference: Distribution, current: Distribution) -> float:
    """Return the absolute difference of the shares of missing cells, from 0 to 1."""
    return abs(missing_rate(current) - missing_rate(reference))


MISSING_RATE_CHANGE = Measure(
    name="missing_rate_change",
    title="change of the missing rate",
    kinds=BOTH,
    distance=missing_rate_change,
    threshold=0.05,
    floor=0.01,
    most=1.0,
    needed=lambda threshold, shares: share_quantile(shares) / threshold**2,
)
