"""L-infinity: the most that any one category's share has changed.

    max over categories of |p - q|

from 0 to 1, symmetric. A share is of the values whose categories are named, which is TFDV's
definition, so this is the number of its `infinity_norm` comparator. Categories only: on numbers
TFDV says 0 whatever happens, and here it is an error.

Source: TFDV, anomalies/metrics.cc, LInftyDistance.
"""

from __future__ import annotations

from ..distribution import Categorical, Distribution
from .measure import CATEGORICAL, Measure, share_quantile


def l_infinity(reference: Distribution, current: Distribution) -> float:
    """Return the largest change of a category's share, from 0 to 1.

    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> round(l_infinity(one, other), 4)
    0.4
    """
    assert isinstance(reference, Categorical) and isinstance(current, Categorical)
    sums = [side.n - side.unlisted for side in (reference, current)]
    return max(
        abs(reference.counts.get(name, 0) / sums[0] - current.counts.get(name, 0) / sums[1])
        for name in reference.counts.keys() | current.counts.keys()
    )


L_INFINITY = Measure(
    name="l_infinity",
    title="L-infinity distance",
    kinds=(CATEGORICAL,),
    distance=l_infinity,
    threshold=0.1,
    floor=0.05,
    most=1.0,
    needed=lambda threshold, shares: share_quantile(shares) / threshold**2,
)
