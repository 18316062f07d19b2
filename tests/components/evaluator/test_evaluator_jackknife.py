"""Every metric has an interval: the jackknife of what no formula is known of."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gate import row_files, run, write_examples

from penstock.components.evaluator.analysis import analyze
from penstock.components.evaluator.config import read_eval_config
from penstock.components.evaluator.jackknife import PARTS, fill_by_jackknife
from penstock.components.evaluator.significance import Significance
from penstock.data.row_hash import mix

CONFIG = """
model_specs { label_key: "label" prediction_key: "score" }
model_specs { prediction_key: "old" is_baseline: true }
slicing_specs {}
slicing_specs { feature_keys: "letter" }
cross_slicing_specs { baseline_spec {} slicing_specs { feature_keys: "letter" } }
metrics_specs {
  metrics { class_name: "LogCoshError" threshold { value_threshold { upper_bound { value: 1 } } } }
  metrics { class_name: "AUC" }
  metrics { class_name: "TruePositives" }
}
"""
ROWS, SEED = 600, 3


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    label = (rng.random(ROWS) < 0.4).astype(int)
    score = 1 / (1 + np.exp(-rng.normal(1.5 * label - 0.8, 1.0)))
    old = np.clip(score + rng.normal(0, 0.1, ROWS), 0, 1)
    letter = np.where(np.arange(ROWS) < ROWS - 10, rng.choice(np.array(["a", "b"]), ROWS), "few")
    return pd.DataFrame(
        {
            "label": label,
            "score": score.astype(np.float32),
            "old": old.astype(np.float32),
            "letter": letter,
        }
    )


@pytest.fixture(scope="module")
def filled(frame, tmp_path_factory):
    """The analysis, what the jackknife says of it, and each row's part."""
    config = read_eval_config(CONFIG, champion=True)
    batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    folder = tmp_path_factory.mktemp("work")
    files = row_files(folder / "rows", batch.slice(0, 250), batch.slice(250))
    analysis = analyze(files, config, tmp_path_factory.mktemp("analysis"))
    nothing = Significance({}, {})
    found = fill_by_jackknife(nothing, files, config, analysis, folder, SEED)
    part = mix(mix(np.uint64([SEED])) ^ np.arange(ROWS, dtype=np.uint64)) % np.uint64(PARTS)
    return analysis, found, part


def error_of(metric, rows, part):
    """TFMA's jackknife in a loop: Student's t of the pseudo-values."""
    whole = metric(rows)
    pseudo = [PARTS * whole - (PARTS - 1) * metric(rows & (part != p)) for p in range(PARTS)]
    return whole, np.std(pseudo, ddof=1) / np.sqrt(PARTS)


def key_of(analysis, place, name, model, diff=False):
    (key,) = (
        key
        for key in analysis.slices[place]
        if (key.name, key.model_name, key.is_diff) == (name, model, diff)
    )
    return key


def log_cosh(frame, column):
    error = (frame[column].astype(np.float64) - frame.label).to_numpy()
    return lambda rows: float(np.log(np.cosh(error[rows])).mean())


@pytest.mark.parametrize("place", [(), (("letter", "b"),)])
def test_errors_are_those_of_leaving_parts_out(frame, filled, place):
    analysis, found, part = filled
    rows = (frame.letter == "b").to_numpy() if place else np.ones(ROWS, bool)
    new, old = (log_cosh(frame, column) for column in ("score", "old"))
    for metric, model, diff in (
        (new, "candidate", False),
        (old, "baseline", False),
        (lambda chosen: new(chosen) - old(chosen), "candidate", True),
    ):
        key = key_of(analysis, place, "log_cosh_error", model, diff)
        value, error = error_of(metric, rows, part)
        estimate = found.values[place, key]
        assert estimate.value == pytest.approx(value, abs=1e-5)
        assert estimate.error == pytest.approx(error, rel=1e-3)
        assert (estimate.method, estimate.degrees) == ("jackknife", PARTS - 1)
    relative = error_of(lambda chosen: new(chosen) / old(chosen) - 1, rows, part)[1]
    key = key_of(analysis, place, "log_cosh_error", "candidate", diff=True)
    assert found.relative[place, key].error == pytest.approx(relative, rel=1e-3)


def test_the_difference_of_two_slices_is_that_of_their_samples(frame, filled):
    analysis, found, part = filled
    metric, of_b = log_cosh(frame, "score"), (frame.letter == "b").to_numpy()
    place = ((), (("letter", "b"),))
    _, error = error_of(lambda rows: metric(rows) - metric(rows & of_b), np.ones(ROWS, bool), part)
    key = key_of(analysis, place, "log_cosh_error", "candidate")
    assert found.values[place, key].error == pytest.approx(error, rel=1e-3)


def test_a_metric_of_a_thousand_thresholds_has_a_spread_and_counts_have_none(filled):
    analysis, found, _ = filled
    named = {key.name for _, key in found.values}
    assert named == {"log_cosh_error", "auc"}
    key = key_of(analysis, (), "auc", "candidate")
    # The area's own method is at hand to compare with: 600 rows, 20 parts.
    assert 0.01 < found.values[(), key].error < 0.04


def test_a_slice_with_a_part_without_rows_has_no_interval(filled):
    analysis, found, _ = filled
    place = (("letter", "few"),)
    assert place in analysis.slices
    assert not [where for where, _ in found.values if where == place]


def test_in_point_mode_every_metric_that_is_no_count_has_an_interval(frame, tmp_path):
    examples = write_examples(tmp_path / "examples", frame[frame.letter != "few"], shards=2)
    run(examples, None, tmp_path, CONFIG)

    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    counts = {"true_positives", "example_count"}
    for place in metrics["slices"]:
        assert set(place["intervals"]) == set(place["metrics"]) - counts
        assert set(place["change_intervals"]) == set(place["changes"]) - counts
        assert place["intervals"]["log_cosh_error"]["method"] == "jackknife"
        assert place["intervals"]["auc"]["method"] == "delong"
