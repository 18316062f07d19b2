"""Areas under curves, and what each row adds to them.

The influence of a row is by how much the area moves, to first order, when the row counts once
more. The sum of squared influences is the area's variance; of the differences of two models'
influences, the variance of the difference of their areas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .estimate import Estimate, rate_estimate

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Area:
    """An area under a curve.

    Attributes:
        value: 0 to 1; NaN where a class has no rows.
        influence: What each row adds, `[rows]`; all zero where the area is NaN.
        smaller_class: Rows of the class that has fewer.
        method: `delong` or `influence`.
    """

    value: float
    influence: Array
    smaller_class: float
    method: str


def area_under_roc(labels: Array, scores: Array, weights: Array | None = None) -> Area:
    """Return the area under the ROC curve, ties counting half.

    Without weights and with labels 0 and 1, the sum of squared influences is the variance of
    DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver
    operating characteristic curves, Biometrics 44 (1988), computed by sorting as in Sun and Xu,
    Fast implementation of DeLong's algorithm, IEEE Signal Processing Letters 21 (2014).

    Args:
        labels: `[rows]`, 0 to 1; a label between counts as that share of a positive row.
        scores: `[rows]`, finite.
        weights: `[rows]`, not negative.
    """
    positive, negative, exact = _classes(labels, weights)
    p, n = positive.sum(), negative.sum()
    if not (p > 0 and n > 0):
        return Area(math.nan, np.zeros(len(scores)), 0.0, "delong")
    order, group = _tied(scores)
    below, tied_n = _below(negative[order], group)
    beneath, tied_p = _below(positive[order], group)
    # Of the other class: the share below a positive row, the share above a negative one.
    won = (below + tied_n / 2) / n
    lost = (p - beneath - tied_p / 2) / p
    value = float(positive[order] @ won / p)
    sorted_influence = positive[order] * (won - value) / p + negative[order] * (lost - value) / n
    influence = np.empty(len(scores))
    influence[order] = sorted_influence
    if exact and p > 1 and n > 1:
        # Sample variances, as DeLong has them, divide by one less.
        influence *= np.where(positive > 0, math.sqrt(p / (p - 1)), math.sqrt(n / (n - 1)))
    return Area(value, influence, _smaller(positive, negative), "delong" if exact else "influence")


def area_under_precision_recall(labels: Array, scores: Array, weights: Array | None = None) -> Area:
    """Return average precision: precision at each positive row's score, averaged.

    Args:
        labels: As of `area_under_roc`.
        scores: As of `area_under_roc`.
        weights: As of `area_under_roc`.
    """
    positive, negative, _ = _classes(labels, weights)
    p = positive.sum()
    if not p > 0:
        return Area(math.nan, np.zeros(len(scores)), 0.0, "influence")
    order, group = _tied(-scores)
    pos, neg = positive[order], negative[order]
    counts = np.bincount(group)
    first = np.cumsum(counts) - counts
    of_group = np.add.reduceat(pos, first)
    tp, fp = np.cumsum(of_group), np.cumsum(np.add.reduceat(neg, first))
    total = np.maximum(tp + fp, np.finfo(float).tiny)
    precision = tp / total
    value = float(of_group @ precision / p)
    # A row changes the precision at its own score and at every lower one.
    gain = np.cumsum((of_group * fp / total**2)[::-1])[::-1]
    loss = np.cumsum((of_group * tp / total**2)[::-1])[::-1]
    influence = np.empty(len(scores))
    influence[order] = (pos * (precision[group] - value + gain[group]) - neg * loss[group]) / p
    return Area(value, influence, _smaller(positive, negative), "influence")


def area_estimate(value: float, area: Area) -> Estimate | None:
    """Return how sure an area is.

    Args:
        value: The area as it was measured; it may be binned, and differ a little from `area`'s.
        area: What each row adds to it.

    Returns:
        On logit's scale, where an area close to 1 is closest to normal. At 0 or 1, where no row
        moves it, as a rate with as many trials as the smaller class has rows. None without rows of
        both classes.
    """
    if not (math.isfinite(value) and math.isfinite(area.value) and area.smaller_class > 0):
        return None
    error = float(np.sqrt(area.influence @ area.influence))
    if not 0 < value < 1 or error == 0:
        return rate_estimate(min(max(value, 0.0), 1.0), area.smaller_class)
    return Estimate(value, error / (value * (1 - value)), "logit", area.method)


def area_difference(difference: float, one: Area, other: Area) -> Estimate | None:
    """Return how sure the difference of two models' areas over the same rows is.

    Args:
        difference: `one` minus `other`, as measured.
        one: A model's area.
        other: The other's, of the same rows in the same order.
    """
    if not (math.isfinite(one.value) and math.isfinite(other.value)):
        return None
    moved = one.influence - other.influence
    return Estimate(difference, float(np.sqrt(moved @ moved)), "identity", one.method)


def _classes(labels: Array, weights: Array | None) -> tuple[Array, Array, bool]:
    labels = np.asarray(labels, np.float64)
    weight = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    exact = weights is None and bool(np.isin(labels, (0.0, 1.0)).all())
    return labels * weight, (1 - labels) * weight, exact


def _smaller(positive: Array, negative: Array) -> float:
    """Return the rows of the smaller class, weighted ones as Kish's effective number."""
    sizes = [
        float(side.sum()) ** 2 / float(side @ side) if side.any() else 0.0
        for side in (positive, negative)
    ]
    return min(sizes)


def _tied(scores: Array) -> tuple[Array, Array]:
    """Return the order from low to high, and for each place in it the number of its tie."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    return order, np.concatenate([[0], np.cumsum(ranked[1:] != ranked[:-1])])


def _below(amounts: Array, group: Array) -> tuple[Array, Array]:
    """Return for each place the sum of amounts at lower scores, and at the same score."""
    tied = np.bincount(group, amounts)
    return (np.cumsum(tied) - tied)[group], tied[group]
