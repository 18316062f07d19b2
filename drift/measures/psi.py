"""Population stability index: the symmetric relative entropy that credit scoring uses.

    PSI = sum over cells of (q - p) * ln(q / p)

in nats, from 0 upward; shares below 0.0001 are taken as 0.0001, so that a cell which one side lacks
counts much but not infinitely. Numbers are cut at pooled deciles (`penstock.drift.cells`), where
the literature cuts at the reference's: so it is symmetric, and no cell is nearly empty. The custom
is that 0.1 is worth a look and 0.25 a shift.

Source: N. Siddiqi, Credit Risk Scorecards (2006); the formula is Jeffreys's divergence (1946).
"""

from __future__ import annotations

import math

import numpy as np

from ..cells import cells
from ..distribution import Distribution
from .measure import BOTH, Measure, chi_square_quantile

LEAST_SHARE = 0.0001


def psi(reference: Distribution, current: Distribution) -> float:
    """Return the index in nats, at least 0.

    >>> from penstock.drift.distribution import Categorical
    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> round(psi(one, other), 4)
    0.8789
    """
    both = cells(reference, current)
    p, q = np.maximum(both.reference, LEAST_SHARE), np.maximum(both.current, LEAST_SHARE)
    return float(np.sum((q - p) * np.log(q / p)))


PSI = Measure(
    name="psi",
    title="population stability index",
    kinds=BOTH,
    distance=psi,
    threshold=0.1,
    floor=0.025,
    most=math.inf,
    # Without drift n PSI / 2 is close to chi-square.
    needed=lambda threshold, shares: 2 * chi_square_quantile(shares) / threshold,
)
