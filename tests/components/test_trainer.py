"""The promises of components/trainer/README.md."""

import json
import subprocess
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from kfp import compiler, dsl
from sklearn.metrics import log_loss, roc_auc_score

from penstock.components import artifacts as kinds
from penstock.components.trainer.component import trainer
from penstock.components.trainer.executor import train
from penstock.components.trainer.provenance import code_digest
from penstock.components.transform.component import transform
from penstock.components.transform.executor import fit_transform
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.models.transform_graph import read_transform_graph

AUTHORS = Path(__file__).parent / "authors"
TRIPS, ODD = str(AUTHORS / "trips.py"), str(AUTHORS / "odd.py")


def trips(rows: int, seed: int) -> pa.Table:
    """Rows whose label depends on distance and carrier, with nulls, NaN and empty strings."""
    random = np.random.default_rng(seed)
    gone = random.random((4, rows)) < 0.08
    distance = random.gamma(4.0, 250.0, rows)
    carrier = random.choice(["UA", "B6", "EV", ""], rows)
    odds = (distance - 1000) / 400 + (carrier == "UA") * 1.5
    late = random.random(rows) < 1 / (1 + np.exp(-odds))
    distance[random.random(rows) < 0.03] = np.nan
    return pa.table(
        {
            "distance": pa.array(distance, pa.float64(), mask=gone[0], from_pandas=False),
            "carrier": pa.array(carrier, pa.string(), mask=gone[1]),
            "hour": pa.array(random.integers(0, 24, rows), pa.int64(), mask=gone[2]),
            "tail": pa.array(np.char.add("N", random.zipf(1.5, rows).astype(str)), mask=gone[3]),
            "late": pa.array(late.astype(np.int64)),
            "early": pa.array(~late),
            "sometimes": pa.array(late.astype(np.int64), mask=gone[0]),
            "word": pa.array(np.where(late, "yes", "no")),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    return write_artifacts(folder, {"train": trips(4000, 0), "eval": trips(1500, 1)}, shards=2)


@pytest.fixture(scope="module")
def graph(given, tmp_path_factory) -> Path:
    return fit(given, tmp_path_factory.mktemp("graph") / "trips", TRIPS)


@pytest.fixture(scope="module")
def odd_graph(given, tmp_path_factory) -> Path:
    return fit(given, tmp_path_factory.mktemp("graph") / "odd", ODD)


def fit(given, path: Path, module: str) -> Path:
    fit_transform(given.examples, given.statistics, given.schema, path, module)
    return path


def run(given, graph: Path, path: Path, module: str = TRIPS, label: str = "late", **settings):
    settings = {"train_steps": 150, "batch_size": 128, **settings}
    return train(given.examples, graph, given.schema, path, module, label, **settings)


@pytest.fixture(scope="module")
def trained(given, graph, tmp_path_factory) -> tuple[Path, dict]:
    path = tmp_path_factory.mktemp("trained") / "model"
    return path, run(given, graph, path)


@pytest.fixture(scope="module")
def served(trained):
    return tf.saved_model.load(str(trained[0] / "serving"))


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    """Evaluation rows as a server gets them, and some that no training row resembles."""
    frame = trips(1500, 1).select(["distance", "carrier", "hour", "tail"]).to_pandas()
    strange = pd.DataFrame(
        {
            "distance": [np.nan, -1e6, 1e9, 0.0],
            "carrier": ["", "never seen", "Ünï", "UA"],
            "hour": [np.nan, 99, -5, 0],
            "tail": ["", "N999999", "", "\n"],
        }
    )
    frame = pd.concat([frame, strange])
    return {
        "distance": frame.distance.to_numpy(np.float32),
        "hour": frame.hour.to_numpy(np.float32),
        "carrier": frame.carrier.fillna("").to_numpy(str),
        "tail": frame["tail"].fillna("").to_numpy(str),
    }


def raw(rows: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in rows.items()}


def serialized(rows: dict[str, np.ndarray]) -> list[bytes]:
    """The rows as tf.Examples; a missing value is left out, as TFX's ExampleGen leaves it out."""
    examples = []
    for distance, hour, carrier, tail in zip(
        *(rows[name] for name in ("distance", "hour", "carrier", "tail")), strict=True
    ):
        feature = {}
        if not np.isnan(distance):
            feature["distance"] = tf.train.Feature(
                float_list=tf.train.FloatList(value=[float(distance)])
            )
        if not np.isnan(hour):
            feature["hour"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(hour)]))
        for name, value in (("carrier", carrier), ("tail", tail)):
            if value:
                feature[name] = tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[str(value).encode()])
                )
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        examples.append(example.SerializeToString())
    return examples


