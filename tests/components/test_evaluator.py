"""The model gate: TFMA's numbers, a verdict that explains itself, and configs that are no gate."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from google.protobuf import json_format, text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from kfp import dsl
from sklearn import metrics as sklearn_metrics
from tensorflow_model_analysis.api import model_eval_lib as tfma
from tensorflow_model_analysis.proto import config_pb2

from penstock.components import artifacts
from penstock.components.evaluator import analysis, batched
from penstock.components.evaluator.component import evaluator
from penstock.components.evaluator.config import read_eval_config
from penstock.components.evaluator.executor import evaluate
from penstock.components.evaluator.page import render
from penstock.data.digest import digest_path
from penstock.data.examples import Column, Manifest, Shard, write_manifest
from penstock.errors import PenstockError

CONFIG = """
model_specs { label_key: "late" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
slicing_specs { feature_keys: "month" feature_values { key: "origin" value: "JFK" } }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics {
    class_name: "AUC"
    threshold { value_threshold { lower_bound { value: 0.6 } } }
    per_slice_thresholds {
      slicing_specs { feature_keys: "origin" }
      threshold { value_threshold { lower_bound { value: 0.55 } } }
    }
  }
  metrics {
    class_name: "BinaryAccuracy"
    per_slice_thresholds {
      slicing_specs {}
      threshold { value_threshold { lower_bound { value: 0.51 } } }
    }
  }
  metrics { class_name: "BinaryCrossEntropy" }
  metrics { class_name: "Calibration" }
}
"""


def flights(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    distance = rng.normal(0, 1.5, rows)
    late = (rng.random(rows) < 1 / (1 + np.exp(-distance))).astype(int)
    distance[rng.random(rows) < 0.05] = np.nan
    origin = rng.choice(np.array(["JFK", "LGA", "EWR", None]), rows, p=[0.4, 0.3, 0.25, 0.05])
    return pd.DataFrame(
        {
            "distance": distance,
            "origin": origin,
            "month": rng.integers(1, 4, rows),
            "late": late,
            "weight": rng.uniform(0.5, 2, rows),
        }
    )


def write_examples(folder: Path, frame: pd.DataFrame, split: str = "eval") -> Path:
    place = folder / f"Split-{split}"
    place.mkdir(parents=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # Two shards, so that results are merged over batches.
    half = len(frame) // 2
    shards = []
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        name = f"part-{number:05}.parquet"
        pq.write_table(part, place / name)
        shards.append(Shard(name, part.num_rows, (place / name).stat().st_size))
    columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
    digests = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
    write_manifest(folder, Manifest(columns, *digests, (1, 2), {}, {split: tuple(shards)}))
    return folder


class Logistic(tf.Module):
    """Knows the distance and, a little, the airport; a missing distance counts as 0."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="distance"),
            tf.TensorSpec([None], tf.string, name="origin"),
        ]
    )
    def serve(self, distance, origin):
        known = tf.where(tf.math.is_nan(distance), 0.0, distance)
        bonus = tf.where(origin == "JFK", 0.3, tf.where(origin == "", -0.2, 0.0))
        return {"predictions": tf.sigmoid(known + bonus)[:, tf.newaxis]}


def predicted(frame: pd.DataFrame) -> np.ndarray:
    bonus = frame.origin.map({"JFK": 0.3}).fillna(0.0).where(frame.origin.notna(), -0.2)
    return 1 / (1 + np.exp(-(frame.distance.fillna(0) + bonus).to_numpy()))


def export(module: tf.Module, folder: Path) -> Path:
    tf.saved_model.save(
        module, str(folder / "serving"), signatures={"serving_default": module.serve}
    )
    return folder


@pytest.fixture(scope="module")
def frame():
    return flights(3000)


@pytest.fixture(scope="module")
def examples(frame, tmp_path_factory):
    return write_examples(tmp_path_factory.mktemp("examples"), frame)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = export(Logistic(), tmp_path_factory.mktemp("model"))
    (folder / "model.json").write_text(json.dumps({"module": "a.<b>", "train_steps": 600}))
    return folder


