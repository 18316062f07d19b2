"""The options of statistics_gen, against TFDV's own pipeline with the same options."""

import sys

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from kfp import dsl
from tensorflow_data_validation.utils.slicing_util import get_feature_value_slicer
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.components.artifacts import Examples, Schema, Statistics
from penstock.components.statistics_gen.batches import read_list_batches
from penstock.components.statistics_gen.component import statistics_gen
from penstock.components.statistics_gen.counting import CountShard, ShardTask
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data.beam import pipeline_options
from penstock.data.examples import shard_paths
from penstock.data.statistics import read_statistics
from penstock.errors import PenstockError

ROWS = 3000


@pytest.fixture(scope="module")
def artifacts(write_artifacts, tmp_path_factory):
    """Flights of which those of UA are late, with a month that the schema calls a category."""
    draw = np.random.default_rng(2)
    carrier = draw.choice(["UA", "AA", "B6"], ROWS, p=[0.5, 0.3, 0.2])
    late = np.where(carrier == "UA", draw.random(ROWS) < 0.8, draw.random(ROWS) < 0.1)
    table = pa.table(
        {
            "month": draw.integers(1, 13, ROWS),
            "delay": np.where(draw.random(ROWS) < 0.1, None, draw.normal(5, 30, ROWS)),
            "carrier": carrier,
            "noise": draw.choice(["x", "y"], ROWS),
            "importance": draw.random(ROWS) * 3,
            "late": np.where(late, "yes", "no"),
        }
    )
    splits = {"train": table.slice(0, 2000), "eval": table.slice(2000)}
    found = write_artifacts(tmp_path_factory.mktemp("options"), splits, shards=3)
    schema = tfdv.load_schema_text(str(found.schema / "schema.pbtxt"))
    month = next(feature for feature in schema.feature if feature.name == "month")
    month.int_domain.CopyFrom(schema_pb2.IntDomain(min=1, max=12, is_categorical=True))
    tfdv.write_schema_text(schema, str(found.schema / "schema.pbtxt"))
    return found


def tfdv_statistics(artifacts, split, **options):
    """What tfdv.GenerateStatistics makes of the same rows."""
    files = [str(file) for file in shard_paths(artifacts.examples, split)]
    names = ["month", "delay", "carrier", "noise", "importance", "late"]
    batches = [batch for file in files for batch in read_list_batches(file, names)]
    target = str(artifacts.schema.parent / "oracle.binpb")
    # TFDV's lift declares types that Beam's own inference contradicts.
    untyped = pipeline_options(["--no_pipeline_type_check"])
    with beam.Pipeline(options=untyped) as pipeline:
        _ = (
            pipeline
            | beam.Create(batches, reshuffle=False).with_output_types(pa.RecordBatch)
            | tfdv.GenerateStatistics(tfdv.StatsOptions(**options))
            | tfdv.WriteStatisticsToBinaryFile(target)
        )
    return tfdv.load_stats_binary(target)


def features_of(dataset):
    return {feature.path.step[0]: feature for feature in dataset.features}


def assert_alike(mine, theirs):
    """Equal but for quantiles, and for the last digits of sums in another order."""
    assert mine.num_examples == theirs.num_examples
    np.testing.assert_allclose(mine.weighted_num_examples, theirs.weighted_num_examples)
    mine, theirs = features_of(mine), features_of(theirs)
    assert set(mine) == set(theirs)
    for name, feature in mine.items():
        kind = feature.WhichOneof("stats")
        assert kind == theirs[name].WhichOneof("stats")
        a, b = getattr(feature, kind), getattr(theirs[name], kind)
        assert a.common_stats.num_missing == b.common_stats.num_missing
        np.testing.assert_allclose(
            a.common_stats.weighted_common_stats.num_non_missing,
            b.common_stats.weighted_common_stats.num_non_missing,
        )
        if kind == "num_stats":
            np.testing.assert_allclose(
                [a.mean, a.std_dev, a.weighted_numeric_stats.mean],
                [b.mean, b.std_dev, b.weighted_numeric_stats.mean],
            )
        else:
            assert a.unique == b.unique
            assert a.top_values == b.top_values
            for x, y in zip(
                a.weighted_string_stats.top_values,
                b.weighted_string_stats.top_values,
                strict=True,
            ):
                assert x.value == y.value
                np.testing.assert_allclose(x.frequency, y.frequency)


