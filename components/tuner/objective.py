"""What a trial does: train the author's model on every fold, and score it on the other rows."""

from __future__ import annotations

import gc
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...data.schemas import load_schema
from ...errors import PenstockError
from ...training.author import module_source, where_raised
from .job import Job, PreparedFold
from .search import Objective, Progress, Unscored
from .settings import Training
from .space import Propose, propose_from

if TYPE_CHECKING:
    import optuna

TUNER_SPACE = "tuner_space"


def propose_for(author: ModuleType, space: Mapping[str, Any] | None, trials: int) -> Propose | None:
    """Return what chooses hyperparameters; None when one trial takes those given.

    Args:
        author: The author's module, which may define `tuner_space(trial)`.
        space: A checked space, which comes before the module's.
        trials: How many trials there are.

    Raises:
        PenstockError: Several trials have nothing to choose from.
    """
    if trials == 1:
        return None
    if space is not None:
        return propose_from(space)
    tuner_space = getattr(author, TUNER_SPACE, None)
    if tuner_space is None:
        raise PenstockError(
            f"{trials} trials have nothing to choose from: {module_source(author)} defines no "
            "tuner_space(trial) and the parameter space is not given; give one of the two, or "
            "trials=1 to cross-validate the given hyperparameters."
        )

    def propose(trial: optuna.Trial) -> dict[str, Any]:
        try:
            chosen = tuner_space(trial)
        except Exception as error:
            raise Unscored(
                f"tuner_space in {module_source(author)} raised {type(error).__name__}: {error} "
                f"(at {where_raised(error, author)})."
            ) from error
        return _check_chosen(chosen, author)

    return propose


def training_objective(author: ModuleType, job: Job) -> Objective:
    """Return the objective that trains by the author's `run_fn`, fold after fold.

    A fold's score is the metric as the finished model has it on all rows of the fold's evaluation
    split; of a `run_fn` that exports by itself, what it reported last.
    """

    def objective(settings: Mapping[str, Any], progress: Progress) -> None:
        for number, fold in enumerate(job.folds):
            score = _score(author, job, fold, settings, progress)
            progress.fold_ended(score, last=number == len(job.folds) - 1)

    return objective


def _score(
    author: ModuleType,
    job: Job,
    fold: PreparedFold,
    settings: Mapping[str, Any],
    progress: Progress,
) -> float:
    import keras

    from ...models.transform_graph import read_transform_graph
    from ...training.fn_args import FnArgs
    from ...training.trained import train_model

    metric, training = job.search.metric, job.training

    def report(step: int, metrics: Mapping[str, float]) -> None:
        if metric in metrics:
            progress.report(step, metrics[metric])

    # Whatever the last model left would slow down the next, and number its layers on.
    keras.backend.clear_session()
    gc.collect()
    with tempfile.TemporaryDirectory(prefix="penstock-trial-") as folder:
        args = FnArgs(
            transform=read_transform_graph(fold.transform_graph),
            schema=load_schema(job.schema),
            label=training.label,
            train_steps=_steps(training, fold),
            batch_size=training.batch_size,
            seed=training.seed,
            examples=Path(fold.examples),
            train_split=fold.train,
            eval_split=fold.eval,
            model_dir=Path(folder),
            hyperparameters=settings,
            custom_config=training.custom_config,
            eval_steps=training.eval_steps,
            statistics_dir=Path(fold.statistics),
            reporter=report,
        )
        metrics = train_model(author, args).metrics
    if metric not in metrics:
        raise Unscored(
            f"There is no metric {metric!r}: training by {module_source(author)} gives "
            f"{', '.join(sorted(metrics)) or 'none'}; choose one of these, or report it by "
            "fn_args.report."
        )
    return float(metrics[metric])


def _steps(training: Training, fold: PreparedFold) -> int:
    if training.epochs is None:
        return training.train_steps
    return math.ceil(training.epochs * fold.train_rows / training.batch_size)


def _check_chosen(chosen: Any, author: ModuleType) -> dict[str, Any]:
    where = f"tuner_space in {module_source(author)}"
    if not isinstance(chosen, Mapping) or not all(isinstance(name, str) for name in chosen):
        raise Unscored(
            f"{where} returned {chosen!r:.80}; it must return a dictionary of hyperparameters by "
            "name."
        )
    try:
        json.dumps(chosen, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Unscored(
            f"{where} returned what is not plain data ({error}); return strings, numbers, "
            "booleans, and lists and dictionaries of these."
        ) from error
    return dict(chosen)
