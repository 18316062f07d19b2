"""Bulk inference: the same rows in the same order with what the model says of each."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from penstock.components.bulk_inferrer.executor import infer
from penstock.components.evaluator.executor import evaluate
from penstock.data.digest import digest_path
from penstock.data.examples import read_manifest, read_table
from penstock.data.row_hash import ContentSum, content_digest, row_hashes
from penstock.errors import PenstockError

ROWS = 1000


class Pair(tf.Module):
    """Two outputs: a chance, and two numbers a row; a missing distance counts as 0."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="distance"),
            tf.TensorSpec([None], tf.string, name="origin"),
        ]
    )
    def serve(self, distance, origin):
        known = tf.where(tf.math.is_nan(distance), 0.0, distance)
        score = known + tf.where(origin == "JFK", 0.5, tf.where(origin == "", -0.5, 0.0))
        return {"chance": tf.sigmoid(score), "both": tf.stack([score, -score], axis=1)}


def chances(table: pa.Table) -> np.ndarray:
    """What `Pair` says, by hand."""
    distance = np.nan_to_num(table["distance"].to_numpy()).astype(np.float32)
    origin = np.array(table["origin"].to_pylist(), object)
    score = distance + np.where(origin == "JFK", 0.5, np.where(origin == None, -0.5, 0))  # noqa: E711
    return 1 / (1 + np.exp(-score))


