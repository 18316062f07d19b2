"""Counts that belong to rows, sums that merge, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from penstock.evaluation.bootstrap import poisson_counts, replicate_sums


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10**12), st.integers(1, 50), st.integers(1, 40), st.integers(0, 2**31), st.data()
)
def test_a_rows_counts_do_not_depend_on_the_batch_it_is_in(first, rows, replicates, seed, data):
    cut = data.draw(st.integers(0, rows))

    whole = poisson_counts(first, rows, replicates, seed)

    parts = [
        poisson_counts(first, cut, replicates, seed),
        poisson_counts(first + cut, rows - cut, replicates, seed),
    ]
    assert (np.concatenate(parts) == whole).all()
    assert whole.shape == (rows, replicates)


def test_counts_are_poisson_with_mean_one_and_independent_between_rows_and_replicates():
    counts = poisson_counts(0, 20_000, 48, seed=3).astype(int)

    observed = np.bincount(counts.ravel(), minlength=8)
    expected = stats.poisson.pmf(np.arange(7), 1) * counts.size
    observed = np.append(observed[:7], observed[7:].sum())
    expected = np.append(expected, counts.size - expected.sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-4
    between = np.corrcoef(counts.T) - np.eye(48)
    assert np.abs(between).max() < 5 / np.sqrt(20_000)
    assert abs(np.corrcoef(counts[:-1, 0], counts[1:, 0])[0, 1]) < 5 / np.sqrt(20_000)
    assert (poisson_counts(0, 20_000, 48, seed=4) != counts).any()


def test_sums_of_parts_are_the_sums_of_the_whole_and_of_a_loop():
    rng = np.random.default_rng(0)
    terms = rng.integers(0, 9, (200, 3)).astype(float)
    counts = poisson_counts(0, 200, 10, seed=1)

    whole = replicate_sums(counts, terms)

    parts = [replicate_sums(counts[rows], terms[rows]) for rows in (slice(70), slice(70, None))]
    assert (parts[0] + parts[1] == whole).all()
    assert whole == pytest.approx(np.einsum("nb,nt->bt", counts.astype(float), terms))
