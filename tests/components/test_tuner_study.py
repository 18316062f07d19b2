"""Studies: shared, resumed, budgeted; without TensorFlow, by objectives that a test can foresee."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, median

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from penstock.components.tuner import study as study_module
from penstock.components.tuner.outcome import best_of, importance, study_digest, trial_rows
from penstock.components.tuner.search import Unscored, search
from penstock.components.tuner.space import check_space, propose_from
from penstock.components.tuner.storage import open_storage, storage_url
from penstock.components.tuner.study import Budget, SharedStudy, create_study, is_counted
from penstock.errors import PenstockError

SPACE = check_space(
    {
        "units": {"type": "int", "low": 1.0, "high": 64.0},
        "rate": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "kind": {"type": "categorical", "choices": ["a", "b"]},
    }
)


def parabola(chosen, progress):
    """Two folds; best at 20 units, where the score is the distance from there."""
    for fold in range(2):
        progress.fold_ended((chosen["units"] - 20) ** 2 / 100 + fold, last=fold == 1)


def open_study(where, name="s", seed=0, direction="minimize", pruner="none", subject=None):
    url = storage_url(str(where), name)
    create_study(url, name, direction, subject or {"data": "d"})
    return SharedStudy(url, name, seed, pruner)


def run(study, trials, objective=parabola, space=SPACE, fixed=None, seconds=None):
    propose = propose_from(space) if space else None
    search(study, Budget(trials, seconds), fixed or {}, propose, objective)
    return study


def chosen(study):
    """What each slot came to."""
    counted = sorted(
        (t for t in study.trials() if is_counted(t)), key=lambda t: t.user_attrs["slot"]
    )
    return [(t.user_attrs["slot"], t.user_attrs["settings"], t.state, t.value) for t in counted]


def test_the_same_seed_gives_the_same_trials(tmp_path):
    first = run(open_study(tmp_path / "a.sqlite"), 14)
    again = run(open_study(tmp_path / "b.sqlite"), 14)
    other = run(open_study(tmp_path / "c.sqlite", seed=1), 14)
    assert chosen(first) == chosen(again) != chosen(other)
    assert len({json.dumps(given) for _, given, *_ in chosen(first)}) == 14
    assert study_digest(first) == study_digest(again) != study_digest(other)


def test_the_best_is_the_best_of_all(tmp_path):
    study = run(open_study(tmp_path / "s.sqlite"), 12)
    scores = [(t["score"], t["trial"]) for t in trial_rows(study)]
    assert best_of(study).number == min(scores)[1]
    for trial in study.trials():
        units = trial.user_attrs["settings"]["units"]
        assert trial.value == pytest.approx((units - 20) ** 2 / 100 + 0.5)


def test_a_study_goes_on_from_fewer_trials_to_more(tmp_path):
    run(open_study(tmp_path / "s.sqlite"), 5)
    study = run(open_study(tmp_path / "s.sqlite"), 9)
    whole = run(open_study(tmp_path / "other.sqlite"), 9)
    assert chosen(study) == chosen(whole)
    assert run(study, 9) and len(study.trials()) == 9


WORKER = """
import os, pathlib, sys, time
sys.path.insert(0, {tests!r})
from test_tuner_study import SPACE, Budget, parabola, propose_from, search, SharedStudy, storage_url

flag = pathlib.Path({flag!r})

def objective(chosen, progress):
    slot = progress.trial.user_attrs["slot"]
    if slot == {stops_at} and not flag.exists():
        flag.write_text(str(slot))
        time.sleep(600)
    parabola(chosen, progress)

