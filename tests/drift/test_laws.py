"""Laws of the measures, for any two samples."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from penstock.drift.columns import distribution_of_column, distributions_of_batches
from penstock.drift.distribution import MAX_STEPS, Categorical, merge, missing_rate, numeric
from penstock.drift.measures import MEASURES, distance

NUMBERS = st.lists(
    st.one_of(
        st.integers(-20, 20).map(float),
        st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 3)),
        st.sampled_from([math.nan, math.inf, -math.inf]),
        st.none(),
    ),
    min_size=1,
    max_size=60,
)
WORDS = st.lists(st.one_of(st.sampled_from("abcdefgh"), st.none()), min_size=1, max_size=60)
SAMPLES = st.one_of(st.tuples(NUMBERS, NUMBERS), st.tuples(WORDS, WORDS))


def distribution(values):
    kind = pa.string() if any(isinstance(value, str) for value in values) else pa.float64()
    return distribution_of_column(pa.array(values, kind))


def fitting(one, other):
    """The measures of two sides that have something to measure."""
    assume(one.kind == other.kind)
    return [
        measure
        for measure in MEASURES.values()
        if one.kind in measure.kinds and not math.isnan(distance(measure.name, one, other))
    ]


@given(SAMPLES)
@settings(deadline=None)
def test_measures_are_within_their_range(samples):
    one, other = map(distribution, samples)
    for measure in fitting(one, other):
        assert 0 <= measure.distance(one, other) <= measure.most, measure.name


@given(SAMPLES)
@settings(deadline=None)
def test_symmetric_measures_are_symmetric(samples):
    one, other = map(distribution, samples)
    for measure in fitting(one, other):
        if measure.symmetric:
            assert measure.distance(one, other) == pytest.approx(
                measure.distance(other, one), abs=1e-9
            ), measure.name


@given(st.one_of(NUMBERS, WORDS))
@settings(deadline=None)
def test_nothing_lies_between_identical_data(values):
    for measure in fitting(distribution(values), distribution(values)):
        # TFDV calls infinities and NaN different from themselves.
        if (
            measure.name.startswith("tfdv")
            and not np.isfinite([v for v in values if v is not None]).all()
        ):
            continue
        found = measure.distance(distribution(values), distribution(values))
        assert found == pytest.approx(0, abs=1e-7), measure.name


@given(SAMPLES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_of_rows_does_not_matter(samples, random):
    one, other = samples
    shuffled = random.sample(one, len(one))
    for measure in fitting(*map(distribution, samples)):
        assert measure.distance(distribution(shuffled), distribution(other)) == pytest.approx(
            measure.distance(distribution(one), distribution(other)), abs=1e-9
        ), measure.name


@given(SAMPLES, st.integers(0, 60))
@example(([0.0, 0.0, math.inf], [1.0]), 2)
@example(([-math.inf, 1.0, 2.0], [1.0]), 1)
@settings(deadline=None)
def test_batches_merge_to_the_whole(samples, cut):
    one, other = samples
    parts = [part for part in (one[:cut], one[cut:]) if part]
    kind = pa.string() if any(isinstance(value, str) for value in one) else pa.float64()
    batches = [pa.table({"x": pa.array(part, kind)}) for part in parts]
    merged = distributions_of_batches(batches)["x"]

    assert merged.n == distribution(one).n
    assert missing_rate(merged) == pytest.approx(missing_rate(distribution(one)), nan_ok=True)
    for measure in fitting(distribution(one), distribution(other)):
        assert measure.distance(merged, distribution(other)) == pytest.approx(
            measure.distance(distribution(one), distribution(other)), abs=1e-6
        ), measure.name


def test_infinities_of_several_parts_are_kept_until_there_are_numbers():
    parts = [numeric([-math.inf]), numeric([-math.inf, math.inf]), numeric([1.0, 2.0])]

    merged = merge(merge(parts[0], parts[1]), parts[2])

    assert merged.share_up_to(np.array([0.0, 1.0, 2.0])).tolist() == [0.4, 0.6, 0.8]


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9).map(float)), st.integers(0, 9))
@settings(deadline=None)
def test_an_empty_side_measures_as_nothing(counts, missing):
    for name, measure in MEASURES.items():
        if name != "missing_rate_change" and "categorical" in measure.kinds:
            assert math.isnan(distance(name, Categorical(counts), Categorical({}, 0.0, missing)))
            assert math.isnan(distance(name, Categorical({}, 0.0, missing), Categorical(counts)))


@pytest.mark.parametrize("batches", [1, 20])
def test_share_below_any_point_is_off_by_at_most_a_step_per_merge(batches):
    random = np.random.default_rng(7)
    values = np.concatenate([random.lognormal(0, 2, 30_000) - 1, np.zeros(10_000)])
    random.shuffle(values)
    found = numeric(values[:0])
    for part in np.array_split(values, batches):
        found = merge(found, numeric(part))
    assert len(found.points) <= 4 * (MAX_STEPS + 1)

    points = np.concatenate([np.quantile(values, np.linspace(0, 1, 500)), [0.0, -1e-9, -1.0, 1e9]])
    exact = np.array([(values <= point).mean() for point in points])

    assert np.abs(found.share_up_to(points) - exact).max() <= (1 if batches == 1 else 2) / MAX_STEPS
    assert found.mean == pytest.approx(values.mean())
    assert found.variance == pytest.approx(values.var())
