"""What is known of a feature's values: counts of categories, or the curve of a number.

Both kinds merge, so that parts of a data set, or batches of a stream, can be counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import PenstockError

# A number with at most so many distinct values is kept exactly; above it, so many steps of equal
# rank are, and the share of the values below any point is off by at most one in so many.
MAX_STEPS = 1000
# The most frequent categories that are kept by name; the others are counted together.
MAX_CATEGORIES = 100_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Categorical:
    """How often each category occurs.

    Attributes:
        counts: Per category how often it occurs, above 0; whole numbers unless they are weighted.
        unlisted: The number of values whose category is not among `counts`.
        missing: The number of rows without a value.
    """

    counts: Mapping[str, float]
    unlisted: float = 0.0
    missing: float = 0.0
    kind: str = field(default="categorical", init=False)

    @property
    def n(self) -> float:
        """The number of values."""
        return math.fsum(self.counts.values()) + self.unlisted


@dataclass(frozen=True, eq=False)
class Numeric:
    """How many values lie below each point: a line through known points, with jumps.

    The number of values up to and including x is read off the line through (`points`,
    `cumulative`). A point that stands twice is a jump, which is how often that very value occurs.

    Attributes:
        points: Finite, ascending, float64 of shape (steps,).
        cumulative: The number of values up to the point, ascending, of the same shape; its first
            is the number of negative infinities.
        n: The number of values that are not NaN, infinities among them.
        mean: Of the finite values.
        variance: Of the finite values, divided by their number; not finite where they are too large
            to be squared.
        missing: The number of rows without a value.
        nan: The number of values that are NaN, which count as missing.
        low: The number of negative infinities.
        standard: TFDV's equal-width histogram as rows of low, high and count, where the
            distribution comes from statistics.
        quantiles: TFDV's quantile histogram, likewise.
    """

    points: Array
    cumulative: Array
    n: float
    mean: float = 0.0
    variance: float = 0.0
    missing: float = 0.0
    nan: float = 0.0
    low: float = 0.0
    standard: Array | None = None
    quantiles: Array | None = None
    kind: str = field(default="numeric", init=False)

    def share_up_to(self, points: Array) -> Array:
        """Return the share of the values that are at most each of `points`, each from 0 to 1."""
        return np.interp(points, self.points, self.cumulative) / self.n

    def share_below(self, points: Array) -> Array:
        """Return the share of the values that are less than each of `points`, each from 0 to 1."""
        # Seen from the right, the last of equal points is the first.
        return np.interp(-points, -self.points[::-1], self.cumulative[::-1]) / self.n


Distribution = Categorical | Numeric


def missing_rate(distribution: Distribution) -> float:
    """Return the share of cells without a value, from 0 to 1; NaN counts as none.

    A cell is a row without a value, or one value of a row. NaN when there are no cells at all.
    """
    nan = distribution.nan if isinstance(distribution, Numeric) else 0.0
    cells = distribution.n + nan + distribution.missing
    return (distribution.missing + nan) / cells if cells else math.nan


def merge(one: Distribution, other: Distribution) -> Distribution:
    """Return the distribution of the values of both.

    Exact while numbers have at most `MAX_STEPS` distinct values and categories are at most
    `MAX_CATEGORIES`. Beyond, each merge moves the share below a point by at most 1 / `MAX_STEPS`.

    Raises:
        PenstockError: One is of numbers and the other of categories, and neither is empty.
    """
    if isinstance(one, Categorical) and isinstance(other, Categorical):
        counts = dict(one.counts)
        for category, count in other.counts.items():
            counts[category] = counts.get(category, 0.0) + count
        return categorical(counts, one.unlisted + other.unlisted, one.missing + other.missing)
    if isinstance(one, Numeric) and isinstance(other, Numeric):
        return _merge_numbers(one, other)
    for empty, full in ((one, other), (other, one)):
        if not empty.n and not (isinstance(empty, Numeric) and empty.nan):
            return replace(full, missing=full.missing + empty.missing)
    raise PenstockError(
        "A part of the feature holds numbers and another one categories, which do not merge; give "
        "both the same type."
    )


def categorical(
    counts: Mapping[str, float], unlisted: float = 0.0, missing: float = 0.0
) -> Categorical:
    """Return the distribution of these counts, at most `MAX_CATEGORIES` of them by name."""
    if len(counts) <= MAX_CATEGORIES:
        return Categorical(counts, unlisted, missing)
    order = sorted(counts, key=lambda category: (-counts[category], category))
    rest = math.fsum(counts[category] for category in order[MAX_CATEGORIES:])
    kept = {category: counts[category] for category in order[:MAX_CATEGORIES]}
    return Categorical(kept, unlisted + rest, missing)


def numeric(values: Array, missing: float = 0.0) -> Numeric:
    """Return the distribution of numbers, NaN and infinities among them.

    Args:
        values: Of shape (n,), real numbers.
        missing: The number of rows without a value.
    """
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    nan = int(np.isnan(values).sum())
    low = int((values == -np.inf).sum())
    finite.sort()
    points, cumulative = _steps(finite)
    with np.errstate(over="ignore", invalid="ignore"):  # such a variance is not finite, which shows
        mean, variance = (finite.mean(), finite.var()) if len(finite) else (0.0, 0.0)
    return Numeric(
        points,
        cumulative + low,
        float(len(values) - nan),
        float(mean),
        float(variance),
        float(missing),
        float(nan),
        float(low),
    )


def _steps(ordered: Array) -> tuple[Array, Array]:
    """Return points and how many values there are below and up to each, from sorted values."""
    if not len(ordered):
        return np.empty(0), np.empty(0)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if len(starts) <= MAX_STEPS:
        distinct = ordered[starts]
        below, up_to = starts, np.append(starts[1:], len(ordered))
    else:
        ranks = np.linspace(0, len(ordered) - 1, MAX_STEPS + 1).round().astype(np.int64)
        distinct = np.unique(ordered[ranks])
        below = np.searchsorted(ordered, distinct, "left")
        up_to = np.searchsorted(ordered, distinct, "right")
    return np.repeat(distinct, 2), np.column_stack((below, up_to)).astype(np.float64).ravel()


def _merge_numbers(one: Numeric, other: Numeric) -> Numeric:
    parts = [part for part in (one, other) if len(part.points)]
    points, cumulative = np.empty(0), np.empty(0)
    if parts:
        distinct = np.unique(np.concatenate([part.points for part in parts]))
        infinite = sum(part.low for part in (one, other) if not len(part.points))
        below = infinite + sum(part.share_below(distinct) * part.n for part in parts)
        up_to = infinite + sum(part.share_up_to(distinct) * part.n for part in parts)
        points = np.repeat(distinct, 2)
        cumulative = np.column_stack((below, up_to)).ravel()
        points, cumulative = _thin(points, cumulative)
    sizes = [_finite(part) for part in (one, other)]
    size = sum(sizes) or 1.0
    mean = (one.mean * sizes[0] + other.mean * sizes[1]) / size
    spread = one.variance * sizes[0] + other.variance * sizes[1]
    between = (one.mean - other.mean) ** 2 * sizes[0] * sizes[1] / size
    return Numeric(
        points,
        cumulative,
        one.n + other.n,
        mean,
        (spread + between) / size,
        one.missing + other.missing,
        one.nan + other.nan,
        one.low + other.low,
    )


def _finite(part: Numeric) -> float:
    return float(part.cumulative[-1] - part.cumulative[0]) if len(part.points) else 0.0


def _thin(points: Array, cumulative: Array) -> tuple[Array, Array]:
    """Return the points around each rank that is kept: no share moves by more than a step."""
    if len(points) <= 2 * MAX_STEPS:
        return points, cumulative
    ranks = np.linspace(cumulative[0], cumulative[-1], MAX_STEPS + 1)
    after = np.searchsorted(cumulative, ranks, "left")
    kept = np.unique(np.concatenate(([0], np.maximum(after - 1, 0), after, [len(points) - 1])))
    return points[kept], cumulative[kept]
