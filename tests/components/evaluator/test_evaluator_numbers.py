"""Numbers by whole slices, against TFMA's evaluator, which takes rows one by one."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gate import ThreeClasses, export, row_files, run, write_examples
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from tensorflow_model_analysis.api import model_eval_lib as tfma
from tensorflow_model_analysis.proto import config_pb2

from penstock.components.evaluator import analysis, batched
from penstock.components.evaluator.config import read_eval_config

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


# With flags each file is an element of its own, so that parts are merged.
BEAM = ["--runner=DirectRunner"]


@pytest.mark.parametrize("case", ["plain", "weighted", "fractional labels"])
def test_slices_at_once_give_the_numbers_of_tfmas_own_evaluator(case, tmp_path, monkeypatch):
    config = read_eval_config(EVERYTHING % ('example_weight_key: "w"' * (case == "weighted")))
    frame = scores(200, seed=len(case))
    if case == "fractional labels":
        frame["label"] = (frame.label * 0.75 + frame.digit * 0.1).round(2)
    rows = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    (tmp_path / "ours").mkdir()
    (tmp_path / "tfmas").mkdir()
    assert batched.batched_computations(config, rows.schema) is not None

    parts = row_files(tmp_path / "rows", rows.slice(0, 80), rows.slice(80))
    ours = analysis.analyze(parts, config, tmp_path / "ours", beam_pipeline_args=BEAM)
    monkeypatch.setattr(analysis, "batched_computations", lambda config, schema: None)
    tfmas = analysis.analyze(parts, config, tmp_path / "tfmas")

    assert ours.slices.keys() == tfmas.slices.keys() and len(ours.slices) == 10
    for where, found in tfmas.slices.items():
        assert ours.slices[where].keys() == found.keys()
        for key, value in found.items():
            assert ours.slices[where][key] == pytest.approx(value, rel=1e-5, nan_ok=True), key.name
    assert ours.validation.validation_ok == tfmas.validation.validation_ok
    plots = [list(tfma.load_plots(str(tmp_path / side))) for side in ("ours", "tfmas")]
    assert len(plots[0]) == len(plots[1]) == 10


TWO_MODELS = """
model_specs { name: "new" label_key: "label" prediction_key: "score" }
model_specs { name: "old" prediction_key: "digit_score" is_baseline: true }
slicing_specs {}
cross_slicing_specs {
  baseline_spec { feature_values { key: "letter" value: "a" } }
  slicing_specs { feature_keys: "letter" }
}
cross_slicing_specs { baseline_spec {} slicing_specs { feature_keys: "digit" } }
metrics_specs {
  metrics {
    class_name: "AUC"
    threshold {
      value_threshold { lower_bound { value: 0.5 } }
      change_threshold { direction: HIGHER_IS_BETTER absolute { value: 0 } relative { value: 0.1 } }
    }
    cross_slice_thresholds {
      cross_slicing_specs {
        baseline_spec { feature_values { key: "letter" value: "a" } }
        slicing_specs { feature_keys: "letter" }
      }
      threshold { value_threshold { upper_bound { value: 0.05 } } }
    }
  }
  metrics { class_name: "BinaryAccuracy" }
  metrics { class_name: "BinaryCrossEntropy" }
  metrics { class_name: "MeanSquaredError" }
  metrics { class_name: "Calibration" }
}
"""


def test_two_models_and_compared_slices_give_the_numbers_and_failures_of_tfmas_evaluator(tmp_path):
    config = read_eval_config(TWO_MODELS, champion=True)
    frame = scores(120, seed=11).assign(digit_score=lambda f: (f.digit / 2).astype(np.float32))
    rows = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    for side in ("ours", "tfmas"):
        (tmp_path / side).mkdir()

    parts = row_files(tmp_path / "rows", rows.slice(0, 80), rows.slice(80))
    ours = analysis.analyze(parts, config, tmp_path / "ours", beam_pipeline_args=BEAM)
    tfmas = analysis.analyze(parts, config, tmp_path / "tfmas", rows_alone=True)

    assert ours.by_slices and not tfmas.by_slices
    assert ours.slices.keys() == tfmas.slices.keys() and len(ours.slices) == 1 + 3 + 3 + 3 + 3
    for where, found in tfmas.slices.items():
        assert ours.slices[where].keys() == found.keys()
        for key, value in found.items():
            assert ours.slices[where][key] == pytest.approx(value, abs=1e-6, nan_ok=True), key
    failures = [
        sorted(
            (str(record.slice_key), str(record.cross_slice_key), str(failure.metric_key))
            for record in side.validation.metric_validations_per_slice
            for failure in record.failures
        )
        for side in (ours, tfmas)
    ]
    assert failures[0] == failures[1] and any(cross for _, cross, _ in failures[0])


def test_merged_parts_are_the_whole():
    """TFMA's own merge may count the first part twice: its cross entropy calls iter() twice."""
    frame = scores(300, seed=5)
    frame.loc[:100, "score"] = 0.5
    config = read_eval_config(EVERYTHING % "")
    parts = [
        pa.RecordBatch.from_pandas(frame.iloc[start : start + 50], preserve_index=False)
        for start in range(0, 300, 50)
    ]
    combine = batched.CombineRows(batched.batched_computations(config, parts[0].schema).combined)
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
        for row in rows[""].predictions.ravel()
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
