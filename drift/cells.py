"""Two distributions side by side: how much of each lies in the same cells.

A cell is a category, or a range of numbers. Numbers are cut at the deciles of both sides together,
each side weighing the same: the same cells whichever side is called the reference, about equally
full, and open at both ends, so that one outlier neither hides nor makes a difference. Where a side
is known by TFDV's histograms only, its values are taken to lie evenly within a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import PenstockError
from .distribution import Array, Categorical, Distribution, Numeric

BINS = 10
ROUNDING = 1e-12
OTHER = "(other values)"


@dataclass(frozen=True)
class Cells:
    """The shares of two distributions in the same cells.

    Attributes:
        labels: What each cell is: a category, or a range as `(1, 2.5]`.
        reference: The shares, from 0 to 1, which add up to 1; of shape (cells,).
        current: Likewise.
    """

    labels: tuple[str, ...]
    reference: Array
    current: Array


def cells(reference: Distribution, current: Distribution) -> Cells:
    """Return the shares of two distributions, neither of them empty, in the same cells.

    A category that only one side has is a cell, with the share 0 on the other side. Where the other
    side does not name all of its categories, it may have it unnamed: such categories are one cell,
    the last, together with all that are not named.

    Raises:
        PenstockError: One is of numbers and the other of categories.
    """
    if isinstance(reference, Categorical) and isinstance(current, Categorical):
        return _of_categories(reference, current)
    if isinstance(reference, Numeric) and isinstance(current, Numeric):
        return _of_numbers(reference, current)
    raise PenstockError(
        f"The reference is {reference.kind} and the current side {current.kind}, which have no "
        "cells in common; give both the same type."
    )


def _of_categories(reference: Categorical, current: Categorical) -> Cells:
    sides = (reference, current)
    names = reference.counts.keys() | current.counts.keys()
    for side in sides:
        if side.unlisted:
            names &= side.counts.keys()
    named = sorted(names)
    counts = [np.array([side.counts.get(c, 0.0) for c in named], np.float64) for side in sides]
    labels = tuple(named)
    if reference.unlisted or current.unlisted:
        labels = (*labels, OTHER)
        counts = [
            np.append(part, max(side.n - part.sum(), 0.0))
            for part, side in zip(counts, sides, strict=True)
        ]
    return Cells(labels, counts[0] / reference.n, counts[1] / current.n)


def _of_numbers(reference: Numeric, current: Numeric) -> Cells:
    edges = pooled_quantiles(reference, current, BINS)
    shares = [
        # Rounding may leave a little less than 0.
        np.maximum(np.diff(side.share_up_to(edges), prepend=0.0, append=1.0), 0.0)
        for side in (reference, current)
    ]
    low, high = ["-inf", *map(_text, edges)], [*map(_text, edges), "inf"]
    labels = tuple(
        f"({start}, {end}]" if end != "inf" else f"({start}, inf)"
        for start, end in zip(low, high, strict=True)
    )
    return Cells(labels, shares[0], shares[1])


def pooled_quantiles(reference: Numeric, current: Numeric, bins: int) -> Array:
    """Return the distinct inner quantiles of both sides together, each weighing the same.

    The quantile of a share is the least number up to which at least this share of the values lies.
    """
    points = np.unique(np.concatenate((reference.points, current.points)))
    below = (reference.share_below(points) + current.share_below(points)) / 2
    up_to = (reference.share_up_to(points) + current.share_up_to(points)) / 2
    shares, points = np.column_stack((below, up_to)).ravel(), np.repeat(points, 2)
    wanted = np.arange(1, bins) / bins
    # A share that is reached but for rounding is reached.
    after = np.minimum(np.searchsorted(shares, wanted - ROUNDING), len(points) - 1)
    before = np.maximum(after - 1, 0)
    rise = shares[after] - shares[before]
    part = np.clip((wanted - shares[before]) / np.where(rise > 0, rise, 1.0), 0.0, 1.0)
    return np.unique(points[before] + part * (points[after] - points[before]))


def _text(number: float) -> str:
    return f"{number:.6g}"
