"""A study that several processes search at once, and that goes on where a killed one stopped."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from ...errors import PenstockError
from .storage import exclusive, name_of, open_storage

PRUNERS = ("median", "none")
# A trial is given up for lost after so many seconds without a sign of life, at once when it ran on
# this machine and its process is gone.
BEAT_SECONDS = 10.0
SILENT_SECONDS = 120.0
ATTEMPTS = 3


@dataclass(frozen=True)
class Budget:
    """How much a study may take: trials, and seconds during which any trial ran; None for any."""

    trials: int
    seconds: float | None = None


class SharedStudy:
    """An Optuna study by name, with what Optuna leaves to its users.

    Every trial has a slot, its number in the search: 0 to trials - 1. When its process is killed,
    another trial takes the slot over with the same hyperparameters, so that the budget is not
    exceeded and the search goes on as if nothing had been. Slots also seed the sampler: whoever
    runs a slot draws what it draws.

    What Optuna does not know of a trial lies in its user attributes: `slot`, `attempt`, `worker`,
    `alive`, `settings`, `result`.
    """

    def __init__(self, url: URL, name: str, seed: int, pruner: str = "median") -> None:
        """Open a study that exists.

        Raises:
            PenstockError: The storage cannot be reached, or has no such study.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.url, self.seed = url, seed
        self.storage = open_storage(url)
        cut = optuna.pruners.MedianPruner() if pruner == "median" else optuna.pruners.NopPruner()
        try:
            self.study = optuna.load_study(study_name=name, storage=self.storage, pruner=cut)
        except KeyError as error:
            raise PenstockError(f"There is no study {name!r} in {name_of(url)}.") from error

    def trials(self) -> list[FrozenTrial]:
        """Return all trials in the order of their numbers."""
        return sorted(self.study.get_trials(deepcopy=False), key=lambda trial: trial.number)

    def seconds(self) -> float:
        """Return for how many seconds any trial ran; several at once count once."""
        now = time.time()
        spans = sorted(
            (worker["began"], _ended(trial, now))
            for trial in self.trials()
            if (worker := trial.user_attrs.get("worker"))
        )
        total, until = 0.0, 0.0
        for begin, end in spans:
            total += max(end - max(begin, until), 0.0)
            until = max(until, end)
        return total

    def begun(self) -> int:
        """Return how many trials have been begun, whatever came of them."""
        return sum("worker" in trial.user_attrs for trial in self.trials())

    def claim(self, budget: Budget, start: Mapping[str, Any] | None = None) -> optuna.Trial | None:
        """Return the next trial to run, or None when the budget leaves none now.

        Args:
            budget: Of the whole study, whoever ran its trials.
            start: Values that the first trial takes.
        """
        with exclusive(self.url):
            self._give_up_lost()
            if budget.seconds is not None and self.seconds() >= budget.seconds:
                return None
            waiting = [trial for trial in self.trials() if trial.state == TrialState.WAITING]
            slot = waiting[0].user_attrs["slot"] if waiting else self._slots()
            if slot >= budget.trials:
                return None
            if not waiting:
                first = dict(start or {}) if slot == 0 else {}
                self.study.enqueue_trial(first, {"slot": slot, "attempt": 1})
            self.study.sampler = optuna.samplers.TPESampler(seed=_seed(self.seed, slot))
            trial = self.study.ask()
            trial.set_user_attr("worker", _this_process() | {"began": time.time()})
            return trial

    def left(self, budget: Budget) -> tuple[int, int]:
        """Return how many trials could begin now, and how many run somewhere.

        Trials that are lost are given up first.
        """
        with exclusive(self.url):
            self._give_up_lost()
            states = [trial.state for trial in self.trials()]
            ready = states.count(TrialState.WAITING) + max(budget.trials - self._slots(), 0)
            if budget.seconds is not None and self.seconds() >= budget.seconds:
                ready = 0
            return ready, states.count(TrialState.RUNNING)

    def beat(self, number: int) -> None:
        """Give a sign of life for a trial; nothing when it has ended."""
        self._set(number, "alive", time.time())

    def finish(
        self, trial: optuna.Trial, state: TrialState, value: float | None, result: Mapping[str, Any]
    ) -> None:
        """End a trial.

        Args:
            trial: What `claim` returned.
            state: `COMPLETE`, `PRUNED` or `FAIL`.
            value: The score; None unless complete.
            result: What else is known: `scores`, `reason`, `twin`.
        """
        trial.set_user_attr("result", {**result, "ended": time.time()})
        self.study.tell(trial, value, state=state)

    def twin(self, number: int, settings: Mapping[str, Any]) -> FrozenTrial | None:
        """Return an earlier trial that ended with these very hyperparameters."""
        for trial in self.trials():
            known = trial.user_attrs.get("settings")
            if known == settings and trial.number != number and is_counted(trial):
                return trial
        return None

    def best(self) -> FrozenTrial | None:
        """Return the complete trial with the best score, the first of equals."""
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        sign = -1 if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        return min(done, key=lambda trial: (sign * trial.value, trial.number), default=None)

    def _slots(self) -> int:
        return max((trial.user_attrs["slot"] + 1 for trial in self.trials()), default=0)

    def _give_up_lost(self) -> None:
        for trial in self.trials():
            if trial.state != TrialState.RUNNING or not _is_lost(trial):
                continue
            attempt, slot = trial.user_attrs["attempt"], trial.user_attrs["slot"]
            again = attempt < ATTEMPTS
            reason = "its process ended" + ("" if again else f", as {ATTEMPTS - 1} times before")
            ended = _ended(trial, time.time())
            self._set(trial.number, "result", {"reason": reason, "lost": again, "ended": ended})
            self.study.tell(trial.number, state=TrialState.FAIL)
            if again:
                given = trial.system_attrs.get("fixed_params", {}) | trial.params
                self.study.enqueue_trial(given, {"slot": slot, "attempt": attempt + 1})

    def _set(self, number: int, key: str, value: Any) -> None:
        study = self.storage.get_study_id_from_name(self.study.study_name)
        trial = self.storage.get_trial_id_from_study_id_trial_number(study, number)
        try:
            self.storage.set_trial_user_attr(trial, key, value)
        except optuna.exceptions.UpdateFinishedTrialError:
            return