def test_weights_slices_and_categories_are_those_of_tfdv(artifacts, tmp_path):
    generate_statistics(
        artifacts.examples,
        tmp_path / "out",
        weight_column="importance",
        # The third is within the first.
        slices=[
            {"carrier": []},
            {"carrier": ["UA", "B6"], "month": ["1", "2"]},
            {"carrier": ["UA"]},
        ],
        schema_path=artifacts.schema,
    )
    schema = tfdv.load_schema_text(str(artifacts.schema / "schema.pbtxt"))
    expected = tfdv_statistics(
        artifacts,
        "train",
        schema=schema,
        weight_feature="importance",
        experimental_slice_functions=[
            get_feature_value_slicer({"carrier": None}),
            get_feature_value_slicer({"carrier": [b"UA", b"B6"], "month": [1, 2]}),
        ],
    )
    expected = {dataset.name: dataset for dataset in expected.datasets}
    (whole,) = read_statistics(tmp_path / "out", "train").datasets
    assert_alike(whole, expected.pop("All Examples"))
    assert features_of(whole)["month"].string_stats.unique == 12
    slices = tfdv.load_stats_binary(f"{tmp_path}/out/Split-train/slices.binpb").datasets
    assert {dataset.name for dataset in slices} == set(expected)
    assert {"carrier_UA", "carrier_B6_month_2"} < set(expected)
    for dataset in slices:
        assert_alike(dataset, expected[dataset.name])
    page = (tmp_path / "out" / "Split-train" / "slices.html").read_text()
    assert "carrier_AA" in page
    table = pd.read_parquet(tmp_path / "out" / "statistics.parquet")
    assert set(table[table["split"] == "train"]["slice"].dropna()) == set(expected)
    assert len(table[table["slice"].isna()]) == 12


def test_statistics_about_the_label_are_those_of_tfdv_and_know_what_matters(artifacts, tmp_path):
    for name in ("one", "two"):
        generate_statistics(
            artifacts.examples,
            tmp_path / name,
            exclude_splits=["eval"],
            label="late",
            schema_path=artifacts.schema,
        )
    (dataset,) = read_statistics(tmp_path / "one", "train").datasets
    assert dataset.num_examples == 2000
    schema = tfdv.load_schema_text(str(artifacts.schema / "schema.pbtxt"))
    expected = tfdv_statistics(artifacts, "train", schema=schema, label_feature="late")
    mine, theirs = features_of(dataset), features_of(expected.datasets[0])

    def custom(feature):
        return {stat.name: stat for stat in feature.custom_stats}

    for name in ("carrier", "noise", "month"):
        lifts = [stat for stat in custom(theirs[name]) if "Lift" in stat]
        assert len(lifts) == 2  # of the labels yes and no
        for lift in lifts:
            assert custom(mine[name])[lift] == custom(theirs[name])[lift]
    information = {
        name: custom(mine[name])["mean_sklearn_adjusted_mutual_information"].num
        for name in ("carrier", "noise")
    }
    assert information["carrier"] > 10 * max(information["noise"], 0.001)
    contents = [(tmp_path / n / "Split-train" / "stats.binpb").read_bytes() for n in ("one", "two")]
    assert contents[0] == contents[1]