def predictions(served, rows) -> np.ndarray:
    return served.signatures["serving_default"](**raw(rows))["predictions"].numpy()


def test_training_graph_and_both_signatures_agree(trained, graph, served, rows):
    preprocessing = keras.models.load_model(graph / "preprocessing.keras")
    model = keras.models.load_model(trained[0] / "model.keras")

    expected = model(preprocessing(raw(rows))).numpy()
    answers = served.signatures["serving_examples"](examples=tf.constant(serialized(rows)))

    assert expected.shape == (len(rows["hour"]), 1)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(predictions(served, rows), expected, atol=1e-6)
    np.testing.assert_allclose(answers["predictions"].numpy(), expected, atol=1e-6)


def test_an_empty_list_in_an_example_is_a_missing_value(served, rows):
    empty = tf.train.Example(
        features=tf.train.Features(
            feature={
                "carrier": tf.train.Feature(),
                "hour": tf.train.Feature(),
                "distance": tf.train.Feature(),
            }
        )
    )
    nothing = tf.train.Example()

    answers = served.signatures["serving_examples"](
        examples=tf.constant([empty.SerializeToString(), nothing.SerializeToString()])
    )["predictions"].numpy()

    assert answers[0] == answers[1]


def test_the_signatures_are_those_of_the_format(served):
    takes = served.signatures["serving_default"].structured_input_signature[1]
    assert {name: (spec.dtype, spec.shape.rank) for name, spec in takes.items()} == {
        "distance": (tf.float32, 1),
        "hour": (tf.float32, 1),
        "carrier": (tf.string, 1),
        "tail": (tf.string, 1),
    }
    for signature in ("serving_default", "serving_examples"):
        gives = served.signatures[signature].structured_outputs
        assert {n: (s.dtype, s.shape.as_list()) for n, s in gives.items()} == {
            "predictions": (tf.float32, [None, 1])
        }


def test_metrics_are_those_of_the_exported_model(trained, served, rows):
    answers = predictions(served, {name: values[:1500] for name, values in rows.items()})
    labels = trips(1500, 1)["late"].to_numpy()
    metrics = trained[1]["metrics"]

    assert metrics["eval_loss"] == pytest.approx(log_loss(labels, answers), rel=1e-4)
    assert metrics["eval_auc"] == pytest.approx(roc_auc_score(labels, answers), abs=5e-3)
    assert metrics["eval_auc"] > 0.75
    assert {"train_loss", "train_auc"} <= set(metrics)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    given, graph, tmp_path, trained
):
    run(given, graph, tmp_path / "again")
    run(given, graph, tmp_path / "other", seed=1)

    first, again, other = (
        keras.models.load_model(path / "model.keras").get_weights()
        for path in (trained[0], tmp_path / "again", tmp_path / "other")
    )

    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(not np.array_equal(left, right) for left, right in zip(first, other, strict=True))


def test_provenance_says_from_what_and_how(given, graph, trained):
    written = json.loads((trained[0] / "model.json").read_text())

    assert written["module_digest"] == digest_path(TRIPS)
    assert written["transform_graph_digest"] == digest_path(graph)
    assert written["examples"]["spans"] == [1, 2]
    assert written["examples"]["train"] == {"split": "train", "rows": 4000}
    assert written["metrics"] == trained[1]["metrics"]
    assert written["kind"] == "saved_model"
    assert written["code_digest"] == digest_path(TRIPS)
    assert (written["image"], written["base_model_digest"]) == (None, None)
    assert (written["steps"], written["seed"], written["label"]) == (150, 0, "late")
    assert written["libraries"]["keras"] == keras.__version__
    assert written["hardware"]["cores"] >= 1
    assert written["started"] <= written["finished"]


