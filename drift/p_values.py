"""P-values: how likely a difference is by chance, as a second key beside the size of the effect.

Numbers: Kolmogorov-Smirnov for two samples. Categories and missing cells: chi-square of
homogeneity, without a correction for continuity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from .cells import cells
from .distribution import Array, Distribution, Numeric, missing_rate
from .measures.kolmogorov_smirnov import kolmogorov_smirnov

EXACT_SIZE = 5000


def p_value(reference: Distribution, current: Distribution) -> float:
    """Return how likely so great a difference of two non-empty distributions is by chance."""
    if isinstance(reference, Numeric) and isinstance(current, Numeric):
        return p_of_kolmogorov_smirnov(
            kolmogorov_smirnov(reference, current), reference.n, current.n
        )
    both = cells(reference, current)
    return p_of_chi_square(
        np.array([both.reference * reference.n, both.current * current.n], np.float64)
    )


def p_value_of_missing(reference: Distribution, current: Distribution) -> float:
    """Return how likely so great a difference of the missing rates is by chance."""
    counts = []
    for side in (reference, current):
        total, rate = number_of_cells(side), missing_rate(side)
        counts.append([total * rate, total * (1 - rate)])
    return p_of_chi_square(np.array(counts))


def number_of_cells(distribution: Distribution) -> float:
    """Return the number of values and of rows without one; NaN are cells without a value."""
    nan = distribution.nan if isinstance(distribution, Numeric) else 0.0
    return distribution.n + nan + distribution.missing


def p_of_kolmogorov_smirnov(gap: float, reference_n: float, current_n: float) -> float:
    """Return the p-value of a largest gap, two-sided, as of one sample of the size n m / (n + m).

    By the exact law up to `EXACT_SIZE`, as scipy does for two samples, beyond it by Kolmogorov's
    limit with M. Stephens's correction (Journal of the Royal Statistical Society B 32, 1970), which
    takes no time.
    """
    size = max(round(reference_n * current_n / (reference_n + current_n)), 1)
    if size <= EXACT_SIZE:
        p = stats.kstwo.sf(gap, size)
    else:
        root = math.sqrt(size)
        p = stats.kstwobign.sf((root + 0.12 + 0.11 / root) * gap)
    return float(np.clip(p, 0.0, 1.0))


def p_of_chi_square(counts: Array) -> float:
    """Return the p-value of chi-square for counts of shape (2, cells); 1 with one cell only."""
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(counts, correction=False).pvalue)


def correct(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values corrected for their number by Benjamini and Hochberg; None stays None.

    Calling those at most alpha a discovery makes at most the share alpha of discoveries false.
    """
    places = [i for i, p in enumerate(p_values) if p is not None and not math.isnan(p)]
    corrected: list[float | None] = [None] * len(p_values)
    if places:
        found = stats.false_discovery_control([p_values[place] for place in places])
        for place, p in zip(places, found, strict=True):
            corrected[place] = float(p)
    return corrected
