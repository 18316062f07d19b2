"""Cramér's V: chi-square as an effect, which does not grow with the number of values.

With the counts of both sides in the same cells as a table of two rows and N counts in all,

    V = sqrt(chi-square / N)

from 0 to 1, symmetric. Chi-square is Pearson's, without a correction for continuity; its p-value is
the second key (`penstock.drift.p_values`). Numbers are cut at pooled deciles
(`penstock.drift.cells`). V is less the more the sizes of the sides differ: a side with a tenth of
the other's values makes it about 0.57 of what it is for equal sides.

Source: H. Cramér, Mathematical Methods of Statistics (1946), chapter 21.
"""

from __future__ import annotations

import math

import numpy as np

from ..cells import cells
from ..distribution import Distribution
from .measure import BOTH, Measure, chi_square_quantile


def cramers_v(reference: Distribution, current: Distribution) -> float:
    """Return V, from 0 to 1.

    >>> from penstock.drift.distribution import Categorical
    >>> one, other = Categorical({"AA": 50, "UA": 50}), Categorical({"AA": 90, "UA": 10})
    >>> round(cramers_v(one, other), 4)
    0.4364
    """
    both = cells(reference, current)
    counts = np.array([both.reference * reference.n, both.current * current.n])
    counts = counts[:, counts.sum(axis=0) > 0]
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / total
    return min(math.sqrt(float(np.sum((counts - expected) ** 2 / expected)) / total), 1.0)


CRAMERS_V = Measure(
    name="cramers_v",
    title="Cramér's V",
    kinds=BOTH,
    distance=cramers_v,
    threshold=0.1,
    floor=0.05,
    most=1.0,
    # Without drift 2 n V^2 is close to chi-square.
    needed=lambda threshold, shares: chi_square_quantile(shares) / (2 * threshold**2),
)