def run(examples, model, folder, config=CONFIG, **options):
    result = evaluate(
        examples,
        model,
        folder / "evaluation",
        folder / "blessing",
        folder / "report",
        config,
        **options,
    )
    record = json.loads((folder / "blessing" / "blessing.json").read_text())
    return result, record


@pytest.fixture(scope="module")
def evaluated(examples, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    return folder, *run(examples, model, folder)


def slices_of(frame):
    yield {}, frame
    for origin, part in frame.groupby("origin"):
        yield {"origin": origin}, part
    for month, part in frame[frame.origin == "JFK"].groupby("month"):
        yield {"month": month, "origin": "JFK"}, part


def test_metrics_by_slice_agree_with_sklearn(evaluated, frame):
    written = json.loads((evaluated[0] / "evaluation" / "metrics.json").read_text())
    found = {tuple(sorted(s["slice"].items())): s["metrics"] for s in written["slices"]}
    expected = {tuple(sorted(where.items())): part for where, part in slices_of(frame)}

    assert written["rows"] == len(frame)
    assert found.keys() == expected.keys()
    for where, part in expected.items():
        score = predicted(part)
        assert found[where]["example_count"] == len(part)
        # TFMA counts scores in 10,000 bins.
        auc = sklearn_metrics.roc_auc_score(part.late, score)
        assert found[where]["auc"] == pytest.approx(auc, abs=1e-3)
        accuracy = np.mean((score > 0.5) == part.late)
        assert found[where]["binary_accuracy"] == pytest.approx(accuracy, abs=1e-6)
        loss = sklearn_metrics.log_loss(part.late, score)
        assert found[where]["binary_crossentropy"] == pytest.approx(loss, abs=1e-6)
        assert found[where]["calibration"] == pytest.approx(score.sum() / part.late.sum(), abs=1e-6)


def test_tfma_reads_the_evaluation(evaluated):
    output = str(evaluated[0] / "evaluation")
    written = json.loads((evaluated[0] / "evaluation" / "metrics.json").read_text())

    result = tfma.load_eval_result(output)

    read = {key: values[""][""] for key, values in result.slicing_metrics}
    assert len(read) == len(written["slices"])
    for part in written["slices"]:
        key = tuple(sorted(part["slice"].items()))
        assert {n: v["doubleValue"] for n, v in read[key].items()} == part["metrics"]
    assert tfma.load_validation_result(output).validation_ok


def test_the_blessing_says_what_was_held_against_what(evaluated, model):
    _, result, record = evaluated

    assert record["blessed"] is True is result["blessed"]
    assert record["reason"] == result["reason"]
    assert "auc 0.8" in record["reason"] and "≥ 0.6 over all rows" in record["reason"]
    assert record["model_digest"] == digest_path(model / "serving")
    assert record["examples_digest"] == "sha256:" + "2" * 64
    # A threshold without slices holds on all seven, the others on those that they name.
    bounds = [(check["bound"], len(check["slice"])) for check in record["checks"]]
    assert (
        sorted(bounds)
        == [(0.51, 0)] + [(0.55, 1)] * 3 + [(0.6, 0)] + [(0.6, 1)] * 3 + [(0.6, 2)] * 3
    )
    assert all(check["passed"] and check["value"] >= check["bound"] for check in record["checks"])


def test_running_again_gives_the_same_files(evaluated, examples, model, tmp_path):
    run(examples, model, tmp_path)

    for file in ("blessing/blessing.json", "blessing/blessing.html", "evaluation/metrics.json"):
        assert (tmp_path / file).read_text() == (evaluated[0] / file).read_text()


def test_the_page_says_why_and_needs_nothing_from_elsewhere(evaluated):
    folder, result, _ = evaluated
    page = (folder / "blessing" / "blessing.html").read_text()

    assert page == (folder / "report").read_text()
    assert page.index("<h1>Blessed</h1>") < page.index(result["reason"]) < page.index("Checks")
    assert "origin = JFK" in page and "a.&lt;b&gt;" in page
    assert not any(word in page for word in ("http:", "https:", "<script", "<link", "<img", "url("))


MIXED = """
model_specs { label_key: "late" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics {
    class_name: "AUC"
    per_slice_thresholds {
      slicing_specs { feature_values { key: "origin" value: "JFK" } }
      slicing_specs { feature_values { key: "origin" value: "BOS" } }
      threshold { value_threshold { lower_bound { value: 0.99 } } }
    }
  }
  metrics {
    class_name: "Calibration"
    threshold { value_threshold { lower_bound { value: 0.01 } upper_bound { value: 99 } } }
  }
}
"""


def test_a_model_is_not_blessed_when_a_slice_fails_is_missing_or_is_not_a_number(
    frame, model, tmp_path
):
    # Given that no flight from LGA is late, predicted over observed lateness is not a number there
    rows = frame.assign(late=frame.late.where(frame.origin != "LGA", 0))
    examples = write_examples(tmp_path / "examples", rows)

    result, record = run(examples, model, tmp_path, MIXED)

    assert result["blessed"] is record["blessed"] is False
    failed = [check for check in record["checks"] if not check["passed"]]
    said = {tuple(check["slice"].items()): check["reason"] for check in failed}
    assert said[(("origin", "JFK"),)].endswith("below its lower bound 0.99.")
    assert said[(("origin", "BOS"),)] == (
        "There are no rows where origin = BOS, so auc cannot be held against its bound."
    )
    assert "calibration where origin = LGA is not a number" in said[(("origin", "LGA"),)]
    assert all(check["value"] is None for check in failed if check["slice"]["origin"] != "JFK")
    assert record["checks"][: len(failed)] == failed
    assert any(check["passed"] and check["slice"] == {} for check in record["checks"])
    assert not tfma.load_validation_result(str(tmp_path / "evaluation")).validation_ok
    assert "<h1>Not blessed</h1>" in (tmp_path / "report").read_text()


def test_no_rows_are_never_blessed(model, tmp_path):
    examples = write_examples(tmp_path / "examples", flights(10).iloc[:0].astype({"origin": str}))

    result, record = run(examples, model, tmp_path)

    assert result["blessed"] is False and record["rows"] == 0
    assert record["reason"].startswith("There are no rows to evaluate on")
    assert tfma.load_eval_result(str(tmp_path / "evaluation")).slicing_metrics == []


class Broken(tf.Module):
    """Predicts nothing where the distance is missing."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="distance")])
    def serve(self, distance):
        return {"predictions": tf.sigmoid(distance)}


def test_a_model_that_predicts_nan_is_not_blessed(examples, frame, tmp_path):
    model = export(Broken(), tmp_path / "model")

    result, record = run(examples, model, tmp_path)

    missing = int(frame.distance.isna().sum())
    assert result["blessed"] is False
    assert record["checks"][0]["value"] == missing
    assert f"not a finite number for {missing} of 3,000 rows" in record["reason"]
    assert result["metrics"]["example_count"] == len(frame) - missing


EVERYTHING = """
model_specs { label_key: "label" prediction_key: "score" %s }
slicing_specs {}
slicing_specs { feature_keys: "letter" }
slicing_specs { feature_values { key: "letter" value: "a" } }
slicing_specs { feature_keys: "digit" feature_values { key: "letter" value: "b" } }
slicing_specs { feature_keys: "digit" }
slicing_specs { feature_values { key: "digit" value: "1" } }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics { class_name: "WeightedExampleCount" }
  metrics { class_name: "AUC" threshold { value_threshold { lower_bound { value: 0.5 } } } }
  metrics { class_name: "AUCPrecisionRecall" }
  metrics { class_name: "Precision" }
  metrics { class_name: "Recall" config: '"thresholds": [0.3]' }
  metrics { class_name: "BinaryAccuracy" }
  metrics { class_name: "BinaryCrossEntropy" }
  metrics { class_name: "BinaryCrossentropy" config: '"name": "keras_loss"' }
  metrics { class_name: "MeanSquaredError" }
  metrics { class_name: "Calibration" }
  metrics { class_name: "MeanLabel" }
  metrics { class_name: "MeanPrediction" }
  metrics { class_name: "SquaredPearsonCorrelation" }
  metrics { class_name: "CoefficientOfDiscrimination" }
  metrics { class_name: "ConfusionMatrixPlot" }
  metrics { class_name: "CalibrationPlot" }
}
"""


def scores(rows: int, seed: int) -> pd.DataFrame:
    """Ties, extreme scores, missing slice values, and a slice with one class only."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    letter = rng.choice(np.array(["a", "b", "c", None]), rows)
    label[letter == "c"] = 1
    score = np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0.001, 0.999)
    score = np.where(rng.random(rows) < 0.3, np.round(score, 1).clip(0.1, 0.9), score)
    return pd.DataFrame(
        {
            "label": label,
            "score": score.astype(np.float32),
            "letter": letter,
            "digit": rng.integers(0, 3, rows),
            "w": rng.uniform(0.1, 3, rows),
        }
    )


