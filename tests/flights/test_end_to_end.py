"""One run of the flights pipeline by the command line, held to direct computation."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from penstock import schemas
from penstock.components import artifacts
from penstock.components.evaluator.component import evaluator
from penstock.components.pusher.component import pusher
from penstock.data.digest import digest_path
from penstock.data.examples import read_manifest, read_table
from penstock.evaluation.infra_blessing import warmup_file
from penstock.pipelines.flights.features import FEATURES
from penstock.pipelines.flights.pipeline import EVAL_CONFIG
from penstock.pipelines.flights.predict import newest_version
from penstock.pipelines.flights_scoring.pipeline import KEPT
from penstock.registry.champion import resolve
from penstock.registry.connection import open_registry
from penstock.registry.deployments import entries
from penstock.registry.serving_folder import WARMUP

ROWS_PER_MONTH = 6000


@dataclass(frozen=True)
class Run:
    """What the command printed, and where it wrote."""

    output: str
    folder: Path
    serving: Path
    registry: Path

    def artifact(self, task: str, name: str) -> Path:
        """Return where the output `name` of `task` lies."""
        (path,) = self.folder.glob(f"{task}/{name}*")
        return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    root = tmp_path_factory.mktemp("end-to-end")
    command = [sys.executable, "-m", "penstock", "run", "penstock.pipelines.flights"]
    command += ["--root", str(root / "runs")]
    parameters = {
        "rows_per_month": ROWS_PER_MONTH,
        "train_steps": 300,
        "destination": root / "serving",
        "registry": root / "registry",
    }
    for name, value in parameters.items():
        command += ["--param", f"{name}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (root / "runs" / "flights").glob("*/")
    return Run(done.stdout + done.stderr, folder, root / "serving", root / "registry")


@pytest.fixture(scope="module")
def source(run) -> pd.DataFrame:
    """January and February, read by pandas."""
    spans = run.artifact("flights-spans", "spans")
    return pd.concat(
        [pd.read_csv(spans / f"span-{month:02d}/flights.csv") for month in (1, 2)],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def splits(run) -> dict[str, pd.DataFrame]:
    examples = run.artifact("example-gen", "examples")
    return {split: read_table(examples, split).to_pandas() for split in ("train", "eval")}


@pytest.fixture(scope="module")
def exported(run):
    return tf.saved_model.load(str(run.artifact("trainer", "model") / "serving"))


@pytest.fixture(scope="module")
def predictions(exported, splits) -> np.ndarray:
    return serve(exported, splits["eval"])


def serve(model, rows: pd.DataFrame) -> np.ndarray:
    signature = model.signatures["serving_default"]
    inputs = {
        name: tf.constant(rows[name].to_numpy(), dtype=spec.dtype)
        for name, spec in signature.structured_input_signature[1].items()
    }
    return signature(**inputs)["predictions"].numpy().reshape(-1)


def test_the_terminal_tells_the_story_without_the_libraries_noise(run):
    for words in ("example-gen", "trainer", "no anomalies", "blessed", str(run.serving)):
        assert words in run.output
    for noise in ("oneDNN", "WARNING:", "I0000", "tensorflow/core", "apache_beam"):
        assert noise not in run.output


def test_examples_are_exactly_the_rows_of_the_two_months(run, source, splits):
    columns = list(source.columns)
    together = pd.concat(splits.values())[columns].sort_values(columns, ignore_index=True)

    expected = source.sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(together, expected, check_dtype=False)
    manifest = read_manifest(run.artifact("example-gen", "examples"))
    assert manifest.spans == (1, 2)
    assert {split: manifest.rows(split) for split in splits} == {
        split: len(rows) for split, rows in splits.items()
    }


def test_two_thirds_of_the_rows_are_for_training(splits):
    total = sum(len(rows) for rows in splits.values())
    share = len(splits["train"]) / total

    assert share == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / total))


@pytest.mark.parametrize("split", ["train", "eval"])
def test_statistics_agree_with_numpy(run, splits, split):
    rows = splits[split]
    path = run.artifact("statistics-gen", "statistics") / f"Split-{split}" / "stats.binpb"
    (dataset,) = tfdv.load_stats_binary(str(path)).datasets

    assert dataset.num_examples == len(rows)
    by_name = {feature.path.step[0]: feature for feature in dataset.features}
    assert set(by_name) == set(rows.columns)
    for name in ("distance", "dep_delay", "hour"):
        stats = by_name[name].num_stats
        assert stats.common_stats.num_non_missing == rows[name].notna().sum()
        assert stats.mean == pytest.approx(np.mean(rows[name]), rel=1e-9)
        assert stats.std_dev == pytest.approx(np.std(rows[name]), rel=1e-9)
        assert (stats.min, stats.max) == (rows[name].min(), rows[name].max())
    carriers = {v.value: v.frequency for v in by_name["carrier"].string_stats.top_values}
    assert carriers == rows.carrier.value_counts().head(len(carriers)).to_dict()


def test_schema_is_the_reviewed_one_and_the_data_keep_it(run):
    schema = run.artifact("schema-gen", "schema") / "schema.pbtxt"
    assert schema.read_text() == schemas.schema_text("flights")
    assert len(tfdv.load_schema_text(str(schema)).feature) == 21

    anomalies = run.artifact("example-validator", "anomalies")
    assert json.loads((anomalies / "verdict.json").read_text())["verdict"] == "pass"
    for split in ("train", "eval"):
        found = tfdv.load_anomalies_text(str(anomalies / f"Split-{split}" / "anomalies.pbtxt"))
        assert not found.anomaly_info


def test_serving_answers_as_the_training_graph_does(run, exported, splits):
    import keras

    rows = splits["eval"].head(500)
    graph = run.artifact("transform", "transform_graph") / "preprocessing.keras"
    preprocessing = keras.models.load_model(graph)
    trained = keras.models.load_model(run.artifact("trainer", "model") / "model.keras")
    raw = {
        tensor.name: tf.constant(rows[tensor.name].to_numpy(), dtype=tensor.dtype)
        for tensor in preprocessing.inputs
    }
    in_training = np.asarray(trained(preprocessing(raw))).reshape(-1)

    np.testing.assert_allclose(serve(exported, rows), in_training, atol=1e-6)
    examples = [example(row) for row in rows.to_dict("records")]
    answers = exported.signatures["serving_examples"](examples=tf.constant(examples))
    np.testing.assert_allclose(answers["predictions"].numpy().reshape(-1), in_training, atol=1e-6)


def example(row: dict) -> bytes:
    """Serialize the features the model uses, typed as the schema types them."""
    features = {}
    for column in {column for feature in FEATURES.values() for column in feature.columns}:
        value = row[column]
        if isinstance(value, str):
            content = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        else:
            content = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        features[column] = content
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def overall(run) -> dict[str, float]:
    result = tfma.load_eval_result(str(run.artifact("evaluator", "evaluation")))
    (metrics,) = [m[""][""] for key, m in result.slicing_metrics if key == ()]
    return {name: value["doubleValue"] for name, value in metrics.items() if "doubleValue" in value}


def test_metrics_agree_with_scikit_learn(run, splits, predictions):
    labels = splits["eval"].late
    metrics = overall(run)

    assert metrics["example_count"] == len(labels)
    # TFMA's AUC sorts predictions into 10,000 bins.
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, predictions), abs=1e-3)
    assert metrics["binary_accuracy"] == pytest.approx(
        accuracy_score(labels, predictions > 0.5), abs=1e-6
    )
    assert metrics["binary_crossentropy"] == pytest.approx(log_loss(labels, predictions), rel=1e-4)
    assert metrics["calibration"] == pytest.approx(predictions.mean() / labels.mean(), rel=1e-5)


def test_slices_are_the_rows_of_each_airport(run, splits, predictions):
    rows = splits["eval"]
    written = json.loads((run.artifact("evaluator", "evaluation") / "metrics.json").read_text())
    by_origin = {
        entry["slice"]["origin"]: entry["metrics"]
        for entry in written["slices"]
        if set(entry["slice"]) == {"origin"}
    }

    assert set(by_origin) == {"EWR", "JFK", "LGA"}
    for origin, metrics in by_origin.items():
        here = (rows.origin == origin).to_numpy()
        assert metrics["example_count"] == here.sum()
        expected = roc_auc_score(rows.late[here], predictions[here])
        assert metrics["auc"] == pytest.approx(expected, abs=1e-3)


def test_the_model_beats_one_that_knows_only_the_base_rate(run, splits):
    base_rate = splits["train"].late.mean()
    labels = splits["eval"].late
    trivial = log_loss(labels, np.full(len(labels), base_rate))
    metrics = overall(run)

    assert metrics["auc"] > 0.5 + 0.1
    assert metrics["binary_crossentropy"] < trivial - 0.01


def test_the_blessed_model_is_pushed_whole(run, exported, splits, predictions):
    blessing = json.loads((run.artifact("evaluator", "blessing") / "blessing.json").read_text())
    assert blessing["blessed"] is True
    assert {check["metric"] for check in blessing["checks"]} == {"auc", "calibration"}
    assert all(check["passed"] for check in blessing["checks"])

    version = newest_version(run.serving)
    serving = run.artifact("trainer", "model") / "serving"
    pushed = digest_path(version, leave_out={WARMUP})
    assert pushed == digest_path(serving) == blessing["model_digest"]
    warmup = warmup_file(run.artifact("infra-validator", "infra_blessing"))
    assert (version / WARMUP).read_bytes() == warmup.read_bytes() != b""
    assert [f.name for f in run.serving.iterdir() if not f.name.startswith(".")] == [version.name]
    np.testing.assert_allclose(
        serve(tf.saved_model.load(str(version)), splits["eval"]), predictions, atol=1e-6
    )


def test_the_pushed_model_is_the_champion_with_its_run(run):
    registry = open_registry(run.registry, create=False)

    champion = resolve(registry, "flights")
    (entry,) = entries(registry, "flights")

    assert champion.digest == digest_path(newest_version(run.serving), leave_out={WARMUP})
    assert (champion.facts["pipeline"], champion.facts["run"]) == ("flights", run.folder.name)
    assert entry.where == str(newest_version(run.serving))
    assert entry.by == f"run {run.folder.name}"
    assert champion.metrics["auc"] == pytest.approx(overall(run)["auc"])


def test_an_unblessed_model_is_not_pushed(run, tmp_path):
    """Given a threshold that no model of ours reaches, the gate says so and the pusher refuses."""
    harsh = EVAL_CONFIG.replace("value: 0.62", "value: 0.99")

    def at(kind: type, name: str):
        return kind(name=name, uri=str(tmp_path / name), metadata={})

    model = artifacts.Model(uri=str(run.artifact("trainer", "model")), metadata={})
    blessing = at(artifacts.Blessing, "blessing")
    verdict = evaluator.python_func(
        examples=artifacts.Examples(uri=str(run.artifact("example-gen", "examples")), metadata={}),
        model=model,
        evaluation=at(artifacts.Evaluation, "evaluation"),
        blessing=blessing,
        metrics=at(artifacts.dsl.Metrics, "metrics"),
        curve=at(artifacts.dsl.ClassificationMetrics, "curve"),
        summary=at(artifacts.dsl.Markdown, "summary"),
        report=at(artifacts.dsl.HTML, "report"),
        eval_config=harsh,
    )
    pushed = pusher.python_func(
        model=model,
        blessing=blessing,
        pushed_model=at(artifacts.PushedModel, "pushed_model"),
        destination=str(tmp_path / "serving"),
    )

    assert verdict.blessed is False
    assert "auc" in verdict.reason and "0.99" in verdict.reason
    assert "0.99" in (tmp_path / "blessing" / "blessing.html").read_text()
    assert pushed.pushed is False
    assert "not blessed" in pushed.reason
    assert not list(tmp_path.glob("serving/[!.]*"))


def test_a_pushed_model_answers_questions_about_real_flights(run):
    done = subprocess.run(
        [sys.executable, "-m", "penstock.pipelines.flights.predict", "--model", str(run.serving)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "March 2013" in done.stdout
    shown = re.findall(r"(\d+)% +(late|on time), ([+-]\d+) min", done.stdout)
    assert len(shown) == 3
    chances = [int(chance) for chance, _, _ in shown]
    assert chances == sorted(chances)
    assert all((verdict == "late") == (int(delay) > 15) for _, verdict, delay in shown)
    least, most = map(int, re.findall(r"(\d+)% of the tenth", done.stdout))
    assert most > 1.5 * least
    assert done.stderr == ""


def test_without_a_pushed_model_the_prediction_says_what_to_do(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "penstock.pipelines.flights.predict", "--model", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: No model has been pushed to {tmp_path}: run")


def test_the_champion_scores_another_month(run, exported):
    command = [sys.executable, "-m", "penstock", "run", "penstock.pipelines.flights_scoring"]
    command += ["--root", str(run.registry.parent / "runs")]
    for pair in (f"rows_per_month={ROWS_PER_MONTH}", f"registry={run.registry}"):
        command += ["--param", pair]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=run.registry.parent, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (run.registry.parent / "runs" / "flights-scoring").glob("*/")
    (scored,) = folder.glob("**/bulk-inferrer/predictions*")
    rows = read_table(scored, "all").to_pandas()
    march = pd.read_csv(run.artifact("flights-spans", "spans") / "span-03/flights.csv")
    expected = march.assign(chance=serve(exported, march))[[*KEPT, "chance"]]
    pd.testing.assert_frame_equal(
        rows.sort_values(KEPT, ignore_index=True),
        expected.sort_values(KEPT, ignore_index=True),
        check_dtype=False,
        atol=1e-6,
    )
