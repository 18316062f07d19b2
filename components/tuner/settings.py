"""The parameters of a search, checked before anything is read at length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...data.examples import Manifest
from ...data.fold_rule import KINDS, FoldRule, fold_rule
from ...errors import PenstockError
from .space import check_space, whole_numbers
from .study import PRUNERS

HOLDOUT = "none"
DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True)
class Validation:
    """On which rows hyperparameters are scored.

    Attributes:
        kind: `time`, `kfold`, `group` or `stratified` folds of the training split; `none` trains on
            the training split and scores on the evaluation split.
        folds: How many folds.
        time_column: With `time`: the column that tells the time; found when empty.
        group_columns: With `group`: the columns that tell the groups.
        stratify_column: With `stratified`: the column of the strata; the label when empty.
        gap: With `time`: what lies between training and validation; see `FoldRule`.
    """

    kind: str = "time"
    folds: int = 5
    time_column: str = ""
    group_columns: Sequence[str] | None = None
    stratify_column: str = ""
    gap: float = 0.0

    def rule(self, manifest: Manifest, split: str, label: str) -> FoldRule | None:
        """Return how the training split is divided; None when it is not.

        Raises:
            PenstockError: The kind is unknown, or the rule is wrong or cannot be made.
        """
        if self.kind == HOLDOUT:
            return None
        if self.kind not in KINDS:
            raise PenstockError(
                f"cross_validation is {self.kind!r}; expected {', '.join(KINDS)}, or {HOLDOUT!r} "
                "for one model per trial, scored on the evaluation split."
            )
        strata = self.stratify_column or (label if self.kind == "stratified" else "")
        return fold_rule(
            manifest,
            split,
            self.kind,
            self.folds,
            time_column=self.time_column,
            group_columns=self.group_columns,
            stratify_column=strata,
            gap=self.gap,
        )


@dataclass(frozen=True)
class Search:
    """What is searched for, how long, and in which study.

    Attributes:
        metric: A metric that the trainer would give, or that `run_fn` reports.
        direction: `minimize` or `maximize`.
        space: What to choose from, see `penstock.components.tuner.space.check_space`; the module's
            `tuner_space` when None.
        hyperparameters: Values for all trials; where the space has the same name, for the first.
        trials: How many trials the study shall have, whoever runs them, 1 or more; one takes
            `hyperparameters` as they are.
        time_budget: No trial begins after trials ran for so many seconds; None for no limit.
        workers: Processes here that share the study, 1 or more.
        storage: See `penstock.components.tuner.storage.storage_url`.
        study: The study's name; when empty, one made from what is searched.
        pruner: `median` or `none`.
    """

    metric: str = "eval_loss"
    direction: str = "minimize"
    space: Mapping[str, Any] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 20
    time_budget: float | None = None
    workers: int = 1
    storage: str = ""
    study: str = ""
    pruner: str = "median"


@dataclass(frozen=True)
class Training:
    """How one model is trained; as the trainer's parameters of the same names.

    Attributes:
        module: The author's module: `FEATURES`, `run_fn` and perhaps `tuner_space(trial)`.
        label: The label's column.
        train_steps: How many batches a model is trained on.
        epochs: In place of `train_steps`, how often to go over a fold's training rows.
        eval_steps: How many batches to watch progress on; None for all.
        batch_size: Rows per training batch.
        train_split: The split that is divided into folds.
        eval_split: Without folds, the split to score on.
        seed: Seeds the search and every training.
        custom_config: Handed to `run_fn`.
    """

    module: str
    label: str
    train_steps: int = 1000
    epochs: int | None = None
    eval_steps: int | None = None
    batch_size: int = 512
    train_split: str = "train"
    eval_split: str = "eval"
    seed: int = 0
    custom_config: Mapping[str, Any] = field(default_factory=dict)


def check_settings(
    manifest: Manifest, training: Training, search: Search, divided: bool
) -> tuple[Training, Search]:
    """Return the settings with their numbers in their types.

    Args:
        manifest: The examples' manifest.
        training: How a model is trained.
        search: How it is searched.
        divided: Whether the training split is divided into folds.

    Raises:
        PenstockError: One is not as it should be.
    """
    _check_numbers(training, search)
    for name, value, known in (
        ("direction", search.direction, DIRECTIONS),
        ("pruner", search.pruner, PRUNERS),
    ):
        if value not in known:
            raise PenstockError(f"{name} is {value!r}; expected {' or '.join(known)}.")
    columns = [column.name for column in manifest.columns]
    if training.label not in columns:
        raise PenstockError(
            f"There is no label column {training.label!r} in the examples; they have "
            f"{', '.join(sorted(columns))}."
        )
    for split in [training.train_split] + [training.eval_split] * (not divided):
        if manifest.rows(split) == 0:
            raise PenstockError(
                f"Split {split!r} of the examples has no rows; look at example_gen's pattern and "
                "weights."
            )
    fixed = whole_numbers(search.hyperparameters)
    space = None if search.space is None else check_space(search.space, fixed)
    custom = whole_numbers(training.custom_config)
    return (
        replace(training, custom_config=custom),
        replace(search, hyperparameters=fixed, space=space),
    )


def _check_numbers(training: Training, search: Search) -> None:
    for name, value in (
        ("trials", search.trials),
        ("workers", search.workers),
        ("train_steps", training.train_steps),
        ("epochs", training.epochs),
        ("eval_steps", training.eval_steps),
        ("batch_size", training.batch_size),
    ):
        if value is not None and value < 1:
            raise PenstockError(f"{name} is {value}; it must be 1 or more.")
    if not 0 <= training.seed < 2**32:
        raise PenstockError(f"seed is {training.seed}; it must be 0 to {2**32 - 1}.")
    seconds = search.time_budget
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise PenstockError(f"time_budget is {seconds}; give seconds above 0, or leave it out.")
