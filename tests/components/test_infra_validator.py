"""The promises of components/infra_validator/README.md, on models that the trainer exported."""

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import yaml

import penstock
from penstock.components.infra_validator.executor import validate_infra
from penstock.components.infra_validator.policy import Policy, read_policy
from penstock.components.trainer.executor import train
from penstock.components.transform.executor import fit_transform
from penstock.data.digest import digest_path
from penstock.evaluation.infra_blessing import read_infra_blessing, warmup_file
from penstock.models.keras_model import save_keras
from penstock.models.loading import load_model
from penstock.models.parity import read_parity

CHOSEN = str(Path(__file__).parent / "authors" / "chosen.py")
TRIPS = str(Path(__file__).parent / "authors" / "trips.py")
README = Path(penstock.__file__).parent / "components/infra_validator/README.md"
SERIALIZED = "serving_examples"
# No test is to fail because the machine is busy.
PATIENT = {
    "batches": [{"rows": rows, "p50_ms": 6e4, "p99_ms": 6e4} for rows in (1, 32, 1024)],
    "startup_seconds": 600,
    "timeout_seconds": 600,
}


def trips(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    gone = random.random((3, rows)) < 0.08
    distance = random.gamma(4.0, 250.0, rows)
    return pa.table(
        {
            "distance": pa.array(distance, pa.float64(), mask=gone[0]),
            "carrier": pa.array(random.choice(["UA", "B6", "EV", ""], rows), mask=gone[1]),
            "hour": pa.array(random.integers(0, 24, rows), mask=gone[2]),
            "tail": np.char.add("N", random.integers(0, 50, rows).astype(str)),
            "late": (distance > 1000).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    return write_artifacts(folder, {"train": trips(1000, 0), "eval": trips(300, 1)}, shards=2)


@pytest.fixture(scope="module")
def graph(given, tmp_path_factory) -> Path:
    """Preprocessing for the models of `chosen.py`."""
    folder = tmp_path_factory.mktemp("graph") / "graph"
    fit_transform(given.examples, given.statistics, given.schema, folder, CHOSEN)
    return folder


@pytest.fixture(scope="module")
def model(given, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    graph = folder / "graph"
    fit_transform(given.examples, given.statistics, given.schema, graph, TRIPS)
    train(given.examples, graph, given.schema, folder / "model", TRIPS, "late", 20, 64)
    return folder / "model"


@pytest.fixture(scope="module")
def validate(given, tmp_path_factory):
    def run(model: Path, **policy):
        folder = tmp_path_factory.mktemp("validated")
        paths = folder / "blessing", folder / "report.html"
        result = validate_infra(
            model, given.examples, given.schema, *paths, policy=PATIENT | policy
        )
        return folder / "blessing", result

    return run


@pytest.fixture(scope="module")
def validated(model, validate):
    return validate(model)


@pytest.fixture(scope="module")
def checks(validated):
    record = read_infra_blessing(validated[0]).record
    return {(c["of"], c["check"], c["rows"]): c for c in record["checks"]}


def copied(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder / "copy")
    return folder / "copy"


def test_a_model_that_the_trainer_exported_is_blessed(validated, model):
    folder, result = validated

    found = read_infra_blessing(folder)

    assert found.blessed is True, found.reason
    assert found.model_digest == digest_path(model / "serving")
    assert found.record["rows"] == 300 and found.record["kind"] == "saved_model"
    assert found.record["signatures"] == [
        {"name": "serving_default", "sends": "rows", "output": "predictions"},
        {"name": SERIALIZED, "sends": "examples", "output": "predictions"},
    ]
    assert result["metadata"]["checks"] == len(found.record["checks"])
    assert result["metadata"]["failed_checks"] == 0
    assert "# Can be served" in result["markdown"]


def test_every_promise_is_checked_by_both_signatures(checks):
    for of in ("serving_default", SERIALIZED):
        for rows in (1, 32, 1024):
            for name in ("batch_independence", "latency_p50", "latency_p99"):
                assert checks[of, name, rows]["passed"] is True
                assert checks[of, name, rows]["value"] <= checks[of, name, rows]["budget"]
        for name in ("missing_optional", "unseen_category", "nan", "empty_string", "long_string"):
            assert checks[of, name, None]["passed"] is True
            assert checks[of, name, None]["words"].endswith("are answered.")
        assert checks[of, "concurrency", None]["passed"] is True
        assert checks[of, "repeatability", None]["passed"] is True
    assert checks[SERIALIZED, "agreement", None]["passed"] is True
    assert 0 < checks["", "startup", None]["value"] < 600
    assert 100 < checks["", "memory", None]["value"] < 4096


def test_answers_are_held_to_those_of_the_trained_model(model, checks):
    kept = read_parity(model)
    expected = load_model(model).predict(kept.rows)

    assert checks["serving_default", "parity", None]["passed"] is True
    assert kept.tolerance == 1e-5 and kept.rows.num_rows == 64
    np.testing.assert_allclose(kept.answers, expected, rtol=1e-5, atol=1e-5)
    assert kept.rows["carrier"].to_pylist() == trips(300, 1)["carrier"].to_pylist()[:64]


def test_warm_up_requests_are_what_tensorflow_serving_replays(validated, model):
    from tensorflow_serving.apis import prediction_log_pb2

    served = tf.saved_model.load(str(model / "serving"))
    rows = trips(300, 1)
    # The first rows of each of the two shards, as many as the largest request has, from the top.
    expected = load_model(model).predict(rows)
    replayed = []
    for record in tf.data.TFRecordDataset(str(warmup_file(validated[0]))).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        name = request.model_spec.signature_name
        found = served.signatures[name](**inputs)["predictions"].numpy()
        replayed.append((name, len(found)))
        np.testing.assert_allclose(
            found, np.resize(expected, (len(found), 1)), rtol=1e-5, atol=1e-5
        )

    assert replayed == [(of, n) for of in ("serving_default", SERIALIZED) for n in (1, 32, 1024)]


@pytest.mark.parametrize("kind", ["sklearn", "xgboost"])
def test_an_estimator_is_asked_behind_its_preprocessing(kind, graph, given, validate, tmp_path):
    settings = {"custom_config": {"does": f"is_{kind}"}, "train_steps": 1}
    train(given.examples, graph, given.schema, tmp_path / "model", CHOSEN, "late", **settings)

    folder, result = validate(tmp_path / "model")
    record = read_infra_blessing(folder).record
    parity = next(c for c in record["checks"] if c["check"] == "parity")

    assert result["blessed"] is True, result["reason"]
    assert record["kind"] == kind and record["signatures"][0]["name"] == "predict"
    assert parity["passed"] is True and parity["value"] <= 1e-5
    assert warmup_file(folder) is None


def test_a_keras_model_on_raw_columns_is_asked(validate, tmp_path):
    distance = keras.Input((), name="distance")
    answer = keras.layers.Rescaling(0.001)(keras.ops.expand_dims(distance, -1))
    save_keras(keras.Model({"distance": distance}, answer), tmp_path / "model/serving")

    folder, result = validate(tmp_path / "model")
    record = read_infra_blessing(folder).record
    failed = [c["check"] for c in record["checks"] if c["passed"] is False]

    # It has nothing that makes a number of a missing one, and some of the real rows lack it.
    assert failed == ["answers", "missing_optional", "nan"] and record["kind"] == "keras"
    assert "300" not in result["reason"] and "not a finite number" in result["reason"]


def test_a_saved_model_with_files_missing_is_told_so(model, validate, tmp_path):
    damaged = copied(model, tmp_path)
    shutil.rmtree(damaged / "serving/variables")

    folder, result = validate(damaged)

    assert result["blessed"] is False
    assert "The model cannot be loaded:" in result["reason"] and "variables" in result["reason"]
    assert warmup_file(folder) is None


def test_a_saved_model_with_an_operation_of_its_own_is_told_so(model, validate, tmp_path):
    custom = copied(model, tmp_path)
    graph = custom / "serving/saved_model.pb"
    content = graph.read_bytes()
    assert b"\x12\x07Sigmoid" in content
    graph.write_bytes(content.replace(b"\x12\x07Sigmoid", b"\x12\x07Sigmxyz"))

    _, result = validate(custom)

    assert result["blessed"] is False and "Sigmxyz" in result["reason"]


def test_a_signature_that_cannot_be_asked_is_named_and_one_must_be(validate, tmp_path):
    class Odd(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="late")])
        def by_label(self, late):
            return {"predictions": late}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="distance")])
        def twice(self, distance):
            return {"predictions": tf.concat([distance, distance], 0), "other": distance}

    odd = Odd()
    signatures = {"serving_default": odd.by_label, "twice": odd.twice}
    tf.saved_model.save(odd, str(tmp_path / "model/serving"), signatures=signatures)
    (tmp_path / "model/model.json").write_text(json.dumps({"label": "late"}))

    folder, result = validate(tmp_path / "model")
    record = read_infra_blessing(folder).record
    failed = [(c["of"], c["words"]) for c in record["checks"] if c["passed"] is False]

    assert result["blessed"] is False and record["signatures"][0]["name"] == "twice"
    assert failed[0] == (
        "serving_default",
        "The signature serving_default was not asked: it takes late, which is not among the "
        "schema's features of a server.",
    )
    assert failed[1][0] == "twice" and "1,024 rows got no answer: " in failed[1][1]


def test_the_record_is_whole_and_the_page_says_the_verdict_first(validated):
    folder, _ = validated
    record = read_infra_blessing(folder).record
    page = (folder / "infra_blessing.html").read_text()

    assert set(record["checks"][0]) == {
        *("check", "of", "rows", "passed", "words", "value", "budget", "unit")
    }
    assert page.index("Can be served</h1>") < page.index("serving_default") < page.index("sha256:")
    assert page.count("&#10003; passed") == sum(c["passed"] is True for c in record["checks"])


def test_the_policy_that_the_readme_shows_is_the_default():
    shown = re.search(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL).group(1)

    assert read_policy(shown) == Policy()
    assert set(yaml.safe_load(shown)) == set(Policy().as_record())
