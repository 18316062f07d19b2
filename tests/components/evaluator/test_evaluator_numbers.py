"""Numbers by whole slices, against TFMA's evaluator, which takes rows one by one."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gate import ThreeClasses, export, run, write_examples
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
