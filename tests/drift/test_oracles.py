"""Every measure against an independent computation: scipy's, or a loop written from the formula."""

import itertools
import math

import numpy as np
import pytest
from scipy import spatial, stats

from penstock.drift.cells import OTHER, cells
from penstock.drift.distribution import Categorical, Numeric, numeric
from penstock.drift.measures import distance
from penstock.drift.p_values import correct, p_value, p_value_of_missing

REFERENCE = {"AA": 400.0, "UA": 300.0, "DL": 200.0, "gone": 7.0}
CURRENT = {"AA": 350.0, "UA": 100.0, "DL": 500.0, "new": 40.0}


@pytest.fixture(scope="module")
def numbers():
    """Few enough distinct values to be kept exactly, with ties within and between the sides."""
    random = np.random.default_rng(3)
    return random.normal(0, 1, 900).round(2), random.gamma(2, 1, 700).round(2)


def table(categories=None):
    names = sorted({*REFERENCE, *CURRENT})
    return np.array([[side.get(name, 0.0) for name in names] for side in (REFERENCE, CURRENT)])


def shares_of_deciles(one, other):
    """Count both sides, value by value, in the cells between the deciles of the pooled samples."""
    ordered = sorted([(x, 0.5 / len(one)) for x in one] + [(x, 0.5 / len(other)) for x in other])
    reached = np.cumsum([weight for _, weight in ordered])
    # The least value up to which so much lies; rounding of the sum must not push it on.
    edges = {ordered[int(np.argmax(reached >= k / 10 - 1e-12))][0] for k in range(1, 10)}
    limits = [-math.inf, *sorted(edges), math.inf]
    return np.array(
        [
            [sum(low < x <= high for x in side) for low, high in itertools.pairwise(limits)]
            for side in (one, other)
        ],
        float,
    )


def sides(kind, numbers):
    if kind == "categorical":
        return Categorical(REFERENCE), Categorical(CURRENT), table()
    one, other = numbers
    return numeric(one), numeric(other), shares_of_deciles(one, other)


def shares(counts):
    return counts / counts.sum(axis=1, keepdims=True)


KINDS = pytest.mark.parametrize("kind", ["categorical", "numeric"])


@KINDS
def test_jensen_shannon_is_scipys(kind, numbers):
    one, other, counts = sides(kind, numbers)

    expected = spatial.distance.jensenshannon(*counts, base=2)

    assert distance("jensen_shannon_distance", one, other) == pytest.approx(expected, abs=1e-9)
    assert distance("jensen_shannon_divergence", one, other) == pytest.approx(expected**2, abs=1e-9)


@KINDS
def test_psi_is_the_sum_of_the_formula(kind, numbers):
    one, other, counts = sides(kind, numbers)

    expected = 0.0
    for p, q in zip(*shares(counts), strict=True):
        p, q = max(p, 0.0001), max(q, 0.0001)
        expected += (q - p) * math.log(q / p)

    assert distance("psi", one, other) == pytest.approx(expected)


@KINDS
def test_hellinger_is_one_less_the_overlap_of_roots(kind, numbers):
    one, other, counts = sides(kind, numbers)

    overlap = sum(math.sqrt(p * q) for p, q in zip(*shares(counts), strict=True))

    assert distance("hellinger", one, other) == pytest.approx(math.sqrt(1 - overlap))


@KINDS
def test_cramers_v_is_scipys_association(kind, numbers):
    one, other, counts = sides(kind, numbers)

    expected = stats.contingency.association(counts.astype(int), method="cramer", correction=False)

    assert distance("cramers_v", one, other) == pytest.approx(expected)


def test_kolmogorov_smirnov_and_its_p_value_are_scipys(numbers):
    for low, high in ((0, 900), (0, 40)):
        one, other = numbers[0][low:high], numbers[1][low:high] - 0.8
        expected = stats.ks_2samp(one, other, method="asymp")

        assert distance("kolmogorov_smirnov", numeric(one), numeric(other)) == pytest.approx(
            expected.statistic
        )
        assert p_value(numeric(one), numeric(other)) == pytest.approx(expected.pvalue)


def test_p_value_of_large_samples_is_near_scipys():
    random = np.random.default_rng(8)
    one = random.normal(0, 1, 40_000).round(2)
    for shift in (0.0, 0.01, 0.02, 0.04):
        other = random.normal(shift, 1, 40_000).round(2)
        expected = stats.ks_2samp(one, other, method="asymp").pvalue

        assert p_value(numeric(one), numeric(other)) == pytest.approx(expected, rel=0.02)


