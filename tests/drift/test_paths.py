"""From statistics, from columns and from merged batches: the same answer, within what is known."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import statistics_pb2

from penstock.drift.columns import distribution_of_column, distributions_of_batches
from penstock.drift.distribution import (
    MAX_CATEGORIES,
    Categorical,
    merge,
    missing_rate,
    numeric,
)
from penstock.drift.measures import MEASURES, distance
from penstock.drift.statistics import distribution_of_feature, distributions_of_statistics
from penstock.errors import PenstockError

ROWS = 6000
LAWS = {
    "normal": lambda r, s: r.normal(s, 1, ROWS),
    "heavy": lambda r, s: r.lognormal(s, 1.5, ROWS),
    "uniform": lambda r, s: r.uniform(s, 1 + s, ROWS),
    "weekday": lambda r, s: r.integers(1, 8, ROWS) - (r.random(ROWS) < s / 4),
    "day": lambda r, s: np.minimum(r.integers(1, 32, ROWS) + int(4 * s), 31),
    "digit": lambda r, s: np.minimum(r.integers(0, 11, ROWS) + int(3 * s), 10),
    "counts": lambda r, s: r.poisson(3 + s, ROWS),
    "large_counts": lambda r, s: r.poisson(800 * (1 + s), ROWS),
    "flag": lambda r, s: (r.random(ROWS) < 0.05 + s / 2).astype(int),
    "mostly_zero": lambda r, s: np.where(r.random(ROWS) < 0.65 - s / 2, 0, r.gamma(2, 3, ROWS)),
    "whole_float": lambda r, s: np.round(r.normal(30 * s, 20, ROWS)),
    "constant": lambda r, s: np.full(ROWS, 3.0 + s),
    "category": lambda r, s: r.choice(["AA", "UA", "DL"], ROWS, p=[0.5 - s / 2, 0.3 + s / 2, 0.2]),
}
SHIFTS = (0.0, 0.3, 0.6)
# By how much a measure of statistics may differ from that of columns: ten buckets know no more.
ALLOWED = {"normalized_wasserstein": 0.12, "psi": 0.12, "kolmogorov_smirnov": 0.06}
DEFAULT_ALLOWED = 0.05


@pytest.fixture(scope="module")
def frames():
    return [
        pd.DataFrame({law: draw(np.random.default_rng([9, i]), s) for law, draw in LAWS.items()})
        for i, s in enumerate((0.0, *SHIFTS))
    ]


@pytest.fixture(scope="module")
def known(frames):
    """Per frame its distributions from statistics and from columns."""
    return [
        (
            distributions_of_statistics(tfdv.generate_statistics_from_dataframe(frame).datasets[0]),
            distributions_of_batches([pa.Table.from_pandas(frame)]),
        )
        for frame in frames
    ]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("current", range(1, len(SHIFTS) + 1))
def test_statistics_and_columns_agree_within_the_histogram(known, law, current):
    by_statistics, by_columns = zip(known[0], known[current], strict=True)
    for measure in MEASURES.values():
        if by_columns[0][law].kind not in measure.kinds or measure.name.startswith("tfdv"):
            continue
        expected = distance(measure.name, *(side[law] for side in by_columns))
        found = distance(measure.name, *(side[law] for side in by_statistics))
        # The tenth of greatest values is known by its ends alone, and goes the farthest.
        if (law, measure.name) == ("heavy", "normalized_wasserstein"):
            continue
        allowed = ALLOWED.get(measure.name, DEFAULT_ALLOWED)
        if by_columns[0][law].kind == "categorical":
            allowed = 1e-12
        assert found == pytest.approx(expected, abs=allowed, rel=0.15), measure.name


@pytest.mark.parametrize("law", [law for law in LAWS if law != "category"])
def test_no_share_of_statistics_is_off_by_more_than_a_bucket(frames, known, law):
    values = frames[0][law].to_numpy()
    by_statistics, by_columns = known[0][0][law], known[0][1][law]
    points = np.quantile(values, np.linspace(0, 1, 300))
    exact = np.array([(values <= point).mean() for point in points])

    assert np.abs(by_columns.share_up_to(points) - exact).max() <= 0.001
    assert np.abs(by_statistics.share_up_to(points) - exact).max() <= 0.1
    assert by_statistics.n == by_columns.n == ROWS
    assert by_statistics.mean == pytest.approx(values.mean(), rel=1e-6)
    assert by_statistics.variance == pytest.approx(values.var(), rel=1e-6)


def test_each_of_few_whole_numbers_is_known_from_statistics(frames, known):
    for law in ("weekday", "flag"):
        numbers = np.unique(frames[0][law])
        found = known[0][0][law]

        shares = found.share_up_to(numbers) - found.share_up_to(numbers - 1)

        expected = [(frames[0][law] == number).mean() for number in numbers]
        assert shares == pytest.approx(expected, abs=0.005)


def test_missing_rows_and_nan_are_the_same_on_both_paths():
    table = pa.table(
        {
            "x": pa.array([1.0, None, float("nan"), 4.0], pa.float64()),
            "c": pa.array(["AA", None, None, "UA"]),
            "l": pa.array([[1, 2], [], None, [3]], pa.list_(pa.int64())),
            "gone": pa.array([None] * 4, pa.float64()),
        }
    )
    # As TFDV wants it: a list of values per cell.
    lists = {
        "x": pa.array([[1.0], None, [float("nan")], [4.0]]),
        "c": pa.array([["AA"], None, None, ["UA"]]),
        "l": table["l"].combine_chunks(),
        "gone": pa.array([None] * 4, pa.list_(pa.float64())),
    }
    batch = pa.RecordBatch.from_arrays(list(lists.values()), names=list(lists))
    statistics = stats_impl.generate_statistics_in_memory(batch)

    by_statistics = distributions_of_statistics(statistics.datasets[0])
    by_columns = distributions_of_batches([table])

    assert {f: missing_rate(d) for f, d in by_columns.items()} == {
        "x": 0.5,
        "c": 0.5,
        "l": 1 / 4,
        "gone": 1.0,
    }
    for feature in by_columns:
        assert missing_rate(by_statistics[feature]) == missing_rate(by_columns[feature]), feature
        assert by_statistics[feature].n == by_columns[feature].n, feature


def test_infinite_values_of_statistics_leave_a_finite_deviation():
    values = np.append(np.random.default_rng(0).normal(0, 2, 999), np.inf)
    statistics = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"x": values}))

    found = distributions_of_statistics(statistics.datasets[0])["x"]

    assert np.sqrt(found.variance) == pytest.approx(2, rel=0.15)
    assert distance("normalized_wasserstein", found, found) == 0


def test_bytes_and_structs_have_no_distribution():
    feature = statistics_pb2.FeatureNameStatistics(name="image")
    feature.bytes_stats.common_stats.num_non_missing = 3

    assert distribution_of_feature(feature, 3) is None


@pytest.mark.parametrize(
    ("column", "kind", "n"),
    [
        (pa.array([True, False, None]), "numeric", 2),
        (pa.array([1, 2, 3], pa.uint8()), "numeric", 3),
        (pa.array([Decimal("1.5"), None]), "numeric", 1),
        (pa.array([datetime.date(2013, 1, 1), None]), "numeric", 1),
        (pa.array([datetime.datetime(2013, 1, 1, 5)], pa.timestamp("us")), "numeric", 1),
        (pa.array(["a", "b"]).dictionary_encode(), "categorical", 2),
        (pa.array([b"a", b"\xff"]), "categorical", 2),
        (pa.array([["a", "b"], None, []]), "categorical", 2),
        (pa.array([[[1.0], [2.0, 3.0]]]), "numeric", 3),
        (pa.array([None, None]), "categorical", 0),
        (pa.chunked_array([[1, 2], [3]]), "numeric", 3),
        (pa.chunked_array([], pa.int64()), "numeric", 0),
    ],
)
def test_every_type_of_column_has_its_kind(column, kind, n):
    found = distribution_of_column(column)

    assert (found.kind, found.n) == (kind, n)


def test_numbers_are_categories_on_request():
    found = distribution_of_column(pa.array([1, 1, 2, None]), categorical=True)

    assert found == Categorical({"1": 2.0, "2": 1.0}, 0.0, 1.0)
    assert distributions_of_batches([pa.table({"m": [1, 1]})], ["m"])["m"].counts == {"1": 2.0}


def test_a_column_that_has_no_distribution_is_named():
    with pytest.raises(PenstockError, match="Column 'place' has type struct"):
        distributions_of_batches([pa.table({"place": pa.array([{"x": 1.0}])})])


def test_the_most_frequent_categories_are_kept_by_name():
    counts = {str(i): 1.0 + (i < 10) for i in range(MAX_CATEGORIES + 5)}

    found = merge(Categorical(counts), Categorical({"0": 5.0}))

    assert len(found.counts) == MAX_CATEGORIES
    assert (found.counts["0"], found.counts["9"], found.unlisted) == (7.0, 2.0, 5.0)
    assert found.n == sum(counts.values()) + 5


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_smallest_and_largest_numbers_are_measured(scale):
    values = np.random.default_rng(0).normal(0, 1, 3000)
    one, other = numeric(values * scale), numeric((values + 1) * scale)

    for name in ("jensen_shannon_distance", "psi", "kolmogorov_smirnov"):
        expected = distance(name, numeric(values), numeric(values + 1))
        assert distance(name, one, other) == pytest.approx(expected, rel=0.02), name


def test_record_batches_are_read_like_tables():
    table = pa.table({"x": [1.0, None], "c": ["a", "b"]})

    found = distributions_of_batches(iter(table.to_batches()))

    assert (found["x"].n, found["x"].missing, found["c"].n) == (1, 1, 2)
    assert distributions_of_batches([]) == {}


def test_a_column_that_changes_its_type_does_not_merge():
    with pytest.raises(PenstockError, match="holds numbers and another one categories"):
        merge(numeric([1.0]), Categorical({"a": 1.0}))
    assert merge(numeric([], missing=2), Categorical({"a": 1.0}, 0.0, 1.0)).missing == 3
