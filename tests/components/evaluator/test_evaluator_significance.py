"""How sure each number is, against replicates computed one by one from reweighted rows."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gate import row_files, run, write_examples
from sklearn import metrics as sklearn_metrics

from penstock.components.evaluator.analysis import analyze
from penstock.components.evaluator.config import read_eval_config
from penstock.components.evaluator.significance import assess
from penstock.evaluation.bootstrap import poisson_counts

CONFIG = """
model_specs { label_key: "label" prediction_key: "score" %s }
model_specs { prediction_key: "old" is_baseline: true }
slicing_specs {}
slicing_specs { feature_keys: "letter" }
cross_slicing_specs { baseline_spec {} slicing_specs { feature_keys: "letter" } }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics { class_name: "AUC" threshold { value_threshold { lower_bound { value: 0.5 } } } }
  metrics { class_name: "AUCPrecisionRecall" }
  metrics { class_name: "BinaryAccuracy" }
  metrics { class_name: "Precision" config: '"thresholds": [0.4]' }
  metrics { class_name: "F1Score" }
  metrics { class_name: "MatthewsCorrelationCoefficient" }
  metrics { class_name: "Calibration" }
  metrics { class_name: "BinaryCrossEntropy" }
  metrics { class_name: "MeanSquaredError" }
  metrics { class_name: "MeanAbsoluteError" }
  metrics { class_name: "MeanPrediction" }
  metrics { class_name: "SquaredPearsonCorrelation" }
  metrics { class_name: "CoefficientOfDiscrimination" }
  metrics { class_name: "SpecificityAtSensitivity" config: '"sensitivity": 0.5' }
}
"""
REPLICATES, SEED = 60, 5


def scored(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.4).astype(int)
    score = 1 / (1 + np.exp(-rng.normal(1.5 * label - 0.8, 1.0)))
    old = 1 / (1 + np.exp(-(np.log(score / (1 - score)) + rng.normal(0, 0.7, rows))))
    return pd.DataFrame(
        {
            "label": label,
            "score": score.astype(np.float32),
            "old": old.astype(np.float32),
            "letter": rng.choice(np.array(["a", "b"]), rows),
            "w": rng.uniform(0.2, 3, rows),
        }
    )


def by_hand(name: str, y, p, w) -> float:
    """A metric of weighted rows, from scikit-learn or its definition."""
    hard, mean = p > 0.5, lambda values: np.average(values, weights=w)
    return {
        "binary_accuracy": lambda: sklearn_metrics.accuracy_score(y, hard, sample_weight=w),
        "precision": lambda: sklearn_metrics.precision_score(y, p > 0.4, sample_weight=w),
        "f1_score": lambda: sklearn_metrics.f1_score(y, hard, sample_weight=w),
        "matthews_correlation_coefficient": lambda: sklearn_metrics.matthews_corrcoef(
            y, hard, sample_weight=w
        ),
        "calibration": lambda: (w @ p) / (w @ y),
        "binary_crossentropy": lambda: sklearn_metrics.log_loss(y, p, sample_weight=w),
        "mean_squared_error": lambda: mean((y - p) ** 2),
        "mean_absolute_error": lambda: mean(np.abs(y - p)),
        "mean_prediction": lambda: mean(p),
        "squared_pearson_correlation": lambda: (
            np.cov(y, p, aweights=w, ddof=0)[0, 1] ** 2
            / np.prod(np.diag(np.cov(y, p, aweights=w, ddof=0)))
        ),
        "coefficient_of_discrimination": lambda: (
            np.average(p[y == 1], weights=w[y == 1]) - np.average(p[y == 0], weights=w[y == 0])
        ),
    }[name]()


SCALE = {"identity": lambda v: v, "log": np.log, "logit": lambda v: np.log(v / (1 - v))}


@pytest.fixture(scope="module", params=["plain", "weighted"])
def assessed(request, tmp_path_factory):
    weight = 'example_weight_key: "w"' if request.param == "weighted" else ""
    config = read_eval_config(CONFIG % weight, champion=True)
    frame = scored(400, seed=2)
    batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    numbers = np.arange(400) * 3  # Rows between were left out: numbers are the split's.
    folder = tmp_path_factory.mktemp("work")
    files = row_files(folder / "rows", batch.slice(0, 150), batch.slice(150), numbers=numbers)
    analysis = analyze(files, config, tmp_path_factory.mktemp("analysis"))
    found = assess(files, config, analysis, folder / "sums", replicates=REPLICATES, seed=SEED)
    counts = poisson_counts(0, 1200, REPLICATES, SEED)[::3].astype(float)
    return request.param == "weighted", frame, analysis, found, counts


def names(analysis, place, model, *, diff=False):
    return {
        key.name: key
        for key in analysis.slices[place]
        if key.is_diff == diff and key.model_name == model
    }


def replicated(name, frame, model, counts, weighted):
    column = {"candidate": "score", "baseline": "old"}[model]
    y, p = frame.label.to_numpy(), frame[column].to_numpy(np.float64)
    w = frame.w.to_numpy() if weighted else np.ones(len(frame))
    return np.array([by_hand(name, y, p, w * counts[:, r]) for r in range(counts.shape[1])])


@pytest.mark.parametrize("place", [(), (("letter", "b"),)])
def test_bootstrap_errors_are_the_spread_of_metrics_of_reweighted_rows(assessed, place):
    weighted, frame, analysis, found, counts = assessed
    rows = (frame.letter == "b").to_numpy() if place else np.ones(len(frame), bool)
    checked = 0
    for name, key in names(analysis, place, "candidate").items():
        estimate = found.values.get((place, key))
        if estimate is None or estimate.method != "poisson_bootstrap":
            continue
        expected = replicated(name, frame[rows], "candidate", counts[rows], weighted)
        spread = np.std(SCALE[estimate.scale](expected), ddof=1)
        assert estimate.error == pytest.approx(spread, rel=1e-3), name
        checked += 1
    assert checked == (11 if weighted else 9)


def test_differences_are_paired(assessed):
    weighted, frame, analysis, found, counts = assessed
    changes = names(analysis, (), "candidate", diff=True)
    for name in ("calibration", "f1_score", "mean_squared_error", "binary_accuracy"):
        one, other = (
            replicated(name, frame, model, counts, weighted) for model in ("candidate", "baseline")
        )
        estimate = found.values[(), changes[name]]
        assert estimate.error == pytest.approx(np.std(one - other, ddof=1), rel=1e-3)
        relative = found.relative[(), changes[name]]
        assert relative.error == pytest.approx(np.std((one - other) / other, ddof=1), rel=1e-3)


def test_slices_are_compared_by_the_same_replicates(assessed):
    weighted, frame, analysis, found, counts = assessed
    place = ((), (("letter", "a"),))
    rows = (frame.letter == "a").to_numpy()
    key = names(analysis, place, "candidate")["calibration"]

    whole = replicated("calibration", frame, "candidate", counts, weighted)
    part = replicated("calibration", frame[rows], "candidate", counts[rows], weighted)

    assert found.values[place, key].error == pytest.approx(np.std(whole - part, ddof=1), rel=1e-3)


def test_areas_by_influence_move_as_resampled_areas_do(assessed):
    weighted, frame, analysis, found, _ = assessed
    counts = poisson_counts(0, 400, 600, seed=9).astype(float)
    y, w = frame.label.to_numpy(), frame.w.to_numpy() if weighted else np.ones(400)
    measures = {
        "auc": sklearn_metrics.roc_auc_score,
        "auc_precision_recall": sklearn_metrics.average_precision_score,
    }
    for name, measure in measures.items():
        estimate = found.values[(), names(analysis, (), "candidate")[name]]
        areas = [measure(y, frame.score, sample_weight=w * counts[:, r]) for r in range(600)]
        error = np.std(SCALE["logit"](np.array(areas)), ddof=1)
        assert estimate.error == pytest.approx(error, rel=0.15)
        assert estimate.method == ("delong" if name == "auc" and not weighted else "influence")


def test_rates_are_wilsons_and_what_is_not_known_has_no_interval(assessed):
    weighted, frame, analysis, found, _ = assessed
    keys = names(analysis, (), "candidate")

    assert ((), keys["example_count"]) not in found.values
    assert ((), keys["specificity_at_sensitivity"]) not in found.values
    if not weighted:
        precision = found.values[(), keys["precision"]]
        assert precision.method == "wilson"
        assert precision.trials == pytest.approx((frame.score > 0.4).sum())


def test_intervals_do_not_depend_on_shards_and_do_on_the_seed(frame, model, tmp_path):
    intervals = []
    for number, (shards, seed) in enumerate([(1, 0), (7, 0), (1, 1)]):
        folder = tmp_path / str(number)
        examples = write_examples(folder / "examples", frame, shards=shards)
        run(examples, model, folder, seed=seed, replicates=40)
        written = json.loads((folder / "evaluation" / "metrics.json").read_text())
        intervals.append([part["intervals"]["calibration"] for part in written["slices"]])

    for one, other in zip(intervals[0], intervals[1], strict=True):
        assert one["low"] == pytest.approx(other["low"], rel=1e-5)
        assert one["high"] == pytest.approx(other["high"], rel=1e-5)
    assert intervals[0] != intervals[2]


def test_without_replicates_what_is_exact_keeps_its_interval(examples, model, tmp_path):
    run(examples, model, tmp_path, replicates=0)

    found = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["slices"][0]

    assert {name: span["method"] for name, span in found["intervals"].items()} == {
        "auc": "delong",
        "binary_accuracy": "wilson",
    }


def test_the_table_holds_what_the_json_does(examples, model, tmp_path):
    run(examples, model, tmp_path, champion=model, replicates=20)

    written = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    table = pd.read_parquet(tmp_path / "evaluation" / "metrics.parquet")

    for part in written["slices"]:
        rows = table[table.slice == json.dumps(part["slice"])]
        own = rows[(rows.model == "candidate") & (rows.of == "value")].set_index("metric")
        assert own.value.to_dict() == part["metrics"]
        assert own.low.dropna().to_dict() == {n: s["low"] for n, s in part["intervals"].items()}
        assert set(rows[rows.of == "change"].metric) == set(part["changes"])
        assert not any(math.isinf(v) for v in rows.high.dropna())
