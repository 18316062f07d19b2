"""A challenger against a champion over the same rows, and what happens without one."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from gate import CONFIG, export, predicted, run, write_examples
from sklearn import metrics as sklearn_metrics
from tensorflow_model_analysis.api import model_eval_lib as tfma

from penstock.components.evaluator.config import read_eval_config
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.evaluation.blessing import read_blessing
from penstock.evaluation.champion import write_no_champion

COMPARED = """
model_specs { label_key: "late" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
metrics_specs {
  metrics {
    class_name: "AUC"
    threshold {
      value_threshold { lower_bound { value: 0.6 } }
      change_threshold { direction: HIGHER_IS_BETTER absolute { value: %s } }
    }
  }
  metrics {
    class_name: "BinaryCrossEntropy"
    per_slice_thresholds {
      slicing_specs {}
      threshold {
        change_threshold {
          direction: LOWER_IS_BETTER absolute { value: 0 } relative { value: -0.01 }
        }
      }
    }
  }
}
"""


class Blunt(tf.Module):
    """Knows the distance only, and hears it through noise."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="distance")])
    def serve(self, distance):
        known = tf.where(tf.math.is_nan(distance), 0.0, distance)
        return {"predictions": tf.sigmoid(0.6 * known + 0.5 * tf.sin(9 * known))}


def bluntly(frame: pd.DataFrame) -> np.ndarray:
    known = frame.distance.fillna(0).to_numpy()
    return 1 / (1 + np.exp(-(0.6 * known + 0.5 * np.sin(9 * known))))


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    return export(Blunt(), tmp_path_factory.mktemp("champion"))


@pytest.fixture(scope="module")
def compared(examples, model, champion, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    return folder, *run(examples, model, folder, COMPARED % 0, champion=champion)


def test_both_models_are_measured_on_the_same_rows(compared, frame, champion):
    folder, result, record = compared
    written = json.loads((folder / "evaluation" / "metrics.json").read_text())

    for part in written["slices"]:
        rows = frame
        for column, value in part["slice"].items():
            rows = rows[rows[column] == value]
        own = sklearn_metrics.roc_auc_score(rows.late, predicted(rows))
        other = sklearn_metrics.roc_auc_score(rows.late, bluntly(rows))
        assert part["metrics"]["auc"] == pytest.approx(own, abs=1e-3)
        assert part["baseline"]["auc"] == pytest.approx(other, abs=1e-3)
        assert part["changes"]["auc"] == pytest.approx(own - other, abs=2e-3)
    assert result["blessed"] is True
    assert record["champion_digest"] == digest_path(champion / "serving")
    assert record["first_model"] is None


def test_tfma_reads_both_models_and_its_validation_agrees(compared):
    output = str(compared[0] / "evaluation")

    result = tfma.load_eval_result(output, model_name="baseline")

    assert len(result.slicing_metrics) == 4
    assert tfma.load_validation_result(output).validation_ok


def test_checks_say_what_changed_against_what(compared):
    checks = {
        (check["metric"], check["of"], str(check["slice"])): check
        for check in compared[2]["checks"]
    }
    change = checks["auc", "change", "{}"]
    loss = checks["binary_crossentropy", "relative_change", "{}"]

    assert change["value"] > 0 and change["interval"][0] > 0 and change["method"] == "delong"
    assert change["rows"] == 3000 and change["bound"] == 0 and change["kind"] == "lower_bound"
    assert loss["kind"] == "upper_bound" and loss["value"] < -0.01
    absolute = checks["binary_crossentropy", "change", "{}"]
    assert loss["value"] == pytest.approx(absolute["value"] / absolute["baseline"])
    assert "the change of auc against the champion over all rows is 0.0" in change["reason"]


def test_a_challenger_that_is_worse_is_not_blessed(examples, model, champion, tmp_path):
    result, record = run(examples, champion, tmp_path, COMPARED % 0, champion=model)

    failed = {(check["metric"], check["of"]) for check in record["checks"] if not check["passed"]}
    assert result["blessed"] is False
    assert failed >= {("auc", "change"), ("binary_crossentropy", "relative_change")}
    assert re.search(
        r"change of auc against the champion .* below its lower bound 0", record["reason"]
    )
    assert not tfma.load_validation_result(str(tmp_path / "evaluation")).validation_ok


def test_a_model_is_never_superior_to_itself_and_never_inferior(examples, model, tmp_path):
    confident = {"mode": "confident"}

    same = run(examples, model, tmp_path, COMPARED % -0.001, champion=model, policy=confident)[1]
    better = run(examples, model, tmp_path, COMPARED % 0, champion=model, policy=confident)[1]

    auc = [check for check in same["checks"] if (check["metric"], check["of"]) == ("auc", "change")]
    assert len(auc) == 4 and all(check["passed"] and check["value"] == 0 for check in auc)
    failed = [
        check for check in better["checks"] if (check["metric"], check["of"]) == ("auc", "change")
    ]
    assert not any(check["passed"] for check in failed)


@pytest.mark.parametrize("answer", ["not connected", "none yet"])
def test_without_a_champion_value_thresholds_alone_decide_and_the_record_says_so(
    examples, model, tmp_path, answer
):
    none = None
    if answer == "none yet":
        none = tmp_path / "none"
        none.mkdir()
        write_no_champion(none, "No version of flights is champion.")

    result, record = run(examples, model, tmp_path, COMPARED % 0, champion=none)

    assert result["blessed"] is True and record["first_model"] == "value_thresholds"
    assert {check["of"] for check in record["checks"]} == {"value"}
    assert record["champion_digest"] is None
    assert "there was no champion" in (tmp_path / "report").read_text()


def test_the_policy_may_refuse_a_first_model(examples, model, tmp_path):
    result, record = run(examples, model, tmp_path, COMPARED % 0, policy={"first_model": "refuse"})

    assert result["blessed"] is False and record["first_model"] == "refuse"
    assert "There is no champion to compare with" in record["reason"]


def test_change_thresholds_alone_are_no_gate_for_a_first_model(examples, model, tmp_path):
    config = (COMPARED % 0).replace("value_threshold { lower_bound { value: 0.6 } }", "")

    with pytest.raises(PenstockError, match="change thresholds only, and there is no champion yet"):
        run(examples, model, tmp_path, config)

    assert list(tmp_path.iterdir()) == []


def test_a_champion_that_is_neither_model_nor_none_is_refused(examples, model, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(PenstockError, match="holds neither a model in serving/ nor none"):
        run(examples, model, tmp_path, COMPARED % 0, champion=tmp_path / "empty")


def test_predictions_may_be_columns_of_the_examples(frame, tmp_path):
    rows = frame.assign(score=predicted(frame), old=bluntly(frame))
    rows.loc[:2, "score"] = np.nan
    examples = write_examples(tmp_path / "examples", rows)
    config = (COMPARED % 0).replace(
        'model_specs { label_key: "late" }',
        """
        model_specs { label_key: "late" prediction_key: "score" }
        model_specs { prediction_key: "old" is_baseline: true }
        """,
    )

    result, record = run(examples, None, tmp_path, config)

    there = rows.score.notna()
    auc = sklearn_metrics.roc_auc_score(rows.late[there], rows.score[there])
    assert result["metrics"]["auc"] == pytest.approx(auc, abs=1e-3)
    assert result["blessed"] is False and "not a finite number for 3 of 3,000" in record["reason"]
    assert record["model_digest"] is None
    assert {check["of"] for check in record["checks"]} == {"value", "change", "relative_change"}
    with pytest.raises(PenstockError, match="names the column 'gone', which the examples do not"):
        run(examples, None, tmp_path, config.replace('"score"', '"gone"'))
    with pytest.raises(PenstockError, match="is of type string; predictions are numbers"):
        run(examples, None, tmp_path, config.replace('"score"', '"origin"'))
    with pytest.raises(PenstockError, match="There is no model, and model_specs"):
        run(examples, None, tmp_path, CONFIG)


def test_a_forced_blessing_opens_the_gate_and_leaves_the_verdict(examples, model, tmp_path):
    forced = {"by": "ana", "reason": "it is a drill", "expires": "2999-01-01T00:00:00Z"}
    config = CONFIG.replace("0.6", "0.99")

    result, record = run(examples, model, tmp_path, config, forced=forced)
    late = {**forced, "expires": "2001-01-01T00:00:00Z"}
    expired, _ = run(examples, model, tmp_path / "late", config, forced=late)

    assert result["blessed"] is True and record["blessed"] is False
    assert result["reason"].startswith("Forced by ana until 2999-01-01T00:00+00:00: it is a drill.")
    assert read_blessing(tmp_path / "blessing").stands()[0] is True
    assert "Forced</strong> by ana" in (tmp_path / "report").read_text()
    assert expired["blessed"] is False and "expired" in expired["reason"]


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ('{ label_key: "late" } model_specs { label_key: "late" }', "2 model_specs, 0 of them"),
        ('{ is_baseline: true label_key: "late" }', "1 model_specs, 1 of them baselines"),
        (
            '{ label_key: "late" } model_specs { label_key: "month" is_baseline: true }',
            "The baseline of eval_config has label_key 'month' and the candidate 'late'",
        ),
        (
            '{ name: "a" label_key: "late" } model_specs { name: "a" is_baseline: true }',
            "Both model_specs of eval_config are named 'a'",
        ),
    ],
)
def test_model_specs_that_do_not_fit_together_are_refused(specs, sentence):
    with pytest.raises(PenstockError, match=re.escape(sentence)):
        read_eval_config((COMPARED % 0).replace('{ label_key: "late" }', specs), champion=True)
