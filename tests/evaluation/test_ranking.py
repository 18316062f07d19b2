"""Areas and their errors, against brute force, scikit-learn and small changes of weights."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from penstock.evaluation.ranking import (
    area_difference,
    area_estimate,
    area_under_precision_recall,
    area_under_roc,
)

BOTH = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n).filter(
            lambda labels: 0 < sum(labels) < len(labels)
        ),
        st.lists(st.integers(0, 6).map(lambda v: v / 6), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=n, max_size=n),
    )
)


def placements(labels, scores):
    """DeLong's structural components, straight from their definition."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return wins.mean(axis=1), wins.mean(axis=0)


@settings(max_examples=200, deadline=None)
@given(BOTH)
def test_areas_are_those_of_sklearn_with_ties_and_weights(rows):
    labels, scores, weights = map(np.array, rows)

    roc = area_under_roc(labels, scores, weights)
    pr = area_under_precision_recall(labels, scores, weights)

    assert roc.value == pytest.approx(
        metrics.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12
    )
    assert pr.value == pytest.approx(
        metrics.average_precision_score(labels, scores, sample_weight=weights), abs=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(BOTH)
def test_a_rows_influence_is_how_the_area_moves_with_its_weight(rows):
    labels, scores, weights = map(np.array, rows)
    step = 1e-6
    for area in (area_under_roc, area_under_precision_recall):
        found = area(labels, scores, weights)
        for row in range(len(labels)):
            more = weights.copy()
            more[row] *= 1 + step
            moved = (area(labels, scores, more).value - found.value) / step
            assert found.influence[row] == pytest.approx(moved, abs=1e-4)


def test_error_and_paired_error_are_delongs():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300).astype(float)
    one = np.round(labels + rng.normal(0, 1.2, 300), 1)
    other = np.round(one + rng.normal(0, 1, 300), 1)
    m, n = labels.sum(), (1 - labels).sum()
    v10, v01 = zip(placements(labels, one), placements(labels, other), strict=True)
    covariance = np.cov(v10) / m + np.cov(v01) / n

    areas = [area_under_roc(labels, scores) for scores in (one, other)]

    found = area_estimate(areas[0].value, areas[0])
    a = areas[0].value
    assert found.method == "delong"
    assert found.error * a * (1 - a) == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-9)
    paired = area_difference(areas[0].value - areas[1].value, *areas)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert paired.error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_perfect_order_of_few_rows_proves_little_and_one_class_nothing():
    labels = np.array([0.0] * 50 + [1.0] * 3)

    few = area_estimate(1.0, area_under_roc(labels, labels))
    none = area_under_roc(np.zeros(5), np.arange(5))

    assert few.interval(0.95)[0] < 0.5 and few.interval(0.95)[1] == 1.0
    assert math.isnan(none.value) and area_estimate(0.5, none) is None
    assert area_difference(0.0, none, none) is None