def create_study(url: URL, name: str, direction: str, subject: Mapping[str, Any]) -> None:
    """Make the study unless it exists.

    Args:
        url: Where.
        name: Its name.
        direction: `maximize` or `minimize`.
        subject: What is searched, as JSON; a study of the same name must have the same.

    Raises:
        PenstockError: The storage cannot be used, or the study is about something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url)
    with exclusive(url):
        study = optuna.create_study(
            storage=storage, study_name=name, direction=direction, load_if_exists=True
        )
        known = study.user_attrs.get("subject")
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("subject", dict(subject))
            return
    if known != subject:
        differing = [key for key in subject if (known or {}).get(key) != subject[key]]
        raise PenstockError(
            f"The study {name!r} in {name_of(url)} was begun with another "
            f"{', '.join(differing) or 'program'}; choose another name as study, or give what it "
            "was begun with."
        )


def is_counted(trial: FrozenTrial) -> bool:
    """Return whether a trial has ended and was not taken up again by another."""
    return trial.state.is_finished() and not trial.user_attrs.get("result", {}).get("lost")


def scores_of(trial: FrozenTrial) -> Sequence[float]:
    """Return the scores of the folds that a trial got through, in their order."""
    scores: Sequence[float] = trial.user_attrs.get("result", {}).get("scores", [])
    return scores


def reason_of(trial: FrozenTrial) -> str:
    """Return why a trial did not complete, in a sentence; empty when it did."""
    return str(trial.user_attrs.get("result", {}).get("reason", ""))


def _seed(seed: int, slot: int) -> int:
    return int(np.random.SeedSequence([seed, slot]).generate_state(1)[0])


def _this_process() -> dict[str, Any]:
    own = psutil.Process()
    return {"host": socket.gethostname(), "pid": own.pid, "started": own.create_time()}


def _is_lost(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is None:
        # Killed within the lock, between two writes.
        return True
    if worker["host"] == socket.gethostname():
        return not _is_alive(worker["pid"], worker["started"])
    return time.time() - _last_seen(trial) > SILENT_SECONDS


def _is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A number is given again to another process, which then started at another time.
        same = abs(process.create_time() - started) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _last_seen(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get("alive") or trial.user_attrs["worker"]["began"])


def _ended(trial: FrozenTrial, now: float) -> float:
    ended = trial.user_attrs.get("result", {}).get("ended")
    if ended is not None:
        return float(ended)
    return now if trial.state == TrialState.RUNNING and not _is_lost(trial) else _last_seen(trial)