def test_the_code_digest_covers_the_files_beside_a_module_of_a_package(tmp_path):
    """Given a package whose module stays the same while what it imports changes."""
    for name in ("__init__", "model", "features"):
        (tmp_path / f"{name}.py").write_text("A = 1\n")
    before = code_digest(tmp_path / "model.py")
    (tmp_path / "notes.txt").write_text("no code")

    assert code_digest(tmp_path / "model.py") == before != digest_path(tmp_path / "model.py")
    (tmp_path / "features.py").write_text("A = 2\n")
    assert code_digest(tmp_path / "model.py") != before


def test_provenance_names_the_commit_of_a_tracked_module(given, odd_graph, tmp_path):
    module = tmp_path / "author" / "odd.py"
    module.parent.mkdir()
    module.write_text(Path(ODD).read_text())
    for command in (["init", "-q"], ["add", "odd.py"], ["commit", "-qm", "Add a model"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *command], cwd=module.parent, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=module.parent, capture_output=True, text=True, check=True
    ).stdout.strip()

    def commit():
        settings = {"hyperparameters": {"does": "uses_one_feature"}}
        run(given, odd_graph, tmp_path / "model", str(module), **settings)
        return json.loads((tmp_path / "model" / "model.json").read_text())["git"]

    assert commit() == {"commit": head, "changed": False}
    module.write_text(module.read_text() + "\n# changed\n")
    assert commit() == {"commit": head, "changed": True}


def test_hyperparameters_reach_the_author_and_whole_numbers_stay_whole(given, graph, tmp_path):
    """Given 24.0, as Kubeflow hands over every number in a dictionary."""
    run(given, graph, tmp_path / "model", hyperparameters={"units": 24.0}, train_steps=2)

    model = keras.models.load_model(tmp_path / "model" / "model.keras")
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [
        24,
        1,
    ]


@pytest.mark.parametrize("does", ["uses_one_feature", "is_a_subclass"])
def test_other_shapes_of_keras_models_are_exported_too(given, odd_graph, tmp_path, does):
    run(given, odd_graph, tmp_path / "model", ODD, hyperparameters={"does": does})

    served = tf.saved_model.load(str(tmp_path / "model" / "serving"))
    answers = served.signatures["serving_default"](
        distance=tf.constant([1.0, float("nan")]), carrier=tf.constant(["UA", ""])
    )["predictions"]
    assert answers.shape == (2, 1)
    assert (tmp_path / "model" / "run").exists() == (does == "is_a_subclass")


def test_a_run_fn_may_export_by_itself(given, odd_graph, tmp_path):
    summary = run(
        given, odd_graph, tmp_path / "model", ODD, hyperparameters={"does": "exports_itself"}
    )

    served = tf.saved_model.load(str(tmp_path / "model" / "serving"))
    answers = served.signatures["serving_default"](distance=tf.constant([1.0]))["predictions"]
    assert float(answers[0, 0]) == pytest.approx(np.mean(trips(4000, 0)["late"].to_numpy()))
    assert summary["metrics"] == {}
    assert not (tmp_path / "model" / "model.keras").exists()


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        ("raises", r"raised RuntimeError: the author's own mistake \(at .*odd.py:\d+\)"),
        ("returns_nothing", "returned no model and wrote no SavedModel"),
        ("returns_a_dictionary", "returned a dict; it must return a Keras model"),
        ("diverges", "Training diverged"),
        ("gives_two_outputs", "gives 2 outputs as a dict; it must give one tensor"),
        ("answers_at_random", r"does not answer as the trained one does: .* on 64 rows"),
        ("takes_other_inputs", "cannot be called with the transformed features carrier, distance"),
        ("takes_some_features_by_name", "takes a dictionary of distance, and the features are"),
        ("exports_without_examples", "has no signature 'serving_examples'"),
        ("exports_another_output", "no float32 output 'predictions'; it gives 'scores'"),
        ("exports_an_unknown_column", "takes 'speed', which the schema does not have"),
        ("exports_another_type", r"takes 'distance' as .*int64.*; by the schema it is float32"),
    ],
)
def test_a_run_fn_that_breaks_its_contract_gets_a_sentence_and_leaves_nothing(
    given, odd_graph, tmp_path, does, sentence
):
    with pytest.raises(PenstockError, match=sentence):
        run(given, odd_graph, tmp_path / "model", ODD, hyperparameters={"does": does})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"label": "latte"}, "no label column 'latte' in the examples; they have carrier, dist"),
        ({"label": "word"}, "'word' is of type string; it must be a number or a boolean"),
        ({"label": "sometimes"}, r"'sometimes' is missing or not finite in \d+ of 4000 rows"),
        ({"label": "distance"}, "'distance' is missing or not finite"),
        ({"train_steps": 0}, "train_steps is 0; it must be 1 or more"),
        ({"epochs": 0}, "epochs is 0; it must be 1 or more"),
        ({"eval_steps": 0}, "eval_steps is 0; it must be 1 or more"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"seed": 2**32}, "seed is 4294967296; it must be 0 or up to 4294967295"),
        ({"eval_split": "test"}, "no split 'test' in the examples"),
        ({"module": __file__}, "defines no run_fn"),
    ],
)
def test_wrong_settings_get_a_sentence_before_training(given, graph, tmp_path, settings, sentence):
    with pytest.raises(PenstockError, match=sentence):
        run(given, graph, tmp_path / "model", **settings)


