"""The model gate: TFMA's numbers, a verdict that explains itself, and a page that shows it."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from gate import CONFIG, export, flights, predicted, run, write_examples
from google.protobuf import json_format, text_format
from kfp import dsl
from sklearn import metrics as sklearn_metrics
from tensorflow_model_analysis.api import model_eval_lib as tfma
from tensorflow_model_analysis.proto import config_pb2

from penstock.components import artifacts
from penstock.components.evaluator.component import evaluator
from penstock.components.evaluator.page import render
from penstock.components.evaluator.records import markdown
from penstock.data.digest import digest_path


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


def test_the_component_hands_on_verdict_metrics_and_page(examples, model, tmp_path):
    def at(kind, name):
        return kind(name=name, uri=str(tmp_path / name), metadata={})

    metrics, report = at(dsl.Metrics, "metrics"), at(dsl.HTML, "report")
    curve, summary = at(dsl.ClassificationMetrics, "curve"), at(dsl.Markdown, "summary")
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
        curve=curve,
        summary=summary,
        report=report,
        eval_config=json_format.MessageToJson(text_format.Parse(CONFIG, config_pb2.EvalConfig())),
    )

    assert outputs.blessed is True and outputs.reason
    assert re.fullmatch(r"blessed, (\d+) of \1 checks passed", blessing.metadata["summary"])
    assert evaluation.metadata["summary"].startswith("3,000 rows, 6 slices: ")
    assert metrics.metadata["auc"] > 0.6 and all(map(math.isfinite, metrics.metadata.values()))
    assert Path(report.path).read_text().startswith("<!doctype html>")
    assert Path(summary.path).read_text().startswith("# Blessed\n")
    points = curve.metadata["confidenceMetrics"]
    found = [(point["falsePositiveRate"], point["recall"]) for point in points]
    assert found[0] == (0.0, 0.0) and found[-1] == (1.0, 1.0) and found == sorted(found)
    assert sklearn_metrics.auc(*zip(*found, strict=True)) == pytest.approx(
        metrics.metadata["auc"], abs=2e-3
    )


def test_names_from_the_data_cannot_break_the_page():
    nasty = "<script>alert(1)</script>"
    check = {
        "metric": nasty,
        "slice": {"carrier": nasty},
        "compared_slice": {nasty: nasty},
        "of": "value",
        "kind": "lower_bound",
        "bound": 0.5,
        "value": None,
        "baseline": 0.4,
        "interval": [0.1, 0.2],
        "confidence": 0.95,
        "method": nasty,
        "rows": 3,
        "passed": False,
        "reason": nasty,
    }
    blessing = {
        "blessed": False,
        "reason": nasty,
        "forced": {"by": nasty, "reason": nasty, "expires": nasty},
        "first_model": "value_thresholds",
        "policy": {"mode": "confident", "slices": "not_disproven", "small_slices": nasty},
        "rows": 1,
        "checks": [check],
        "model_digest": "sha256:1",
        "champion_digest": nasty,
        "examples_digest": "sha256:2",
    }
    interval = {"low": 0.1, "high": 0.3, "method": nasty}
    place = {"slice": {nasty: nasty}, "metrics": {nasty: 0.2}, "intervals": {nasty: interval}}
    metrics = {"rows": 1, "confidence": 0.95, "slices": [place]}

    page = render(blessing, metrics, [], {nasty: {nasty: [nasty]}}, nasty, [1])
    said = markdown(blessing, metrics)

    assert "<script" not in page and "<script" not in said.replace("\\<", "")
    assert "&lt;script&gt;" in page