@pytest.mark.parametrize("case", ["plain", "weighted", "fractional labels"])
def test_slices_at_once_give_the_numbers_of_tfmas_own_evaluator(case, tmp_path, monkeypatch):
    config = read_eval_config(EVERYTHING % ('example_weight_key: "w"' * (case == "weighted")))
    frame = scores(200, seed=len(case))
    if case == "fractional labels":
        frame["label"] = (frame.label * 0.75 + frame.digit * 0.1).round(2)
    rows = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    (tmp_path / "ours").mkdir()
    (tmp_path / "tfmas").mkdir()
    assert batched.batched_computations(config, [rows]) is not None

    ours = analysis.analyze([rows.slice(0, 80), rows.slice(80)], config, tmp_path / "ours")
    monkeypatch.setattr(analysis, "batched_computations", lambda config, batches: None)
    tfmas = analysis.analyze([rows], config, tmp_path / "tfmas")

    assert ours.slices.keys() == tfmas.slices.keys() and len(ours.slices) == 10
    for where, found in tfmas.slices.items():
        assert ours.slices[where].keys() == found.keys()
        for key, value in found.items():
            assert ours.slices[where][key] == pytest.approx(value, rel=1e-5, nan_ok=True), key.name
    assert ours.validation.validation_ok == tfmas.validation.validation_ok
    plots = [list(tfma.load_plots(str(tmp_path / side))) for side in ("ours", "tfmas")]
    assert len(plots[0]) == len(plots[1]) == 10