def test_a_label_among_the_features_is_refused(given, tmp_path):
    module = tmp_path / "cheat.py"
    module.write_text(Path(ODD).read_text().replace('Numeric("distance")', 'Numeric("late")'))
    fit(given, tmp_path / "graph", str(module))

    with pytest.raises(PenstockError, match="'late' is read by a feature"):
        run(given, tmp_path / "graph", tmp_path / "model", str(module))


def test_a_boolean_label_is_a_number(given, odd_graph, tmp_path):
    settings = {"hyperparameters": {"does": "exports_itself"}}

    run(given, odd_graph, tmp_path / "model", ODD, label="early", **settings)

    served = tf.saved_model.load(str(tmp_path / "model" / "serving"))
    answers = served.signatures["serving_default"](distance=tf.constant([1.0]))["predictions"]
    assert float(answers[0, 0]) == pytest.approx(np.mean(trips(4000, 0)["early"].to_numpy()))


def test_training_data_is_shuffled_anew_each_epoch_and_evaluation_data_is_not(given, graph):
    from penstock.training.fn_args import FnArgs

    args = FnArgs(
        transform=read_transform_graph(graph),
        schema=None,
        label="late",
        train_steps=1,
        batch_size=4000,
        seed=3,
        examples=given.examples,
        train_split="train",
        eval_split="eval",
        model_dir=Path(),
    )

    epochs = [features["distance"].numpy() for features, _ in args.train_data().take(2)]
    once = np.concatenate([label for _, label in args.eval_data(batch_size=400)])

    assert not np.array_equal(*epochs)
    np.testing.assert_array_equal(*(np.sort(epoch, axis=0) for epoch in epochs))
    np.testing.assert_array_equal(once, trips(1500, 1)["late"].to_numpy())
    assert (args.train_rows, args.eval_rows, len(args.train_files)) == (4000, 1500, 2)


def test_the_components_run_and_compile(given, tmp_path):
    def at(kind: type, path: Path):
        return kind(name=path.name, uri=str(path), metadata={})

    graph = at(kinds.TransformGraph, tmp_path / "graph")
    model = at(kinds.Model, tmp_path / "model")
    metrics = at(dsl.Metrics, tmp_path / "metrics")
    examples, schema = at(kinds.Examples, given.examples), at(kinds.Schema, given.schema)
    transform.python_func(
        examples=examples,
        statistics=at(kinds.Statistics, given.statistics),
        schema=schema,
        transform_graph=graph,
        module=TRIPS,
    )
    trainer.python_func(
        examples=examples,
        transform_graph=graph,
        schema=schema,
        model=model,
        metrics=metrics,
        module=TRIPS,
        label="late",
        train_steps=20,
    )

    assert graph.metadata["summary"].startswith("5 features")
    assert model.metadata["summary"].startswith("20 steps of 512 rows, eval auc")
    assert metrics.metadata == model.metadata["metrics"]

    @dsl.pipeline(name="training")
    def pipeline(module: str, settings: dict):
        inputs = {
            name: dsl.importer(artifact_uri=name, artifact_class=kind).output
            for name, kind in (
                ("examples", kinds.Examples),
                ("statistics", kinds.Statistics),
                ("schema", kinds.Schema),
            )
        }
        graph = transform(module=module, **inputs).output
        del inputs["statistics"]
        trainer(
            transform_graph=graph, module=module, label="late", hyperparameters=settings, **inputs
        )

    compiler.Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))
    assert "comp-trainer" in (tmp_path / "pipeline.yaml").read_text()
