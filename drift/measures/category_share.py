"""New and missing categories: the share of values whose category the other side does not have.

New is the share of the current values whose category the reference lacks; missing is the share of
the reference's values whose category the current side lacks. Both from 0 to 1, and each the other
with the sides exchanged. Categories only. Where a side does not name all of its categories, one
that it does not name may be among the others, and counts as neither new nor missing.

A feature with ever new values, such as a name or a number of a row, has a large share of new
categories without drift: it is not for a model, and a rule of its own can leave it be.
"""

from __future__ import annotations

import math

import numpy as np

from ..distribution import Array, Categorical, Distribution
from .measure import CATEGORICAL, Measure


def new_category_share(reference: Distribution, current: Distribution) -> float:
    """Return the share of the current values in categories that the reference lacks, 0 to 1.

    >>> new_category_share(Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "DL": 10}))
    0.1
    """
    assert isinstance(reference, Categorical) and isinstance(current, Categorical)
    if reference.unlisted:
        return 0.0
    new = [count for name, count in current.counts.items() if not reference.counts.get(name)]
    return math.fsum(new) / current.n


def missing_category_share(reference: Distribution, current: Distribution) -> float:
    """Return the share of the reference's values in categories that the current side lacks, 0 to 1.

    >>> missing_category_share(Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "DL": 10}))
    0.5
    """
    return new_category_share(current, reference)


def _needed(threshold: float, shares: Array) -> float:
    """Return from how many values on the expected share of unseen categories is half the threshold.

    A sample of n values misses a category of share s with the chance (1 - s)^n.
    """
    held = shares[shares > 0]
    needed = 1.0
    while float(held @ np.exp(needed * np.log1p(-np.minimum(held, 0.5)))) > threshold / 2:
        needed *= 1.1
    return needed


NEW_CATEGORY_SHARE = Measure(
    name="new_category_share",
    title="share of new categories",
    kinds=(CATEGORICAL,),
    distance=new_category_share,
    threshold=0.05,
    floor=0.01,
    most=1.0,
    needed=_needed,
    symmetric=False,
)
MISSING_CATEGORY_SHARE = Measure(
    name="missing_category_share",
    title="share of missing categories",
    kinds=(CATEGORICAL,),
    distance=missing_category_share,
    threshold=0.05,
    floor=0.01,
    most=1.0,
    needed=_needed,
    symmetric=False,
)