def test_merged_parts_are_the_whole():
    """TFMA's own merge may count the first part twice: its cross entropy calls iter() twice."""
    frame = scores(300, seed=5)
    frame.loc[:100, "score"] = 0.5
    config = read_eval_config(EVERYTHING % "")
    parts = [
        pa.RecordBatch.from_pandas(frame.iloc[start : start + 50], preserve_index=False)
        for start in range(0, 300, 50)
    ]
    combine = batched.CombineRows(batched.batched_computations(config, parts).combined)
    combine.setup()

    accumulators = []
    for part in parts:
        rows = dict(batched.slice_batch(part, config))[()]
        accumulators.append(combine.add_input(combine.create_accumulator(), rows))
    found = combine.extract_output(combine.merge_accumulators(accumulators))

    overall = {key.name: value for key, value in found.items()}
    loss = sklearn_metrics.log_loss(frame.label, frame.score.astype(float))
    assert overall["example_count"] == 300
    assert overall["binary_crossentropy"] == pytest.approx(loss, abs=1e-6)
    assert overall["keras_loss"] == pytest.approx(loss, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "é", "", None]), st.sampled_from([0, 1, 7, None])),
        min_size=1,
        max_size=30,
    )
)
def test_every_row_is_in_each_slice_that_it_matches_once(pairs):
    config = config_pb2.EvalConfig()
    text_format.Parse(EVERYTHING % "", config)
    letters, digits = zip(*pairs, strict=True)
    number = np.arange(len(pairs))
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(number % 2),
            pa.array(number.astype(np.float32)),
            pa.array(letters, pa.string()),
            pa.array(digits, pa.int64()),
        ],
        names=["label", "score", "letter", "digit"],
    )

    found = [
        (key, int(row))
        for key, rows in batched.slice_batch(batch, config)
        for row in rows.predictions.ravel()
    ]

    expected = [((), row) for row in range(len(pairs))]
    for row, (letter, digit) in enumerate(pairs):
        if letter is not None:
            expected.append(((("letter", letter),), row))
        if digit is not None:
            expected.append(((("digit", digit),), row))
        if letter == "b" and digit is not None:
            expected.append(((("digit", digit), ("letter", "b")), row))
    assert sorted(map(str, found)) == sorted(map(str, expected))


