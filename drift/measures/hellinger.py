"""Hellinger distance: how far the square roots of the shares lie apart.

    H = sqrt(sum over cells of (sqrt(p) - sqrt(q))^2 / 2)

from 0 to 1, where no cell is common, symmetric, and a metric. Numbers are cut at pooled deciles
(`penstock.drift.cells`). It says much the same as the Jensen-Shannon distance, without logarithms.

Source: E. Hellinger, Neue Begründung der Theorie quadratischer Formen von unendlichvielen
Veränderlichen, Journal für die reine und angewandte Mathematik 136 (1909).
"""

from __future__ import annotations

import math

import numpy as np

from ..cells import cells
from ..distribution import Distribution
from .measure import BOTH, Measure, chi_square_quantile


def hellinger(reference: Distribution, current: Distribution) -> float:
    """Return the distance, from 0 to 1.

    >>> from penstock.drift.distribution import Categorical
    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> round(hellinger(one, other), 4)
    0.3249
    """
    both = cells(reference, current)
    apart = np.sqrt(both.reference) - np.sqrt(both.current)
    return min(math.sqrt(float(apart @ apart) / 2), 1.0)


HELLINGER = Measure(
    name="hellinger",
    title="Hellinger distance",
    kinds=BOTH,
    distance=hellinger,
    threshold=0.1,
    floor=0.05,
    most=1.0,
    # Without drift 4 n H^2 is close to chi-square.
    needed=lambda threshold, shares: chi_square_quantile(shares) / (4 * threshold**2),
)
