"""The promises of components/tuner/README.md."""

import json
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.components.tuner.executor import tune
from penstock.components.tuner.job import Job
from penstock.components.tuner.outcome import best_of, trial_rows
from penstock.components.tuner.preparation import count_statistics
from penstock.components.tuner.settings import Search, Training, Validation
from penstock.components.tuner.storage import storage_url
from penstock.components.tuner.study import create_study
from penstock.components.tuner.workers import run_workers
from penstock.data.fold_rule import FoldRule
from penstock.data.folds import write_folds
from penstock.data.statistics import read_statistics
from penstock.errors import PenstockError
from penstock.training.hyperparameters import read_hyperparameters

AUTHORS = Path(__file__).parent / "authors"
TUNABLE, TRIPS = str(AUTHORS / "tunable.py"), str(AUTHORS / "trips.py")


def rides(rows: int, seed: int = 0) -> pa.Table:
    """Rows in no order of time, whose distance grows with the day."""
    random = np.random.default_rng(seed)
    day = random.permutation(np.arange(rows) // 30)
    return pa.table(
        {
            "distance": pa.array(random.normal(100, 5, rows) + day),
            "day": pa.array(day),
            "word": pa.array(random.choice(["x", "y", None], rows)),
            "late": pa.array((random.random(rows) < 0.3).astype(np.int64)),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    return write_artifacts(folder, {"train": rides(1200), "eval": rides(300, 1)}, shards=2)


def run(given, folder, search=None, validation=None, **training):
    """Search in a storage of the folder's own; return the metadata."""
    training = {"module": TUNABLE, "label": "late", "train_steps": 3, **training}
    search = {"trials": 1, "storage": str(folder / "study.sqlite"), **(search or {})}
    validation = {"time_column": "day", "folds": 3, **(validation or {})}
    return tune(
        given.examples,
        given.schema,
        folder / "best",
        folder / "trials",
        Training(**training),
        Search(**search),
        Validation(**validation),
        folder / "page.html",
        folder / "page.md",
    )


def trials_of(folder):
    return pq.read_table(folder / "trials" / "trials.parquet").to_pylist()


@pytest.fixture(scope="module")
def searched(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    return folder, run(given, folder, {"trials": 12, "workers": 2})


def test_the_best_of_all_trials_is_written_with_its_spread(searched):
    folder, metadata = searched
    content = json.loads((folder / "best" / "hyperparameters.json").read_text())
    rows = trials_of(folder)
    done = [row for row in rows if row["state"] == "complete"]
    best = min(done, key=lambda row: row["score"])
    assert len(rows) == 12 and content["study"]["trials"] == metadata["trials"]
    assert content["hyperparameters"] == json.loads(best["hyperparameters"])
    assert read_hyperparameters(folder / "best") == content["hyperparameters"]
    assert content["score"]["mean"] == best["score"] == fmean(best["fold_scores"])
    assert content["score"]["standard_deviation"] == stdev(best["fold_scores"])
    for row in done:
        units = json.loads(row["hyperparameters"])["units"]
        assert row["fold_scores"] == pytest.approx([(units - 20) ** 2 / 2000] * 3)
    assert [fold["eval_rows"] for fold in content["score"]["folds"]] == [300] * 3
    assert metadata["summary"].startswith("12 trials (")


def test_a_search_that_has_all_its_trials_gives_the_same_again(given, searched):
    folder, metadata = searched
    before = trials_of(folder)
    again = run(given, folder, {"trials": 12, "workers": 2})
    assert again == metadata and trials_of(folder) == before


def test_the_page_and_the_summary_tell_the_best(searched):
    folder, metadata = searched
    page, summary = (folder / "page.html").read_text(), (folder / "page.md").read_text()
    best = metadata["hyperparameters"]
    for text in (page, summary):
        assert str(best["units"]) in text and "3 folds in order of day" in text
    for heading in ("History", "Importance", "Parallel coordinates", "Trials"):
        assert f"<h2>{heading}</h2>" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.fixture(scope="module")
def means(given, tmp_path_factory):
    """One trial that reports what its preprocessing was fitted to, and what it was given."""
    scores = {}
    folder = tmp_path_factory.mktemp("means")
    for metric in ("eval_mean", "eval_seen"):
        run(given, folder, {"metric": metric, "study": metric, "hyperparameters": {"units": 3}})
        content = json.loads((folder / "best" / "hyperparameters.json").read_text())
        assert content["hyperparameters"] == {"units": 3}
        scores[metric] = [fold["score"] for fold in content["score"]["folds"]]
        assert [fold["train_rows"] for fold in content["score"]["folds"]] == [300, 600, 900]
    return scores


def test_the_preprocessing_is_fitted_to_the_folds_training_rows_alone(means):
    """Distances grow by the day, so that one row of the future would show in the mean."""
    table = rides(1200)
    day, distance = table["day"].to_numpy(), table["distance"].to_numpy()
    past = [distance[day < begins].mean() for begins in (10, 20, 30)]
    assert means["eval_mean"] == pytest.approx(past, rel=1e-6)


def test_run_fn_gets_the_statistics_of_the_folds_training_rows(means):
    assert means["eval_seen"] == [300, 600, 900]


def test_a_folds_statistics_are_those_of_tfdv(given, tmp_path):
    """Shards that folds share are counted once; the merged result is as counted in one go."""
    from penstock.components.statistics_gen.executor import generate_statistics

    folds = write_folds(given.examples, tmp_path / "folds", "train", FoldRule("time", 3, ("day",)))
    splits = [fold.train for fold in folds]
    count_statistics(tmp_path / "folds", splits, tmp_path / "ours")
    generate_statistics(tmp_path / "folds", tmp_path / "theirs")
    for split in splits:
        ours, theirs = (read_statistics(tmp_path / path, split) for path in ("ours", "theirs"))
        assert ours == theirs


def test_without_folds_the_evaluation_split_is_scored_on(given, tmp_path):
    search = {"metric": "eval_mean", "direction": "maximize"}
    metadata = run(given, tmp_path, search, {"kind": "none", "time_column": ""})
    assert metadata["score"] == pytest.approx(np.mean(rides(1200)["distance"].to_numpy()))
    assert metadata["standard_deviation"] is None
    content = json.loads((tmp_path / "best" / "hyperparameters.json").read_text())
    assert [(f["train_rows"], f["eval_rows"]) for f in content["score"]["folds"]] == [(1200, 300)]
    assert content["validation"] == "split eval"


def trips(rows: int) -> pa.Table:
    """Rows for the module `trips`, whose label depends on the distance."""
    random = np.random.default_rng(0)
    distance = random.gamma(4.0, 250.0, rows)
    late = random.random(rows) < 1 / (1 + np.exp((1000 - distance) / 200))
    return pa.table(
        {
            "distance": pa.array(distance),
            "carrier": pa.array(random.choice(["UA", "B6"], rows)),
            "hour": pa.array(random.integers(0, 24, rows)),
            "tail": pa.array(random.choice(["N1", "N2", "N3"], rows)),
            "late": pa.array(late.astype(np.int64)),
        }
    )


def test_a_keras_model_is_scored_as_the_trainer_scores_it(write_artifacts, tmp_path):
    given = write_artifacts(tmp_path / "given", {"train": trips(3000)})
    search = {"metric": "eval_auc", "direction": "maximize", "hyperparameters": {"units": 8}}
    validation = {"kind": "stratified", "time_column": "", "folds": 2}
    run(given, tmp_path, search, validation, module=TRIPS, train_steps=60, batch_size=128)
    (row,) = trials_of(tmp_path)
    assert row["state"] == "complete" and json.loads(row["hyperparameters"]) == {"units": 8}
    assert all(0.6 < score < 1 for score in row["fold_scores"])


@pytest.mark.parametrize(
    ("search", "training", "sentence"),
    [
        (
            {"metric": "eval_auc"},
            {},
            "There is no metric 'eval_auc': training by .*tunable.py",
        ),
        (
            {"trials": 2},
            {"custom_config": {"raises": True}},
            r"None of 2 trials was completed, 2 failed, the first because: run_fn in .*tunable.py "
            r"raised RuntimeError: \d+ units explode \(at .*tunable.py:\d+\)",
        ),
        ({}, {"custom_config": {"nan": 1}}, "the first because: Its score in fold 0 is nan"),
    ],
)
def test_when_no_trial_succeeds_a_sentence_says_why(search, training, sentence, given, tmp_path):
    with pytest.raises(PenstockError, match=sentence):
        run(given, tmp_path, search, **training)
    assert not (tmp_path / "best").exists() and not (tmp_path / "trials").exists()


@pytest.mark.parametrize(
    ("search", "training", "sentence"),
    [
        ({"trials": 0}, {}, "trials is 0; it must be 1 or more"),
        ({"workers": 0}, {}, "workers is 0"),
        ({"time_budget": 0.0}, {}, "time_budget is 0.0; give seconds above 0"),
        ({"direction": "up"}, {}, "direction is 'up'; expected minimize or maximize"),
        ({"pruner": "cut"}, {}, "pruner is 'cut'; expected median or none"),
        ({"space": {}}, {}, "The space is empty"),
        (
            {"trials": 2},
            {"module": TRIPS},
            "2 trials have nothing to choose from: .*trips.py",
        ),
        ({}, {"label": "later"}, "There is no label column 'later'"),
        ({}, {"train_split": "eval", "epochs": 0}, "epochs is 0"),
        ({}, {"seed": -1}, "seed is -1"),
        ({}, {"train_split": "other"}, "There is no split 'other'"),
        ({}, {"label": "distance"}, "The label 'distance' is read by a feature"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(search, training, sentence, given, tmp_path):
    with pytest.raises(PenstockError, match=sentence):
        run(given, tmp_path, search, **training)


def test_a_worker_that_is_killed_is_replaced_until_its_trial_has_failed(tmp_path):
    module = tmp_path / "deadly.py"
    module.write_text(
        "import os\n"
        "def run_fn(fn_args): ...\n"
        "def tuner_space(trial):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    url = f"sqlite:///{tmp_path}/study.sqlite"
    create_study(storage_url(url, "s"), "s", "minimize", {})
    training, search = Training(str(module), "late"), Search(trials=2, workers=2)
    job = Job(url, "s", "", search, training)
    run_workers(job.open(), job, tmp_path)
    rows = trial_rows(job.open())
    assert sorted((row["slot"], row["state"]) for row in rows) == [
        (slot, state) for slot in (0, 1) for state in ("failed", "lost", "lost")
    ]
    with pytest.raises(PenstockError, match="first because: its process ended, as 2 times before"):
        best_of(job.open())


def test_a_worker_that_cannot_begin_ends_the_search(tmp_path):
    url = f"sqlite:///{tmp_path}/study.sqlite"
    create_study(storage_url(url, "s"), "s", "minimize", {})
    (tmp_path / "exits.py").write_text("raise SystemExit(9)\n")
    search = Search(trials=2, workers=2)
    job = Job(url, "s", "", search, Training(str(tmp_path / "exits.py"), "late"))
    with pytest.raises(PenstockError, match="worker of the search ended with exit code 9 before"):
        run_workers(job.open(), job, tmp_path)
    (tmp_path / "broken.py").write_text("import nothing_of_the_kind\n")
    job = Job(url, "s", "", search, Training(str(tmp_path / "broken.py"), "late"))
    with pytest.raises(PenstockError, match=r"broken.py fails when imported, with ModuleNotFound"):
        run_workers(job.open(), job, tmp_path)


def test_an_unknown_cross_validation_is_one_sentence(given, tmp_path):
    with pytest.raises(PenstockError, match="cross_validation is 'loo'; expected time, kfold"):
        run(given, tmp_path, validation={"kind": "loo"})