def flights(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    distance = rng.normal(0, 1.5, rows)
    late = (rng.random(rows) < 1 / (1 + np.exp(-distance))).astype(int)
    origin = [
        None if n % 9 == 0 else str(o) for n, o in enumerate(rng.choice(["JFK", "LGA"], rows))
    ]
    return pa.table(
        {
            "key": np.arange(rows) + 10_000 * seed,
            "distance": pa.array(distance, mask=rng.random(rows) < 0.1),
            "origin": origin,
            "late": late,
        }
    )


@pytest.fixture(scope="module")
def splits():
    return {"train": flights(ROWS, 1), "eval": flights(333, 2)}


@pytest.fixture(scope="module")
def examples(splits, write_tables, tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("bulk") / "examples", splits, shards=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    pair = Pair()
    tf.saved_model.save(pair, str(folder / "serving"), signatures={"serving_default": pair.serve})
    return folder


def bless(folder: Path, model: Path, **content: object) -> Path:
    folder.mkdir(parents=True)
    record = {"blessed": True, "reason": "auc 0.7.", "model_digest": digest_path(model / "serving")}
    (folder / "blessing.json").write_text(json.dumps(record | content))
    return folder


@pytest.fixture
def predict(examples, model, tmp_path):
    def run(**options):
        out = tmp_path / "predictions"
        result = infer(examples, model, out, **{"allow_unvalidated": True, **options})
        return result, out

    return run


def test_every_row_is_predicted_in_its_order(predict, splits):
    result, out = predict(batch_rows=100)

    for split, table in splits.items():
        written = read_table(out, split)
        assert written.column_names == [*table.column_names, "both", "chance"]
        assert written.select(table.column_names).equals(table)
        expected = chances(table)
        np.testing.assert_allclose(written["chance"].to_numpy(), expected, atol=1e-6)
        odds = np.log(expected / (1 - expected))
        both = np.array(written["both"].to_pylist())
        np.testing.assert_allclose(both, np.column_stack([odds, -odds]), atol=1e-4)
    assert result["rows"] == {"train": ROWS, "eval": 333}
    assert result["summary"] == "1,333 rows predicted: train 1,000, eval 333"


def test_the_manifest_accounts_for_rows_model_and_content(predict, examples, model):
    result, out = predict()

    manifest = read_manifest(out)
    assert manifest.accounts == {"in": 1333, "out": 1333, "quarantined": 0, "filtered": 0}
    assert manifest.source["model_digest"] == digest_path(model / "serving")
    assert manifest.source["predictions_of"] == read_manifest(examples).content_digest
    assert (
        manifest.source["clearance"] == "Predicted without validation, as allow_unvalidated says."
    )
    assert manifest.spans == read_manifest(examples).spans
    sums = {
        split: sum((ContentSum.of(row_hashes(b)) for b in table.to_batches()), ContentSum())
        for split, table in {s: read_table(out, s) for s in manifest.splits}.items()
    }
    assert manifest.content_digest == content_digest(sums) == result["content_digest"]
    assert not (out / "work").exists()


def test_predictions_are_examples_that_the_evaluator_evaluates(predict, examples, model, tmp_path):
    config = """
    model_specs { label_key: "late" prediction_key: "chance" }
    slicing_specs {} slicing_specs { feature_keys: "origin" }
    metrics_specs { metrics { class_name: "AUC"
      threshold { value_threshold { lower_bound { value: 0.1 } } } } }
    """
    _, out = predict(columns=["origin", "late"], splits=["eval"])

    outputs = [tmp_path / name for name in ("evaluation", "blessing", "page.html")]
    of_predictions = evaluate(out, None, *outputs, config)
    asked = evaluate(examples, model, *outputs, config)
    assert of_predictions["metrics"] == asked["metrics"]
    assert of_predictions["metrics"]["example_count"] == 333


def test_columns_splits_and_outputs_are_chosen(predict, splits):
    result, out = predict(
        columns=["key"], splits=["eval"], outputs={"chance": "probability"}, batch_rows=7
    )

    assert list(read_manifest(out).splits) == ["eval"]
    written = read_table(out, "eval")
    assert written.column_names == ["key", "probability"]
    assert written["key"].equals(splits["eval"]["key"])
    np.testing.assert_allclose(
        written["probability"].to_numpy(), chances(splits["eval"]), atol=1e-6
    )
    assert result["not_finite"] == {"chance": 0}


def test_no_column_but_the_predictions_need_be_kept(predict):
    _, out = predict(columns=[], outputs={"chance": "chance"})
    assert read_table(out, "eval").column_names == ["chance"]


def test_beam_workers_write_the_same(predict):
    alone, out = predict()
    told = digest_path(out)
    flags = ["--direct_running_mode=multi_threading", "--direct_num_workers=3"]
    spread, out = predict(beam_pipeline_args=flags)
    assert spread == alone
    assert digest_path(out) == told


def test_a_split_without_rows_has_its_columns(write_tables, model, tmp_path, splits):
    empty = {"train": splits["train"], "eval": splits["eval"].slice(0, 0)}
    write_tables(tmp_path / "examples", empty)
    result = infer(tmp_path / "examples", model, tmp_path / "out", allow_unvalidated=True)
    assert result["rows"] == {"train": ROWS, "eval": 0}
    read = read_table(tmp_path / "out", "eval")
    assert read.schema.field("both").type == pa.list_(pa.float32())
    assert read.schema.equals(read_table(tmp_path / "out", "train").schema)


def test_what_is_not_finite_is_kept_and_counted(write_tables, tmp_path):
    class Log(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"predictions": tf.math.log(x)}

    log = Log()
    model = tmp_path / "model"
    tf.saved_model.save(log, str(model / "serving"), signatures={"serving_default": log.serve})
    table = pa.table({"x": [1.0, 0.0, None, -1.0, 2.0]})
    write_tables(tmp_path / "examples", {"eval": table})
    result = infer(tmp_path / "examples", model, tmp_path / "out", allow_unvalidated=True)
    assert result["not_finite"] == {"predictions": 3}
    assert result["summary"] == "5 rows predicted: eval 5; predictions is not finite in 3"
    found = read_table(tmp_path / "out", "eval")["predictions"].to_numpy()
    np.testing.assert_allclose(found, [0, -np.inf, np.nan, np.nan, np.log(2)], rtol=1e-6)


def test_a_feature_that_the_examples_lack_is_missing_in_every_row_if_so_wanted(
    write_tables, model, tmp_path, splits
):
    table = splits["eval"].select(["key", "distance", "late"])
    write_tables(tmp_path / "examples", {"eval": table})
    with pytest.raises(PenstockError, match=r"takes 'origin', which the examples do not have"):
        infer(tmp_path / "examples", model, tmp_path / "out", allow_unvalidated=True)
    assert not (tmp_path / "out").exists()

    options = {"allow_unvalidated": True, "missing_features": "as_missing"}
    infer(tmp_path / "examples", model, tmp_path / "out", **options)
    unknown = table.append_column("origin", pa.nulls(len(table), pa.string()))
    written = read_table(tmp_path / "out", "eval")
    np.testing.assert_allclose(written["chance"].to_numpy(), chances(unknown), atol=1e-6)
    assert read_manifest(tmp_path / "out").source["absent_features"] == ["origin"]


def test_only_a_blessed_model_is_used(examples, model, tmp_path):
    out = tmp_path / "out"

    def refused(match, **options):
        with pytest.raises(PenstockError, match=match):
            infer(examples, model, out, **options)
        assert not out.exists()

    refused("no blessing is wired to the bulk_inferrer; wire the evaluator's")
    bad = bless(tmp_path / "bad", model, blessed=False, reason="auc 0.5 < 0.6.")
    refused(r"not blessed: auc 0\.5 < 0\.6", blessing=bad)
    refused(r"not blessed: auc 0\.5 < 0\.6", blessing=bad, allow_unvalidated=True)
    refused("of another model", blessing=bless(tmp_path / "other", model, model_digest="sha256:1"))
    forced = {"by": "ana", "reason": "known", "expires": "2020-01-01T00:00:00+00:00"}
    expired = bless(tmp_path / "expired", model, blessed=False, forced=forced)
    refused("forced by ana expired", blessing=expired)

    forced["expires"] = "2999-01-01T00:00:00+00:00"
    infer(examples, model, out, bless(tmp_path / "forced", model, blessed=False, forced=forced))
    assert read_manifest(out).source["clearance"].startswith("Forced by ana until 2999")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"splits": ["test"]}, r"no split 'test' in the examples; they have 'train', 'eval'"),
        ({"splits": []}, r"splits is empty; name at least one"),
        ({"columns": ["speed"]}, r"no column 'speed' in the examples"),
        ({"outputs": {"score": "x"}}, r"'score', which the model does not give; it gives both, ch"),
        ({"outputs": {}}, r"outputs is empty; the model gives both, chance"),
        ({"outputs": {"chance": "late"}}, r"'chance' would become the column 'late', which is the"),
        ({"outputs": {"chance": "x", "both": "x"}}, r"'both' would become the column 'x'"),
        ({"outputs": {"chance": ""}}, r"gives 'chance' the column ''"),
        ({"signature": "other"}, r"no signature 'other'; it has serving_default"),
        ({"missing_features": "skip"}, r"missing_features is 'skip'; give fail or as_missing"),
        ({"batch_rows": 0}, r"batch_rows is 0; give 1 or more"),
        ({"beam_pipeline_args": ["runner"]}, r"'runner', which is not a flag"),
    ],
)
def test_a_wrong_choice_is_one_sentence_and_leaves_nothing(predict, tmp_path, options, sentence):
    with pytest.raises(PenstockError, match=sentence):
        predict(**options)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_is_not_as_the_manifest_says_is_named(examples, model, tmp_path):
    copied = shutil.copytree(examples, tmp_path / "examples")
    file = copied / "Split-eval" / "part-00001.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(PenstockError, match=r"part-00001\.parquet has 110 rows and the manifest s"):
        infer(copied, model, tmp_path / "out", allow_unvalidated=True)
    file.write_bytes(b"PAR1 no more")
    with pytest.raises(PenstockError, match=r"part-00001\.parquet cannot be read as Parquet"):
        infer(copied, model, tmp_path / "out", allow_unvalidated=True)
    assert not (tmp_path / "out").exists()


def test_no_model_is_one_sentence(examples, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(PenstockError, match="There is no model at"):
        infer(examples, tmp_path / "model", tmp_path / "out", allow_unvalidated=True)
