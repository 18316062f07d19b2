"""Jensen-Shannon divergence and distance: how well one can tell which side a value is from.

The divergence is the mutual information of a value and the side that it came from, when both sides
are equally likely: with M = (P + Q) / 2 the mean of the shares in the same cells,

    JSD = (KL(P, M) + KL(Q, M)) / 2,    KL(P, M) = sum of p * log2(p / m) where p > 0

in bits, from 0 (the same) to 1 (no cell in common), symmetric. Its square root is a distance.
Numbers are cut at pooled deciles (`penstock.drift.cells`). For categories it is TFDV's number, as
long as both sides name all of theirs; TFDV leaves those aside that are not named, and takes one
that a single side names for one that the other side lacks.

Source: J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information
Theory 37 (1991); D. Endres and J. Schindelin, A new metric for probability distributions (2003).
"""

from __future__ import annotations

import math

import numpy as np

from ..cells import cells
from ..distribution import Array, Distribution
from .measure import BOTH, Measure, chi_square_quantile


def jensen_shannon_divergence(reference: Distribution, current: Distribution) -> float:
    """Return the divergence in bits, from 0 to 1.

    >>> from penstock.drift.distribution import Categorical
    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> round(jensen_shannon_divergence(one, other), 4)
    0.1468
    """
    both = cells(reference, current)
    return divergence_of_shares(both.reference, both.current)


def jensen_shannon_distance(reference: Distribution, current: Distribution) -> float:
    """Return the square root of the divergence, from 0 to 1.

    >>> from penstock.drift.distribution import Categorical
    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> round(jensen_shannon_distance(one, other), 4)
    0.3831
    """
    return math.sqrt(jensen_shannon_divergence(reference, current))


def divergence_of_shares(reference: Array, current: Array) -> float:
    """Return the divergence in bits of two arrays of shares, each adding up to 1."""
    mean = (reference + current) / 2
    bits = 0.0
    for shares in (reference, current):
        held = shares > 0
        bits += float(np.sum(shares[held] * np.log2(shares[held] / mean[held]))) / 2
    # Rounding may leave a little less than 0 or more than 1.
    return min(max(bits, 0.0), 1.0)


def _needed(threshold: float, shares: Array) -> float:
    # Without drift 4 ln(2) n JSD is close to chi-square.
    return chi_square_quantile(shares) / (4 * math.log(2) * threshold)


DIVERGENCE = Measure(
    name="jensen_shannon_divergence",
    title="Jensen-Shannon divergence",
    kinds=BOTH,
    distance=jensen_shannon_divergence,
    threshold=0.01,
    floor=0.0025,
    most=1.0,
    needed=_needed,
)
DISTANCE = Measure(
    name="jensen_shannon_distance",
    title="Jensen-Shannon distance",
    kinds=BOTH,
    distance=jensen_shannon_distance,
    threshold=0.1,
    floor=0.05,
    most=1.0,
    needed=lambda threshold, shares: _needed(threshold**2, shares),
)
