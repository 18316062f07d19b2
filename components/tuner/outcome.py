"""What came of a study: the best hyperparameters, a table of trials, lines for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

import optuna
import pyarrow as pa
from optuna.trial import FrozenTrial, TrialState

from ...data.digest import digest_bytes
from ...errors import PenstockError
from .job import PreparedFold
from .study import SharedStudy, is_counted, reason_of, scores_of

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}

# The columns of `trials.parquet`, a row per trial, the first first.
TRIALS_SCHEMA = pa.schema(
    [
        ("trial", pa.int64()),
        ("slot", pa.int64()),
        ("state", pa.string()),
        ("score", pa.float64()),
        ("standard_deviation", pa.float64()),
        ("fold_scores", pa.list_(pa.float64())),
        ("hyperparameters", pa.string()),
        ("reason", pa.string()),
        ("same_as", pa.int64()),
        ("began", pa.timestamp("ms", tz="UTC")),
        ("seconds", pa.float64()),
    ]
)


def trial_rows(study: SharedStudy) -> list[dict[str, Any]]:
    """Return the trials as rows of `TRIALS_SCHEMA`.

    A trial that was taken up again by another has the state `lost`, one that runs elsewhere
    `running`.
    """
    return [_row(trial) for trial in study.trials() if trial.state != TrialState.WAITING]


def spread(scores: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample of scores (n - 1); None for fewer than two."""
    return stdev(scores) if len(scores) > 1 else None


def best_of(study: SharedStudy) -> FrozenTrial:
    """Return the best trial.

    Raises:
        PenstockError: No trial was completed; the sentence has the first reason.
    """
    best = study.best()
    if best is not None:
        return best
    ended = [trial for trial in study.trials() if is_counted(trial)]
    failed = [trial for trial in ended if trial.state == TrialState.FAIL]
    if not ended:
        raise PenstockError(
            "The time budget left no time for a single trial; give more seconds, or none to run "
            "all trials."
        )
    raise PenstockError(
        f"None of {len(ended)} trials was completed, {len(failed)} failed, the first because: "
        f"{reason_of((failed or ended)[0])}"
    )


def best_hyperparameters(
    study: SharedStudy,
    best: FrozenTrial,
    metric: str,
    folds: Sequence[PreparedFold],
    validation: str,
    subject: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `hyperparameters.json` holds.

    Args:
        study: The study.
        best: Its best trial.
        metric: What was searched for.
        folds: What the trials were scored on.
        validation: How they were made, in words.
        subject: What was searched, as the study was made with.
    """
    scores = scores_of(best)
    return {
        "hyperparameters": best.user_attrs["settings"],
        "score": {
            "metric": metric,
            "direction": study.study.direction.name.lower(),
            "mean": best.value,
            "standard_deviation": spread(scores),
            "folds": [
                {
                    "score": score,
                    "train_rows": fold.train_rows,
                    "eval_rows": fold.eval_rows,
                    **({"begins": fold.begins} if fold.begins else {}),
                }
                for score, fold in zip(scores, folds, strict=True)
            ],
        },
        "validation": validation,
        "trial": best.number,
        "study": {
            "name": study.study.study_name,
            "digest": study_digest(study),
            "subject": dict(subject),
            "trials": count_states(study),
        },
    }


def study_digest(study: SharedStudy) -> str:
    """Return a digest of what the trials came to, not of when and where they ran."""
    told = [
        [trial.user_attrs["slot"], trial.user_attrs.get("settings"), _state(trial), trial.value]
        for trial in study.trials()
        if is_counted(trial)
    ]
    told.sort(key=lambda trial: trial[0])
    return digest_bytes(json.dumps(told, sort_keys=True).encode())


def count_states(study: SharedStudy) -> dict[str, int]:
    """Return how many trials are in each state, sorted by its name."""
    states = (_state(t) for t in study.trials() if t.state != TrialState.WAITING)
    return dict(sorted(Counter(states).items()))


def importance(study: SharedStudy) -> dict[str, float]:
    """Return how much of the score each hyperparameter decides, the most important first.

    PED-ANOVA (Watanabe et al., IJCAI 2023) over the complete trials; shares that add up to 1.
    Nothing when fewer than two trials or values differ.
    """
    done = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(done) < 2 or len({trial.value for trial in done}) < 2:
        return {}
    try:
        found = optuna.importance.get_param_importances(study.study)
    except (ValueError, RuntimeError):
        # Optuna's way to say that no hyperparameter varies among the complete trials.
        return {}
    return {name: share for name, share in found.items() if share == share}


def _state(trial: FrozenTrial) -> str:
    if trial.state.is_finished() and not is_counted(trial):
        return "lost"
    return STATES.get(trial.state, "running")


def _row(trial: FrozenTrial) -> dict[str, Any]:
    result = trial.user_attrs.get("result", {})
    scores = list(scores_of(trial))
    worker = trial.user_attrs.get("worker", {})
    complete = trial.state == TrialState.COMPLETE
    seconds = None
    if "ended" in result and "began" in worker:
        seconds = max(result["ended"] - worker["began"], 0.0)
    return {
        "trial": trial.number,
        "slot": trial.user_attrs["slot"],
        "state": _state(trial),
        "score": trial.value if complete else None,
        "standard_deviation": spread(scores) if complete else None,
        "fold_scores": scores,
        "hyperparameters": json.dumps(trial.user_attrs.get("settings", trial.params)),
        "reason": reason_of(trial) or None,
        "same_as": result.get("twin"),
        "began": int(worker["began"] * 1000) if worker else None,
        "seconds": seconds,
    }