class ThreeClasses(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x):
        return {"probabilities": tf.nn.softmax(tf.stack([x, -x, 0 * x], axis=1)), "x": x}


def test_classes_and_minimal_slice_sizes_go_through_tfmas_evaluator(tmp_path):
    model = export(ThreeClasses(), tmp_path / "model")
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 200)
    rows = pd.DataFrame({"x": x, "class": rng.integers(0, 3, 200), "rare": [1] * 5 + [0] * 195})
    examples = write_examples(tmp_path / "examples", rows)
    config = """
    model_specs { label_key: "class" prediction_key: "probabilities" }
    slicing_specs {}
    slicing_specs { feature_keys: "rare" }
    options { min_slice_size { value: 10 } }
    metrics_specs {
      thresholds { key: "accuracy" value { value_threshold { lower_bound { value: 0.01 } } } }
      metrics { class_name: "SparseCategoricalAccuracy" config: '"name": "accuracy"' }
    }
    """

    result, record = run(examples, model, tmp_path, config)

    classes = np.stack([x, -x, 0 * x], axis=1).argmax(axis=1)
    assert result["metrics"]["accuracy"] == pytest.approx(np.mean(classes == rows["class"]))
    failed = [check for check in record["checks"] if not check["passed"]]
    assert [check["slice"] for check in failed] == [{"rare": 1}]
    assert "accuracy where rare = 1 is missing" in record["reason"]


def test_the_component_hands_on_verdict_metrics_and_page(examples, model, tmp_path):
    def at(kind, name):
        return kind(name=name, uri=str(tmp_path / name), metadata={})

    metrics, report = at(dsl.Metrics, "metrics"), at(dsl.HTML, "report")
    evaluation, blessing = (
        at(artifacts.Evaluation, "evaluation"),
        at(artifacts.Blessing, "blessing"),
    )

    outputs = evaluator.python_func(
        examples=artifacts.Examples(name="examples", uri=str(examples), metadata={}),
        model=artifacts.Model(name="model", uri=str(model), metadata={}),
        evaluation=evaluation,
        blessing=blessing,
        metrics=metrics,
        report=report,
        eval_config=json_format.MessageToJson(text_format.Parse(CONFIG, config_pb2.EvalConfig())),
    )

    assert outputs.blessed is True and outputs.reason
    assert re.fullmatch(r"blessed, (\d+) of \1 checks passed", blessing.metadata["summary"])
    assert evaluation.metadata["summary"].startswith("3,000 rows, 6 slices: ")
    assert metrics.metadata["auc"] > 0.6 and all(map(math.isfinite, metrics.metadata.values()))
    assert Path(report.path).read_text().startswith("<!doctype html>")


