"""TFDV and TFMA read Examples directly."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from apache_beam.testing.util import assert_that, equal_to
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.tfxio import dataset_options

from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data import shards as shards_module
from penstock.data.beam import pipeline_options
from penstock.data.examples import read_table
from penstock.data.statistics import read_statistics
from penstock.data.tfxio import ExamplesTFXIO
from penstock.errors import PenstockError

SCHEMA = text_format.Parse(
    """
    feature { name: "late" type: INT shape {} presence { min_fraction: 1 } }
    feature { name: "chance" type: FLOAT shape {} presence { min_fraction: 1 } }
    feature { name: "carrier" type: BYTES }
    feature { name: "stops" type: INT }
    """,
    schema_pb2.Schema(),
)


@pytest.fixture
def folder(write_examples, monkeypatch):
    """1,000 predictions in five shards."""
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 200)
    draw = np.random.default_rng(0)
    late = draw.integers(0, 2, 1000)
    table = pa.table(
        {
            "late": late,
            "chance": np.clip(late * 0.3 + draw.random(1000) * 0.7, 0, 1),
            "carrier": pa.array(draw.choice(["UA", "AA", None], 1000).tolist()),
            "flag": pa.array([None if n % 3 == 0 else n % 2 == 0 for n in range(1000)]),
            "nothing": pa.nulls(1000),
            "stops": [list(range(n % 3)) for n in range(1000)],
            "trip": [{"n": n, "codes": [str(n % 4)]} if n % 7 else None for n in range(1000)],
        }
    )
    return write_examples(train=table, eval=table.slice(0, 0))


def batches_of(source, rows=70):
    return list(source.RecordBatches(dataset_options.RecordBatchesOptions(rows, num_epochs=1)))


def test_tfdv_over_it_gives_our_statistics(folder, tmp_path):
    generate_statistics(folder, tmp_path / "out")
    source = ExamplesTFXIO(folder, "train")
    with beam.Pipeline(options=pipeline_options()) as pipeline:
        _ = (
            pipeline
            | source.BeamSource(64)
            | tfdv.GenerateStatistics()
            | tfdv.WriteStatisticsToBinaryFile(str(tmp_path / "theirs"))
        )
    (theirs,) = tfdv.load_stats_binary(str(tmp_path / "theirs")).datasets
    (ours,) = read_statistics(tmp_path / "out", "train").datasets
    assert theirs.num_examples == ours.num_examples == 1000
    expected = {tuple(f.path.step): f for f in theirs.features}
    assert {tuple(f.path.step) for f in ours.features} == set(expected)
    for feature in ours.features:
        other = expected[tuple(feature.path.step)]
        for each in (feature, other):
            if each.HasField("num_stats"):
                # Sketches, and a rounding error.
                each.num_stats.ClearField("histograms")
                each.num_stats.ClearField("median")
                each.num_stats.std_dev = round(each.num_stats.std_dev, 9)
                each.num_stats.mean = round(each.num_stats.mean, 9)
            common = getattr(each, each.WhichOneof("stats")).common_stats
            common.ClearField("num_values_histogram")
        assert feature == other


def test_tfma_over_it_gives_the_metrics(folder, tmp_path):
    config = text_format.Parse(
        """
        model_specs { label_key: "late" prediction_key: "chance" }
        slicing_specs {}
        slicing_specs { feature_keys: "carrier" }
        metrics_specs { metrics { class_name: "ExampleCount" } metrics { class_name: "AUC" }
                        metrics { class_name: "BinaryAccuracy" } }
        """,
        config_pb2.EvalConfig(),
    )
    source = ExamplesTFXIO(folder, "train", ["late", "chance", "carrier"])
    with beam.Pipeline(options=pipeline_options()) as pipeline:
        _ = (
            pipeline
            | source.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=config, output_path=str(tmp_path / "tfma")
            )
        )
    found = {
        slice_: {name: v["doubleValue"] for name, v in metrics[""][""].items()}
        for slice_, metrics in tfma.load_eval_result(str(tmp_path / "tfma")).slicing_metrics
    }
    frame = read_table(folder, "train", ["late", "chance", "carrier"]).to_pandas()
    right = (frame["chance"] > 0.5) == frame["late"]
    np.testing.assert_allclose(found[()]["binary_accuracy"], right.mean(), atol=1e-6)
    late, on_time = (frame["chance"][frame["late"] == k].to_numpy() for k in (1, 0))
    auc = (late[:, None] > on_time).mean()
    np.testing.assert_allclose(found[()]["auc"], auc, atol=1e-3)
    for carrier in ("UA", "AA"):
        chosen = frame["carrier"] == carrier
        assert found[(("carrier", carrier),)]["example_count"] == chosen.sum()
        accuracy = found[(("carrier", carrier),)]["binary_accuracy"]
        np.testing.assert_allclose(accuracy, right[chosen].mean(), atol=1e-6)


def test_raw_records_are_the_rows_as_tf_examples(folder):
    names = ["late", "chance", "carrier", "flag", "nothing", "stops"]
    source = ExamplesTFXIO(folder, "train", names, raw_record_column_name=tfma.ARROW_INPUT_COLUMN)
    batches = batches_of(source)
    assert {batch.schema for batch in batches} == {source.ArrowSchema()}
    rows = read_table(folder, "train", names).to_pylist()
    found = [r for batch in batches for (r,) in batch.column(len(names)).to_pylist()]
    assert sorted(map(str, map(parsed, found))) == sorted(map(str, map(plain, rows)))
    with pytest.raises(PenstockError, match=r"'trip' has type struct<.*a tf.Example does not"):
        ExamplesTFXIO(folder, "train", raw_record_column_name="raw")


def parsed(record):
    features = tf.train.Example.FromString(record).features.feature
    lists = {k: getattr(v, v.WhichOneof("kind") or "int64_list").value for k, v in features.items()}
    return {name: list(values) for name, values in sorted(lists.items()) if values}


def plain(row):
    lists = {k: v if isinstance(v, list) else [v] for k, v in sorted(row.items())}
    kinds = {str: str.encode, bool: int, float: lambda v: float(np.float32(v)), int: int}
    return {
        name: [kinds[type(v)](v) for v in values]
        for name, values in lists.items()
        if values and values != [None]
    }


def test_tensors_follow_the_schema(folder):
    source = ExamplesTFXIO(folder, "train", ["late", "chance", "carrier", "stops"], SCHEMA)
    options = dataset_options.TensorFlowDatasetOptions(
        64, num_epochs=1, shuffle=False, label_key="late"
    )
    found = list(source.TensorFlowDataset(options))
    rows = read_table(folder, "train")
    chances = np.concatenate([features["chance"].numpy() for features, _ in found])
    np.testing.assert_array_equal(chances, rows["chance"])
    np.testing.assert_array_equal(np.concatenate([y.numpy() for _, y in found]), rows["late"])
    stops = [v for features, _ in found for v in features["stops"].values.numpy().tolist()]
    assert stops == [v for row in rows["stops"].to_pylist() for v in row]
    projected = source.Project(["chance"])
    assert projected.ArrowSchema().names == ["chance"]
    assert list(projected.TensorAdapter().TypeSpecs()) == ["chance"]
    full = dataset_options.RecordBatchesOptions(150, drop_final_batch=True, num_epochs=2)
    assert [batch.num_rows for batch in source.RecordBatches(full)] == [150] * 10


def test_what_it_cannot_do_is_said(folder):
    source = ExamplesTFXIO(folder, "train")
    with pytest.raises(PenstockError, match="need a schema that tells which columns are dense"):
        source.TensorRepresentations()
    with pytest.raises(PenstockError, match="does not shuffle; set shuffle=False"):
        source.TensorFlowDataset(dataset_options.TensorFlowDatasetOptions(10))
    with pytest.raises(PenstockError, match="There is no column 'x'"):
        ExamplesTFXIO(folder, "train", ["x"])
    nothing = ExamplesTFXIO(folder, "eval")
    assert batches_of(nothing) == []
    with beam.Pipeline(options=pipeline_options()) as pipeline:
        assert_that(pipeline | nothing.BeamSource(), equal_to([]))
