"""Where the definition is TFDV's, the number is TFDV's: held against its own comparators."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from penstock.drift.measures import distance
from penstock.drift.statistics import distributions_of_statistics

# TFDV's own sums over the column with infinities.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")

ROWS = 3000


def table(seed: int, shift: float) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    outlier = random.normal(shift, 1, ROWS)
    outlier[0] = 1e6
    holes = random.normal(shift, 1, ROWS)
    holes[: ROWS // 10] = np.nan
    infinite = random.normal(shift, 1, ROWS)
    infinite[: ROWS // 20] = np.inf
    return pd.DataFrame(
        {
            "normal": random.normal(shift, 1, ROWS),
            "heavy": random.lognormal(shift, 2, ROWS),
            "outlier": outlier,
            "counts": random.poisson(2 + shift, ROWS),
            "flag": (random.random(ROWS) < 0.05 + shift / 4).astype(int),
            "constant": np.full(ROWS, 7.0 + (shift > 0.4)),
            "nan": holes,
            "same_nan": np.where(np.arange(ROWS) < ROWS * (0.1 + shift / 10), np.nan, 1.0),
            "infinite": infinite,
            "carrier": random.choice(["AA", "UA", "DL", f"only-{shift}"], ROWS),
            "many": [f"v{v}" for v in random.zipf(1.6, ROWS) % 2000],
        }
    )


@pytest.fixture(scope="module")
def frames():
    return {shift: table(seed, shift) for seed, shift in enumerate((0.0, 0.1, 0.5, 3.0))}


@pytest.fixture(scope="module")
def statistics(frames):
    return {shift: statistics_of(frame) for shift, frame in frames.items()}


def statistics_of(frame: pd.DataFrame) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics, NaN kept as values: of a frame, TFDV would make them missing."""
    offsets = pa.array(np.arange(len(frame) + 1, dtype=np.int32))
    arrays = [
        pa.ListArray.from_arrays(offsets, pa.array(frame[name].to_numpy(), from_pandas=False))
        for name in frame
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(frame))
    return stats_impl.generate_statistics_in_memory(batch)


def tfdv_says(previous, statistics, feature: str, comparator: schema_pb2.FeatureComparator):
    schema = tfdv.infer_schema(statistics)
    tfdv.get_feature(schema, feature).drift_comparator.CopyFrom(comparator)
    anomalies = tfdv.validate_statistics(statistics, schema, previous_statistics=previous)
    (info,) = anomalies.drift_skew_info
    (measurement,) = info.drift_measurements
    return measurement


def comparator(kind: str, source: int | None = None) -> schema_pb2.FeatureComparator:
    made = schema_pb2.FeatureComparator()
    getattr(made, kind).threshold = 0.5
    if source is not None:
        made.jensen_shannon_divergence.source.type = source
    return made


def ours(name: str, previous, statistics, feature: str) -> float:
    sides = [distributions_of_statistics(s.datasets[0])[feature] for s in (previous, statistics)]
    return distance(name, *sides)


def test_l_infinity_is_tfdvs_where_the_rank_histogram_is_cut():
    random = np.random.default_rng(5)
    sides = [
        statistics_of(pd.DataFrame({"id": [f"v{v}" for v in random.zipf(1.2, 3 * ROWS) % 50_000]}))
        for _ in range(2)
    ]
    named = sides[0].datasets[0].features[0].string_stats
    assert named.unique > len(named.rank_histogram.buckets)

    found = ours("l_infinity", *sides, "id")

    said = tfdv_says(*sides, "id", comparator("infinity_norm"))
    assert found == pytest.approx(said.value, abs=1e-9)


SHIFTS = (0.0, 0.1, 0.5, 3.0)
NUMBERS = (
    "normal",
    "heavy",
    "outlier",
    "counts",
    "flag",
    "constant",
    "nan",
    "same_nan",
    "infinite",
)


@pytest.mark.parametrize("feature", ["carrier", "many"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("l_infinity", "infinity_norm"),
        ("jensen_shannon_divergence", "jensen_shannon_divergence"),
        ("normalized_absolute_difference", "normalized_abs_difference"),
    ],
)
@pytest.mark.parametrize("shift", SHIFTS)
def test_number_of_categories_is_tfdvs(statistics, feature, name, kind, shift):
    said = tfdv_says(statistics[0.0], statistics[shift], feature, comparator(kind))

    found = ours(name, statistics[0.0], statistics[shift], feature)

    assert said.type == anomalies_pb2.DriftSkewInfo.Measurement.Type.Value(
        {
            "infinity_norm": "L_INFTY",
            "normalized_abs_difference": "NORMALIZED_ABSOLUTE_DIFFERENCE",
        }.get(kind, "JENSEN_SHANNON_DIVERGENCE")
    )
    assert found == pytest.approx(said.value, abs=1e-9)


@pytest.mark.parametrize("feature", NUMBERS)
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("tfdv_jensen_shannon_standard", None),
        ("tfdv_jensen_shannon_standard", schema_pb2.HistogramSelection.STANDARD),
        ("tfdv_jensen_shannon_quantiles", schema_pb2.HistogramSelection.QUANTILES),
    ],
)
@pytest.mark.parametrize("shift", SHIFTS)
def test_number_of_numbers_is_tfdvs(statistics, feature, name, source, shift):
    wanted = comparator("jensen_shannon_divergence", source)
    said = tfdv_says(statistics[0.0], statistics[shift], feature, wanted)

    found = ours(name, statistics[0.0], statistics[shift], feature)

    assert found == pytest.approx(said.value, abs=1e-9)