def change(old: str, new: str) -> str:
    assert old in CONFIG
    return CONFIG.replace(old, new, 1)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("  ", "eval_config is empty"),
        (
            'model_specs { label_key: "late" }\nmetrics_spec {}',
            'proto text at line 2, column 1: Message type "tensorflow_model_analysis.EvalConfig" '
            'has no field named "metrics_spec"',
        ),
        ('{"modelSpecs": [}', "not JSON at line 1, column 17"),
        ('{"modelSpec": []}', 'in JSON: Message type "tensorflow_model_analysis.EvalConfig" has'),
        (change("model_specs", "model_specs {} model_specs"), "has 2 model_specs"),
        (change('label_key: "late"', ""), "has no label_key"),
        ('model_specs { label_key: "late" }', "has no metrics"),
        (change('"AUC"', '"AUK"'), "asks for the metric 'AUK', which neither TFMA nor Keras has"),
        (
            change('"BinaryAccuracy"', '"BinaryAccuracy" config: \'"treshold": 1\''),
            "cannot be made",
        ),
        (
            'model_specs { label_key: "late" } metrics_specs { metrics { class_name: "AUC" } }',
            "has no thresholds",
        ),
        (change("lower_bound { value: 0.6 }", ""), "neither lower_bound nor upper_bound"),
        (
            change(
                '{ feature_keys: "origin" }\n      threshold',
                '{ feature_keys: "month" }\n threshold',
            ),
            "for slices by month, which slicing_specs does not make",
        ),
        (
            change("slicing_specs {}\nslicing_specs", "slicing_specs"),
            "for all rows, which slicing_specs does not make",
        ),
        (
            change("metrics_specs {", 'metrics_specs { thresholds { key: "f1" value {} }'),
            "has a threshold on 'f1', but its metrics_specs entry has example_count, auc",
        ),
        (
            change(
                "value_threshold { lower_bound { value: 0.6 } }", "change_threshold { absolute {} }"
            ),
            "sets metrics_specs.metrics.threshold.change_threshold, which is refused: there is no",
        ),
        (change("slicing_specs {}", "cross_slicing_specs {}"), "sets cross_slicing_specs"),
        (
            change("slicing_specs {}", 'slicing_specs { slice_keys_sql: "SELECT 1" }'),
            "sets slicing_specs.slice_keys_sql",
        ),
        (
            CONFIG + "options { compute_confidence_intervals { value: true } }",
            "sets options.compute_confidence_intervals",
        ),
        (
            change('label_key: "late"', 'label_keys { key: "a" value: "late" }'),
            "sets model_specs.label_keys",
        ),
    ],
)
def test_a_config_that_is_no_gate_is_refused_with_a_sentence(config, sentence):
    with pytest.raises(PenstockError) as raised:
        read_eval_config(config)

    assert sentence in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        (
            change('"late"', '"tardy"'),
            {},
            "names the column 'tardy', which the examples do not have",
        ),
        (change('"late"', '"origin"'), {}, "label_key 'origin' of eval_config is of type string"),
        (
            change('feature_keys: "month"', 'feature_keys: "week"'),
            {},
            "slicing_specs of eval_config names the column 'week'",
        ),
        (
            change('"late"', '"late" example_weight_key: "grams"'),
            {},
            "example_weight_key of eval_config names the column 'grams'",
        ),
        (
            change('"late"', '"late" prediction_key: "logits"'),
            {},
            "prediction_key of eval_config is 'logits', but the model gives predictions",
        ),
        (
            change('"late"', '"late" signature_name: "serve"'),
            {},
            "no signature 'serve'; it has serving_default",
        ),
        (change('"late"', '"distance"'), {}, "Column 'distance' has missing values"),
        (change('"late"', '"month"'), {}, "for labels from 0 to 1, and the column 'month' holds"),
        (CONFIG, {"split": "test"}, "There is no split 'test'"),
        (CONFIG, {"beam_pipeline_args": ["runner"]}, "beam_pipeline_args holds 'runner'"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_leaves_nothing(
    examples, model, tmp_path, config, options, sentence
):
    with pytest.raises(PenstockError) as raised:
        run(examples, model, tmp_path, config, **options)

    assert sentence in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_or_wants_other_features_is_refused(examples, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(PenstockError, match="There is no model at"):
        run(examples, tmp_path / "model", tmp_path)

    other = export(ThreeClasses(), tmp_path / "other")
    with pytest.raises(PenstockError, match="takes the feature 'x', which the examples do not"):
        run(examples, other, tmp_path)

    (other / "serving" / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(PenstockError, match="cannot be loaded"):
        run(examples, other, tmp_path)
    shutil.rmtree(other)


def test_names_from_the_data_cannot_break_the_page():
    nasty = "<script>alert(1)</script>"
    check = {
        "metric": nasty,
        "slice": {"carrier": nasty},
        "kind": "lower_bound",
        "bound": 0.5,
        "value": None,
        "passed": False,
        "reason": nasty,
    }
    blessing = {
        "blessed": False,
        "reason": nasty,
        "rows": 1,
        "checks": [check],
        "model_digest": "sha256:1",
        "examples_digest": "sha256:2",
    }
    slices = [{"slice": {nasty: nasty}, "metrics": {nasty: None}}]

    page = render(blessing, {"slices": slices}, {nasty: {nasty: [nasty]}}, nasty, [1])

    assert "<script" not in page
    assert "&lt;script&gt;" in page
