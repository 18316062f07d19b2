"""Intervals, against other people's implementations and against repeated measurement."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from penstock.evaluation.estimate import (
    Estimate,
    bootstrap_estimate,
    rate_estimate,
    wilson,
)
from penstock.evaluation.holm import holm_levels


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts):
    successes, trials = counts
    oracle = stats.binomtest(successes, trials).proportion_ci(0.9, method="wilson")

    low, high = wilson(successes / trials, trials, 0.9)

    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


ESTIMATES = [
    Estimate(0.7, 0.1, "logit", "delong"),
    Estimate(1.2, 0.05, "log", "poisson_bootstrap", degrees=199),
    Estimate(-0.3, 0.2, "identity", "jackknife", degrees=19),
    rate_estimate(0.42, 77),
    rate_estimate(1.0, 30),
]


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_a_bound_at_the_intervals_end_has_just_the_tail_that_the_interval_leaves_out(
    estimate, level
):
    low, high = estimate.interval(level)

    assert low < high and low <= estimate.value <= high
    assert estimate.tail(low) == pytest.approx((1 - level) / 2, abs=1e-9)
    if high < 1 or estimate.scale != "logit":
        assert estimate.tail(high) == pytest.approx((1 + level) / 2, abs=1e-9)


def test_a_replicate_that_is_no_number_is_left_out_and_many_are_no_evidence():
    replicates = np.random.default_rng(0).normal(1, 0.1, 200)
    few, many = replicates.copy(), replicates.copy()
    few[:5], many[:50] = np.nan, np.inf

    found = bootstrap_estimate(1.0, few, "identity")

    assert found.error == pytest.approx(np.std(few[5:], ddof=1)) and found.degrees == 194
    assert bootstrap_estimate(1.0, many, "identity") is None
    assert bootstrap_estimate(math.nan, replicates, "identity") is None
    assert bootstrap_estimate(-1.0, replicates, "log") is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.5]))
def test_holm_rejects_what_adjusted_p_values_reject(p_values, alpha):
    # The step-down by adjusted p-values: each the running maximum of p times what is left.
    order = np.argsort(p_values, kind="stable")
    left = len(p_values) - np.arange(len(p_values))
    scaled = np.array(p_values)[order] * left
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(scaled)

    answers = holm_levels(p_values, alpha)

    clear = np.abs(adjusted - alpha) > 1e-12
    assert [r for (r, _), c in zip(answers, clear, strict=True) if c] == list(
        (adjusted <= alpha)[clear]
    )
    for p, (rejected, level) in zip(p_values, answers, strict=True):
        assert alpha / len(p_values) <= level <= alpha
        assert rejected == (p <= level) or not rejected
