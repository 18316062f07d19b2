"""What a measure is: a number for how far two distributions lie apart, and when it can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..distribution import Array, Distribution

NUMERIC = "numeric"
CATEGORICAL = "categorical"
BOTH = (NUMERIC, CATEGORICAL)

# Among how many comparisons without drift one may pass the threshold by chance.
CHANCE = 0.001


@dataclass(frozen=True)
class Measure:
    """A measure by name.

    Attributes:
        name: As rules name it.
        title: As sentences name it.
        kinds: The kinds of distribution that it can measure.
        distance: Takes the reference and the current distribution, neither empty.
        threshold: The default: from here on it is drift.
        floor: The least that a calibrated threshold may be.
        most: The upper end of its range, which starts at 0.
        needed: Takes a threshold and the shares of the cells, both sides together, and returns how
            many values a side must have so that chance alone reaches the threshold less than once
            in 1 / `CHANCE`.
        symmetric: Whether the sides may be exchanged.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    distance: Callable[[Distribution, Distribution], float]
    threshold: float
    floor: float
    most: float
    needed: Callable[[float, Array], float]
    symmetric: bool = True


def chi_square_quantile(shares: Array) -> float:
    """Return what chi-square over cells of these shares passes with `CHANCE` without drift."""
    return float(stats.chi2.isf(CHANCE, max(np.count_nonzero(shares) - 1, 1)))


def share_quantile(shares: Array) -> float:
    """Return n d^2, where d is the change of a share of n values that chance passes with `CHANCE`.

    It is that of the share among `shares` that varies most, the nearest to a half.
    """
    variance = float(np.max(shares * (1 - shares), initial=0.0))
    return 2 * variance * float(stats.norm.isf(CHANCE / 2)) ** 2