def test_columns_rates_and_sizes_are_as_chosen(artifacts, tmp_path):
    metadata = generate_statistics(
        artifacts.examples,
        tmp_path / "out",
        sample_rate=0.1,
        sample_rates={"eval": 1.0},
        include_columns=["carrier", "delay"],
        options={"num_top_values": 2.0, "num_histogram_buckets": 5},
    )
    assert metadata["rows"]["eval"] == 1000
    assert 100 < metadata["rows"]["train"] < 300
    (dataset,) = read_statistics(tmp_path / "out", "eval").datasets
    found = features_of(dataset)
    assert list(found) == ["delay", "carrier"]
    assert len(found["carrier"].string_stats.top_values) == 2
    assert len(found["delay"].num_stats.histograms[0].buckets) == 5
    generate_statistics(artifacts.examples, tmp_path / "out", exclude_columns=["carrier", "delay"])
    (dataset,) = read_statistics(tmp_path / "out", "eval").datasets
    assert list(features_of(dataset)) == ["month", "noise", "importance", "late"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"include_columns": ["x"]},
            "include_columns names the column 'x', which is not among those counted; there are "
            "month, delay, carrier, noise, importance, late.",
        ),
        (
            {"include_columns": ["month"], "exclude_columns": ["late"]},
            "Both include_columns and exclude_columns are given; give one of the two.",
        ),
        (
            {"exclude_columns": ["month", "delay", "carrier", "noise", "importance", "late"]},
            "exclude_columns leaves no column; keep at least one.",
        ),
        (
            {"weight_column": "importance", "include_columns": ["month"]},
            "weight_column names the column 'importance', which is not among those counted; there "
            "are month.",
        ),
        (
            {"weight_column": "carrier"},
            "weight_column 'carrier' has type string; a weight must be a number.",
        ),
        (
            {"weight_column": "delay"},
            "The weight 'delay' is missing, negative or not finite in some row of split 'train'; "
            "give every row a weight of at least 0.",
        ),
        (
            {"label": "late"},
            "The label 'late' needs a schema that describes it, from which TFDV learns which "
            "features are categories; give the schema of schema_gen.",
        ),
        (
            {"sample_rates": {"test": 0.5}},
            "sample_rates names 'test', which is no split that is counted; there are train, eval.",
        ),
        (
            {"sample_rates": {"eval": 2}},
            "sample_rates['eval'] is 2; give a share above 0 and up to 1, such as 0.1.",
        ),
        (
            {"slices": [{"delay": []}]},
            "slices[0] slices by 'delay' of type double; slice by strings or integers.",
        ),
        (
            {"slices": [{"month": ["one"]}]},
            "slices[0] wants the value 'one' of the integers 'month'; give whole numbers.",
        ),
        (
            {"slices": [{}]},
            "slices[0] is {}; give the columns with the values wanted, such as "
            '{"carrier": ["UA"]}, with [] for every value.',
        ),
        (
            {"options": {"num_top_values": 0}},
            "The option num_top_values is 0; give a whole number of at least 1.",
        ),
        (
            {"options": {"epsilon": 1.5}},
            "The option epsilon is 1.5; give a share between 0 and 1.",
        ),
        (
            {"options": {"top": 1}},
            "There is no option 'top'; there are enable_semantic_domain_stats, epsilon, "
            "frequency_threshold, num_histogram_buckets, num_quantiles_histogram_buckets, "
            "num_rank_histogram_buckets, num_top_values, num_values_histogram_buckets, "
            "semantic_domain_stats_sample_rate, weighted_frequency_threshold.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(artifacts, tmp_path, parameters, sentence):
    with pytest.raises(PenstockError) as error:
        generate_statistics(artifacts.examples, tmp_path / "out", **parameters)
    assert str(error.value).partition(" [while running")[0] == sentence
    assert not (tmp_path / "out").exists()


def test_slices_without_end_are_refused(artifacts, monkeypatch):
    monkeypatch.setattr(sys.modules[CountShard.__module__], "MOST_SLICES", 5)
    counting = CountShard(["month"], tfdv.StatsOptions(), [{"month": None}])
    counting.setup()
    shard = shard_paths(artifacts.examples, "train")[0]
    with pytest.raises(PenstockError, match="The slices are more than 5; name the values wanted"):
        list(counting.process(ShardTask("train", str(shard), 1.0)))


def test_semantic_domains_are_told(write_artifacts, tmp_path):
    times = [f"2024-01-{day:02d} 10:00:00" for day in range(1, 29)] * 10
    found = write_artifacts(tmp_path, {"train": pa.table({"at": times})})
    generate_statistics(
        found.examples,
        tmp_path / "out",
        options={"enable_semantic_domain_stats": True},
    )
    (dataset,) = read_statistics(tmp_path / "out", "train").datasets
    (feature,) = dataset.features
    assert feature.string_stats.unique == 28
    assert "time_domain" in str(feature.custom_stats)


def test_the_component_passes_the_schema_and_options_on(artifacts, tmp_path):
    statistics = Statistics(uri=str(tmp_path / "out"))
    statistics_gen.python_func(
        examples=Examples(uri=str(artifacts.examples)),
        statistics=statistics,
        report=dsl.HTML(uri=str(tmp_path / "report.html")),
        schema=Schema(uri=str(artifacts.schema)),
        include_columns=["month", "carrier"],
        slices=[{"carrier": ["UA"]}],
        options={"num_top_values": 3},
    )
    assert statistics.metadata["summary"] == (
        "2 columns over the rows of train 2,000, eval 1,000; 2 slices"
    )
    (dataset,) = read_statistics(tmp_path / "out", "train").datasets
    assert len(features_of(dataset)["month"].string_stats.top_values) == 3
