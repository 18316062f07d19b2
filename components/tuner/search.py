"""Trial after trial, until the budget leaves none."""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import TrialState

from ...errors import PenstockError
from ...training.reporting import Pruned
from .space import Propose, whole_numbers
from .study import BEAT_SECONDS, Budget, SharedStudy, reason_of, scores_of

# Room for the training steps of a fold among the steps that Optuna compares trials at, a 32-bit
# integer in its tables; folds beyond 200 share the last one's.
FOLD_STEPS = 10_000_000
MOST_FOLDS = 200


class Unscored(PenstockError):
    """No trial can be scored, whatever its hyperparameters: the search ends at once."""


class Progress:
    """Takes the scores of a trial as they come, and ends it when others were better by then.

    What trials are compared by is the mean of the scores of the folds that are done and of the
    newest value in the one at hand.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.scores: list[float] = []

    def report(self, step: int, value: float) -> None:
        """Take a value of the metric after `step` training steps in the fold at hand.

        Raises:
            Pruned: The trial shall end here.
        """
        if not math.isfinite(value):
            return
        fold = min(len(self.scores), MOST_FOLDS)
        place = fold * FOLD_STEPS + min(step, FOLD_STEPS - 2)
        self._compare(place, fmean([*self.scores, value]))

    def fold_ended(self, score: float, last: bool) -> None:
        """Take the score of the fold at hand.

        Raises:
            Pruned: The trial shall end here, unless it was the last fold.
            PenstockError: The score is not a finite number.
        """
        if not math.isfinite(score):
            raise PenstockError(f"Its score in fold {len(self.scores)} is {score}, not a number.")
        fold = min(len(self.scores), MOST_FOLDS)
        self.scores.append(score)
        if not last:
            self._compare(fold * FOLD_STEPS + FOLD_STEPS - 1, fmean(self.scores))

    def _compare(self, place: int, value: float) -> None:
        self.trial.report(value, place)
        if self.trial.should_prune():
            raise Pruned(f"pruned in fold {min(len(self.scores), MOST_FOLDS)}")


Objective = Callable[[Mapping[str, Any], Progress], None]


def search(
    study: SharedStudy,
    budget: Budget,
    fixed: Mapping[str, Any],
    propose: Propose | None,
    objective: Objective,
) -> int:
    """Run trials until the budget leaves none; return how many.

    Args:
        study: The study, which other processes may search too.
        budget: Of the whole study.
        fixed: Hyperparameters of every trial; those that `propose` gives too are where the first
            trial begins.
        propose: Chooses a trial's hyperparameters; None leaves it at `fixed`.
        objective: Trains and scores; gets the hyperparameters and where the scores go.

    Raises:
        Unscored: The objective said so.
    """
    count = 0
    while (trial := study.claim(budget, fixed)) is not None:
        with _signs_of_life(study, trial.number):
            _run(study, trial, fixed, propose, objective)
        count += 1
    return count


def _run(
    study: SharedStudy,
    trial: optuna.Trial,
    fixed: Mapping[str, Any],
    propose: Propose | None,
    objective: Objective,
) -> None:
    progress = Progress(trial)
    try:
        chosen = propose(trial) if propose else {}
        settings = whole_numbers({**fixed, **chosen})
        trial.set_user_attr("settings", settings)
        if _copied(study, trial, settings):
            return
        objective(settings, progress)
    except Pruned as pruned:
        result = {"scores": progress.scores, "reason": str(pruned) or "pruned"}
        study.finish(trial, TrialState.PRUNED, None, result)
    except (Exception, SystemExit) as error:
        if not isinstance(error, PenstockError):
            traceback.print_exception(error)
        result = {"scores": progress.scores, "reason": _sentence(error)}
        study.finish(trial, TrialState.FAIL, None, result)
        if isinstance(error, Unscored):
            raise
    else:
        value = fmean(progress.scores)
        study.finish(trial, TrialState.COMPLETE, value, {"scores": progress.scores})


def _copied(study: SharedStudy, trial: optuna.Trial, settings: Mapping[str, Any]) -> bool:
    """Give a trial the result of its twin, if it has one: the same again would come out."""
    twin = study.twin(trial.number, settings)
    if twin is None:
        return False
    value = twin.value if twin.state == TrialState.COMPLETE else None
    result = {"scores": list(scores_of(twin)), "twin": twin.number}
    if reason_of(twin):
        result["reason"] = reason_of(twin)
    study.finish(trial, twin.state, value, result)
    return True


def _sentence(error: BaseException) -> str:
    if isinstance(error, PenstockError):
        return str(error)
    reason = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


@contextmanager
def _signs_of_life(study: SharedStudy, number: int) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            study.beat(number)

    thread = threading.Thread(target=beat, name="tuner-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