def test_wasserstein_is_scipys_in_deviations_of_the_reference(numbers):
    one, other = numbers

    expected = stats.wasserstein_distance(one, other) / one.std()

    found = distance("normalized_wasserstein", numeric(one), numeric(other))
    assert found == pytest.approx(expected)


def test_wasserstein_of_steps_is_near_scipys_where_values_are_many():
    random = np.random.default_rng(4)
    one, other = random.lognormal(0, 1, 50_000), random.lognormal(0.2, 1.1, 40_000)

    expected = stats.wasserstein_distance(one, other) / one.std()

    found = distance("normalized_wasserstein", numeric(one), numeric(other))
    assert found == pytest.approx(expected, rel=0.05)


def test_wasserstein_of_one_value_takes_the_deviation_of_both_sides():
    found = distance("normalized_wasserstein", numeric([1.0] * 5), numeric([3.0] * 9))

    assert found == pytest.approx(2 / np.std([1.0, 3.0]))
    assert distance("normalized_wasserstein", numeric([1.0] * 5), numeric([1.0] * 9)) == 0


def evenly(low, high):
    """Values that lie evenly between two numbers, as within a bucket of statistics."""
    points, mean, variance = np.array([low, high]), (low + high) / 2, (high - low) ** 2 / 12
    return Numeric(points, np.array([0.0, 100.0]), 100.0, mean, variance)


def test_curves_that_cross_between_points_are_measured_exactly():
    # The u-th of the values lies at u on one side, at 0.25 + 0.5 u on the other.
    carried = distance("normalized_wasserstein", evenly(0.0, 1.0), evenly(0.25, 0.75))

    assert carried == pytest.approx(0.125 * math.sqrt(12))


def test_the_gap_is_found_on_either_side_of_a_jump():
    jump, line = numeric([0.5] * 4), evenly(0.5, 1.5)

    for one, other in ((jump, line), (line, jump)):
        assert distance("kolmogorov_smirnov", one, other) == 1
    below = numeric([1.0] * 4)
    assert distance("kolmogorov_smirnov", below, evenly(0.0, 1.0)) == 1
    assert distance("kolmogorov_smirnov", evenly(0.0, 1.0), below) == 1


def test_shares_of_categories_are_counted():
    one, other = Categorical(REFERENCE), Categorical(CURRENT)

    assert distance("l_infinity", one, other) == pytest.approx(500 / 990 - 200 / 907)
    assert distance("normalized_absolute_difference", one, other) == pytest.approx(300 / 1897)
    assert distance("new_category_share", one, other) == pytest.approx(40 / 990)
    assert distance("missing_category_share", one, other) == pytest.approx(7 / 907)


def test_p_value_of_categories_is_scipys():
    expected = stats.chi2_contingency(table(), correction=False).pvalue

    assert p_value(Categorical(REFERENCE), Categorical(CURRENT)) == pytest.approx(expected)


def test_missing_cells_are_rows_without_a_value_and_nan():
    one = numeric([1.0, 2.0, math.nan], missing=1)
    other = numeric([1.0] * 9, missing=1)

    assert distance("missing_rate_change", one, other) == pytest.approx(2 / 4 - 1 / 10)
    expected = stats.chi2_contingency([[2, 2], [1, 9]], correction=False).pvalue
    assert p_value_of_missing(one, other) == pytest.approx(expected)


def test_correction_is_that_of_benjamini_and_hochberg():
    p_values = [0.01, None, 0.04, 0.03, 0.5]

    # By hand: p times 4 over its rank, then the least of this and of all that follow.
    assert correct(p_values) == [
        pytest.approx(0.04),
        None,
        pytest.approx(0.16 / 3),
        pytest.approx(0.16 / 3),
        pytest.approx(0.5),
    ]


def test_values_that_a_side_does_not_name_are_one_cell():
    cut = Categorical({"AA": 60.0, "UA": 30.0}, unlisted=10.0)
    whole = Categorical({"AA": 50.0, "DL": 50.0})

    both = cells(cut, whole)

    # DL may be among the unnamed of the first side; UA is certainly not in the second.
    assert both.labels == ("AA", "UA", OTHER)
    assert both.reference.tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert both.current.tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert distance("new_category_share", cut, whole) == 0
    assert distance("missing_category_share", cut, whole) == pytest.approx(0.3)
