from typing import Any, Dict, List, Optional

from kfp import dsl

from ..artifacts import Examples, HyperParameters, Schema
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def tuner(
    examples: dsl.Input[Examples],
    schema: dsl.Input[Schema],
    best_hyperparameters: dsl.Output[HyperParameters],
    trials_table: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    module: str,
    label: str,
    metric: str = "eval_loss",
    direction: str = "minimize",
    trials: int = 20,
    time_budget: Optional[float] = None,
    workers: int = 1,
    space: Optional[Dict[str, Any]] = None,
    hyperparameters: Optional[Dict[str, Any]] = None,
    cross_validation: str = "time",
    folds: int = 5,
    time_column: str = "",
    gap: float = 0.0,
    group_columns: Optional[List[str]] = None,
    stratify_column: str = "",
    storage: str = "",
    study: str = "",
    pruner: str = "median",
    train_steps: int = 1000,
    epochs: Optional[int] = None,
    eval_steps: Optional[int] = None,
    batch_size: int = 512,
    train_split: str = "train",
    eval_split: str = "eval",
    seed: int = 0,
    custom_config: Optional[Dict[str, Any]] = None,
):
    """Search hyperparameters by cross-validation; with one trial, cross-validate those given.

    Args:
        examples: The rows. The evaluation split takes no part, unless `cross_validation` is
            `none`.
        schema: Says of what type each column is; the features are fitted to each fold anew.
        module: The author's module, as the trainer takes it: `FEATURES`, `run_fn` and, unless
            `space` is given, `tuner_space(trial)`.
        label: The label's column.
        metric: What to search for, as the trainer names it, such as `eval_auc`.
        direction: `minimize` or `maximize`.
        trials: How many trials the study shall have, whoever runs them. One trial searches
            nothing: it takes `hyperparameters` as they are.
        time_budget: No trial begins after trials of the study ran for so many seconds.
        workers: Processes in this step that share the study.
        space: What to choose from, such as `{"units": {"type": "int", "low": 8, "high": 64},
            "rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True}, "activation":
            {"type": "categorical", "choices": ["relu", "gelu"]}}`.
        hyperparameters: Values for all trials; where the space has the same name, the first
            trial begins there.
        cross_validation: `time` (blocks in order of time, learning from the past alone), `kfold`,
            `group`, `stratified`, or `none` (one model, scored on the evaluation split).
        folds: How many folds.
        time_column: With `time`, the column to go by; the only column of dates or timestamps, or
            the spans, when left out.
        gap: With `time`, what is left out between training and validation: spans, days of a date,
            seconds of a timestamp, else the column's own unit.
        group_columns: With `group`, the columns that tell the groups.
        stratify_column: With `stratified`, the column of few values; the label when left out.
        storage: Where the study lies: a path of an SQLite file or a `postgresql://` URL; a file
            under `penstock-runs/studies` when left out. On Kubeflow only a URL outlives the step.
        study: The study's name; made from what is searched when left out.
        pruner: `median` ends trials that are worse than the median of others by then; `none`.
        train_steps: How many batches a model is trained on.
        epochs: In place of `train_steps`, how often to go over a fold's training rows.
        eval_steps: How many batches to watch progress on; all when left out.
        batch_size: Rows per training batch.
        train_split: The split that is divided into folds.
        eval_split: With `cross_validation` `none`, the split to score on.
        seed: Seeds the search and every training.
        custom_config: The author's own settings besides, handed to `run_fn`.

    Returns:
        best_hyperparameters: `hyperparameters.json`: the best values, their score with its spread,
            and the study they come from; what the trainer takes.
        trials_table: `trials.parquet`, a row per trial.
        metrics: The best score, its standard deviation, and how many trials there were.
        report: The history, importance, parallel coordinates and all trials, as a page.
        summary: The best values and scores in Markdown.
    """
    from penstock.components.tuner.executor import tune
    from penstock.components.tuner.settings import Search, Training, Validation

    found = tune(
        examples.path,
        schema.path,
        best_hyperparameters.path,
        trials_table.path,
        Training(
            module,
            label,
            train_steps,
            epochs,
            eval_steps,
            batch_size,
            train_split,
            eval_split,
            seed,
            custom_config or {},
        ),
        Search(
            metric,
            direction,
            space,
            hyperparameters or {},
            trials,
            time_budget,
            workers,
            storage,
            study,
            pruner,
        ),
        Validation(cross_validation, folds, time_column, group_columns, stratify_column, gap),
        report.path,
        summary.path,
    )
    metrics.log_metric(metric, found["score"])
    if found["standard_deviation"] is not None:
        metrics.log_metric("standard_deviation", found["standard_deviation"])
    metrics.log_metric("trials", sum(found["trials"].values()))
    best_hyperparameters.metadata.update(found)