study = SharedStudy(storage_url({where!r}, "s"), "s", 0, "none")
search(study, Budget({trials}), {{}}, propose_from(SPACE), objective)
"""


def start(where, trials, flag, stops_at=-1) -> subprocess.Popen:
    names = {"where": str(where), "flag": str(flag), "stops_at": stops_at, "trials": trials}
    program = WORKER.format(tests=str(Path(__file__).parent), **names)
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


def test_a_killed_search_goes_on_as_if_nothing_had_been(where, tmp_path):
    study = open_study(where)
    flag = tmp_path / "flag"
    worker = start(where, 13, flag, stops_at=11)
    while not flag.exists():
        assert worker.poll() is None, worker.stderr.read()
        time.sleep(0.02)
    before = chosen(study)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()

    run(study, 13)

    assert chosen(study)[:11] == before
    assert chosen(study) == chosen(run(open_study(tmp_path / "undisturbed.sqlite"), 13))
    states = [row["state"] for row in trial_rows(study)]
    assert states.count("lost") == 1 and len(states) == 14
    (lost,) = (row for row in trial_rows(study) if row["state"] == "lost")
    assert lost["reason"] == "its process ended" and lost["slot"] == 11


def test_processes_share_a_study_and_its_budget(where, tmp_path):
    study = open_study(where)
    workers = [start(where, 12, tmp_path / "none") for _ in range(3)]
    for worker in workers:
        assert worker.wait() == 0, worker.stderr.read()
    found = [trial.user_attrs["slot"] for trial in study.trials()]
    assert sorted(found) == list(range(12))
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials())


def pretend(study, number, host="elsewhere", pid=1, began=0.0):
    """Say of a running trial that another process has it."""
    worker = {"host": host, "pid": pid, "started": 0.0, "began": began}
    study._set(number, "worker", worker)


def test_a_trial_of_another_machine_is_lost_when_it_is_silent(tmp_path, monkeypatch):
    study = open_study(tmp_path / "s.sqlite")
    trial = study.claim(Budget(1))
    pretend(study, trial.number, began=time.time())
    assert study.left(Budget(1)) == (0, 1)
    now = time.time() + study_module.SILENT_SECONDS + 1
    monkeypatch.setattr(study_module.time, "time", lambda: now)
    study.beat(trial.number)
    assert study.left(Budget(1)) == (0, 1)
    now += study_module.SILENT_SECONDS + 1
    assert study.left(Budget(1)) == (1, 0)


def test_a_slot_that_kills_its_process_again_and_again_has_failed(tmp_path):
    study = open_study(tmp_path / "s.sqlite")
    for _ in range(3):
        trial = study.claim(Budget(1))
        assert trial.user_attrs["slot"] == 0
        pretend(study, trial.number, host=study_module.socket.gethostname(), pid=2**22 + 1)
    assert study.left(Budget(1)) == (0, 0)
    with pytest.raises(PenstockError, match="1 failed, the first because: its process ended, as 2"):
        best_of(study)


def test_a_trial_killed_between_claim_and_mark_is_taken_up(tmp_path):
    study = open_study(tmp_path / "s.sqlite")
    study.study.enqueue_trial({}, {"slot": 0, "attempt": 1})
    run(study, 2)
    assert [slot for slot, *_ in chosen(study)] == [0, 1]


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1_000_000.0
        monkeypatch.setattr(study_module.time, "time", lambda: self.now)


def test_no_trial_begins_after_the_time_budget(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)

    def ten_seconds(chosen, progress):
        clock.now += 10
        parabola(chosen, progress)

    study = run(open_study(tmp_path / "s.sqlite"), 100, ten_seconds, seconds=25)
    assert len(study.trials()) == 3 and study.seconds() == 30
    clock.now += 10_000
    run(study, 100, ten_seconds, seconds=35)
    assert len(study.trials()) == 4, "what passes between searches does not count"
    assert study.left(Budget(100, 35)) == (0, 0)


def test_trials_at_once_count_once(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    study = open_study(tmp_path / "s.sqlite")
    first = study.claim(Budget(3))
    clock.now += 4
    second = study.claim(Budget(3))
    clock.now += 4
    study.finish(first, TrialState.COMPLETE, 1.0, {})
    clock.now += 4
    study.finish(second, TrialState.COMPLETE, 1.0, {})
    assert study.seconds() == 12


def test_what_a_trial_raises_is_its_reason(tmp_path):
    def some_raise(chosen, progress):
        if chosen["kind"] == "a":
            raise ZeroDivisionError("no units\nsecond line")
        parabola(chosen, progress)

    rows = trial_rows(run(open_study(tmp_path / "s.sqlite"), 10, some_raise))
    for row in rows:
        failed = json.loads(row["hyperparameters"])["kind"] == "a"
        assert row["state"] == ("failed" if failed else "complete")
        assert row["reason"] == ("ZeroDivisionError: no units" if failed else None)
    assert {row["state"] for row in rows} == {"failed", "complete"}


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        (lambda c, p: sys.exit(3), "SystemExit: 3"),
        (lambda c, p: p.fold_ended(math.nan, True), "Its score in fold 0 is nan, not a number."),
        (lambda c, p: p.fold_ended(math.inf, True), "Its score in fold 0 is inf"),
    ],
)
def test_when_all_trials_fail_the_first_reason_is_told(objective, reason, tmp_path):
    study = run(open_study(tmp_path / "s.sqlite"), 3, objective)
    with pytest.raises(PenstockError, match="None of 3 trials was completed, 3 failed, the first"):
        best_of(study)
    assert all(row["reason"].startswith(reason) for row in trial_rows(study))


def test_a_search_that_cannot_be_scored_ends_at_once(tmp_path):
    def unscored(chosen, progress):
        raise Unscored("There is no metric.")

    study = open_study(tmp_path / "s.sqlite")
    with pytest.raises(Unscored, match="There is no metric"):
        run(study, 5, unscored)
    assert [row["state"] for row in trial_rows(study)] == ["failed"]


def test_the_same_hyperparameters_are_not_tried_twice(tmp_path):
    tried = []

    def record(chosen, progress):
        tried.append(chosen["kind"])
        progress.fold_ended({"a": 1.0, "b": 2.0}[chosen["kind"]], last=True)

    space = check_space({"kind": {"type": "categorical", "choices": ["a", "b"]}})
    study = run(open_study(tmp_path / "s.sqlite"), 9, record, space)
    assert sorted(tried) == ["a", "b"]
    rows = trial_rows(study)
    assert len(rows) == 9 and sum(row["same_as"] is not None for row in rows) == 7
    for row in rows:
        assert row["score"] == {"a": 1.0, "b": 2.0}[json.loads(row["hyperparameters"])["kind"]]


def test_the_first_trial_begins_where_it_is_told(tmp_path):
    study = run(open_study(tmp_path / "s.sqlite"), 3, fixed={"units": 20, "depth": 2})
    settings = [t.user_attrs["settings"] for t in study.trials()]
    assert settings[0]["units"] == 20
    assert settings[1]["units"] != 20
    assert all(s["depth"] == 2 and set(s) == {"units", "rate", "kind", "depth"} for s in settings)


def test_one_trial_without_a_space_takes_what_is_given(tmp_path):
    study = run(open_study(tmp_path / "s.sqlite"), 1, space=None, fixed={"units": 30})
    assert chosen(study) == [(0, {"units": 30}, TrialState.COMPLETE, 1.5)]


def test_trials_worse_than_the_median_are_pruned(tmp_path):
    """Held against the rule itself: after five complete trials, worse than their median by then."""
    curves = {}

    def curve(chosen, progress):
        points = curves.setdefault(progress.trial.number, [])
        for step in (1, 2, 3):
            points.append((chosen["units"] - 20) ** 2 / 100 / step)
            progress.report(step, points[-1])
        progress.fold_ended(points[-1], last=True)

    study = run(open_study(tmp_path / "s.sqlite", pruner="median"), 16, curve)
    complete = []
    for trial in study.trials():
        points, pruned = curves[trial.number], trial.state == TrialState.PRUNED
        worse = [
            len(complete) >= 5 and min(points[:n]) > median(c[n - 1] for c in complete)
            for n in range(1, len(points) + 1)
        ]
        assert worse == [False] * (len(points) - 1) + [pruned]
        if not pruned:
            complete.append(points)
    assert len(complete) < 16


def test_trials_are_compared_by_the_mean_over_folds(tmp_path):
    def folds(chosen, progress):
        for number, score in enumerate((1.0, 5.0)):
            progress.report(7, score + 1)
            progress.fold_ended(score, last=number == 1)

    study = run(open_study(tmp_path / "s.sqlite"), 1, folds)
    values = study.trials()[0].intermediate_values
    assert [values[step] for step in sorted(values)] == [2.0, 1.0, fmean([1.0, 6.0])]
    assert study.trials()[0].value == 3.0


def test_importance_finds_what_matters(tmp_path):
    study = run(open_study(tmp_path / "s.sqlite"), 30)
    found = importance(study)
    assert next(iter(found)) == "units" and found["units"] > 0.5
    assert sum(found.values()) == pytest.approx(1)
    assert importance(run(open_study(tmp_path / "one.sqlite"), 1)) == {}
    same = run(open_study(tmp_path / "same.sqlite"), 3, lambda c, p: p.fold_ended(1.0, True))
    assert importance(same) == {}


def test_a_study_about_something_else_is_refused(tmp_path):
    open_study(tmp_path / "s.sqlite", subject={"examples": "a", "seed": 0})
    with pytest.raises(PenstockError, match=r"'s' in .*s.sqlite was begun with another seed;"):
        open_study(tmp_path / "s.sqlite", subject={"examples": "a", "seed": 1})
    optuna.create_study(storage=f"sqlite:///{tmp_path}/other.sqlite", study_name="s").ask()
    with pytest.raises(PenstockError, match="was begun with another data"):
        open_study(tmp_path / "other.sqlite")


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        ("mysql://u:secret@h/d", "storage mysql://u:\\*\\*\\*@h/d is of a kind that is not"),
        ("sqlite://", "is of a kind that is not supported"),
        ("postgresql://u:secret@127.0.0.1:1/d", "cannot be kept in postgresql://u:\\*\\*\\*@127"),
        ("://", "URL cannot be read"),
        ("{folder}", "cannot be kept in .*give a storage that can be reached"),
        ("{file}", "cannot be kept in .*(not a database)"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence(storage, sentence, tmp_path):
    (tmp_path / "text").write_text("no database, but a text that is long enough to be looked at")
    with pytest.raises(PenstockError, match=sentence) as raised:
        open_storage(storage_url(storage.format(folder=tmp_path, file=tmp_path / "text"), "s"))
    assert "secret" not in str(raised.value)


def test_the_default_storage_is_a_file_per_study_where_one_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = storage_url("", "flights-123")
    assert url.database == str(tmp_path / "penstock-runs" / "studies" / "flights-123.sqlite")
    assert storage_url(f"sqlite:///{tmp_path}/x", "s").database == f"{tmp_path}/x"


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({}, "The space is empty"),
        ({"u": 5}, "The space of 'u' is 5; expected a dictionary with \"type\""),
        ({"u": {"type": "bool"}}, "expected a dictionary with"),
        ({"u": {"type": "int", "low": 1, "hi": 2}}, "has 'hi'; int takes high, log, low, step"),
        ({"u": {"type": "int", "low": 1.5, "high": 2}}, "has low 1.5; expected a whole number"),
        ({"u": {"type": "float", "low": 0, "high": None}}, "has high None; expected a number"),
        ({"u": {"type": "float", "low": 0, "high": math.inf}}, "has high inf"),
        ({"u": {"type": "int", "low": 3, "high": 2}}, "goes from 3 to 2; give the smaller"),
        ({"u": {"type": "float", "low": 0, "high": 2, "log": True}}, "begins above 0 and has no"),
        ({"u": {"type": "int", "low": 1, "high": 9, "log": True, "step": 2}}, "has no step"),
        ({"u": {"type": "int", "low": 1, "high": 9, "step": 0}}, "has step 0; give a number above"),
        ({"u": {"type": "categorical", "choices": []}}, "has the choices \\[\\]"),
        ({"u": {"type": "categorical", "choices": [[1]]}}, "expected a list of strings"),
    ],
)
def test_a_wrong_space_is_one_sentence(space, sentence):
    with pytest.raises(PenstockError, match=sentence):
        check_space(space)


@pytest.mark.parametrize("value", [65, 0, "a", True])
def test_a_start_outside_of_the_space_is_refused(value):
    with pytest.raises(PenstockError, match=r"starts 'units' at .*not in its space"):
        check_space(SPACE, {"units": value})


@settings(max_examples=30, deadline=None)
@given(
    low=st.integers(-50, 50),
    width=st.integers(0, 40),
    step=st.sampled_from([None, 1, 3]),
    choices=st.lists(st.sampled_from(["x", 1, 2.5, None, True]), min_size=1, unique_by=repr),
)
def test_what_is_proposed_lies_in_the_space(low, width, step, choices):
    space = {
        "n": {"type": "int", "low": float(low), "high": low + width},
        "x": {"type": "float", "low": low, "high": low + width},
        "c": {"type": "categorical", "choices": choices},
    }
    if step:
        space["n"]["step"] = step
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial = optuna.create_study().ask()
    found = propose_from(check_space(space))(trial)
    assert type(found["n"]) is int and low <= found["n"] <= low + width
    assert (found["n"] - low) % (step or 1) == 0
    assert isinstance(found["x"], float) and low <= found["x"] <= low + width
    assert any(found["c"] is c or found["c"] == c for c in choices)
