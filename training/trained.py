"""From the author's `run_fn` to a model with its metrics, and from that to what is served."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import keras
import numpy as np

from ..errors import PenstockError
from ..models.estimators import Estimator, as_estimator
from .author import author_attribute, module_source, where_raised
from .export import answers, check_answers, check_export, check_inputs, export_model
from .fn_args import FnArgs
from .reporting import TENSORBOARD, Curves, Pruned


@dataclass(frozen=True)
class Trained:
    """What `run_fn` made.

    Attributes:
        model: The Keras model, or the estimator; None when `run_fn` exported by itself.
        metrics: `train_<name>` of the last steps, and `eval_<name>` of the whole evaluation split.
        steps: How many batches it was trained on; None where they are not Keras's to count.
        curves: What was reported as training went.
    """

    model: keras.Model | Estimator | None
    metrics: Mapping[str, float]
    steps: int | None
    curves: Curves


def train_model(author: ModuleType, args: FnArgs) -> Trained:
    """Seed everything, call the author's `run_fn`, check what it returns and measure it.

    Nothing is exported, which a tuner's trials need not be; `export_trained` does that.

    Args:
        author: The author's module.
        args: What `run_fn` is given. What it reports also goes to TensorBoard, in `args.run_dir`.

    Raises:
        Pruned: The reporter in `args` ended the run.
        PenstockError: The module has no `run_fn`, it raises, or returns what is no model; training
            gave no finite loss.
    """
    source = module_source(author)
    run_fn = author_attribute(author, "run_fn", "a function run_fn(fn_args)")
    args.run_dir.mkdir(parents=True, exist_ok=True)
    curves = Curves(args.run_dir / TENSORBOARD if args.index == 0 else None)

    def report(step: int, metrics: Mapping[str, float]) -> None:
        curves(step, metrics)
        args.reporter(step, metrics)

    keras.utils.set_random_seed(args.seed)
    try:
        result = _call(run_fn, replace(args, reporter=report), author)
    finally:
        curves.close()
    if result is None:
        return Trained(None, curves.last(), None, curves)
    if isinstance(result, keras.Model):
        check_inputs(result, args.transform)
        optimizer = getattr(result, "optimizer", None)
        steps = (
            int(keras.ops.convert_to_numpy(optimizer.iterations)) if optimizer is not None else None
        )
        return Trained(result, curves.last() | _keras_metrics(result, args), steps, curves)
    estimator = as_estimator(result, args.transform)
    if estimator is not None:
        reported = {n: v for n, v in curves.last().items() if not n.startswith("eval_")}
        metrics = reported | _estimator_metrics(estimator, args)
        return Trained(estimator, metrics, None, curves)
    raise PenstockError(
        f"run_fn in {source} returned a {type(result).__name__}; it must return a Keras model or a "
        "fitted scikit-learn, XGBoost or LightGBM model, or write a model to fn_args.serving_dir "
        "and return None."
    )


def export_trained(trained: Trained, args: FnArgs, author: ModuleType) -> str:
    """Write what is served into `args.serving_dir`, and check that it answers as the model does.

    Args:
        trained: What `train_model` returned.
        args: What `run_fn` was given.
        author: The author's module.

    Returns:
        The model's kind, as `penstock.models.loading.model_kind` names it.

    Raises:
        PenstockError: `run_fn` returned nothing and wrote nothing, a signature does not fit the
            schema, or the export does not answer as the model does.
    """
    if isinstance(trained.model, Estimator):
        trained.model.save(args.serving_dir)
        raw, _ = next(iter(args.eval_data(64, transformed=False)))
        check_answers(trained.model.answers(np.asarray(args.transform.matrix(raw))), args)
        return trained.model.kind
    if trained.model is None:
        return check_export(args, module_source(author))
    if not args.serving_dir.exists():
        export_model(trained.model, args.transform, args.serving_dir)
        features, _ = next(iter(args.eval_data(64)))
        check_answers(answers(trained.model, features), args)
    kind = check_export(args, module_source(author))
    trained.model.save(args.model_dir / "model.keras")
    return kind


def _call(run_fn: Any, args: FnArgs, author: ModuleType) -> Any:
    try:
        return run_fn(args)
    except (PenstockError, Pruned):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise PenstockError(
            f"run_fn in {module_source(author)} raised {type(error).__name__}: {reason} (at "
            f"{where_raised(error, author)}); the traceback is in the step's log."
        ) from error


def _keras_metrics(model: keras.Model, args: FnArgs) -> dict[str, float]:
    """Return the last training metrics and those on the evaluation split.

    Raises:
        PenstockError: A loss or a weight is not finite.
    """
    history = getattr(getattr(model, "history", None), "history", {})
    metrics = {
        f"train_{name}": float(values[-1])
        for name, values in history.items()
        if not name.startswith("val_") and name != "learning_rate"
    }
    weights = [np.asarray(weight, np.float32) for weight in model.get_weights()]
    if not all(np.isfinite(weight).all() for weight in weights) or not math.isfinite(
        metrics.get("train_loss", 0.0)
    ):
        raise PenstockError(
            "Training diverged: the loss or a weight is not a finite number; lower the learning "
            "rate, and look for infinite values in features with scale='none'."
        )
    if getattr(model, "compiled", False):
        results = model.evaluate(args.eval_data(), return_dict=True, verbose=0)
        metrics |= {f"eval_{name}": float(value) for name, value in results.items()}
    return metrics


def _estimator_metrics(estimator: Estimator, args: FnArgs) -> dict[str, float]:
    """Return scikit-learn's log loss and AUC of a classifier, else squared and absolute error.

    Raises:
        PenstockError: A prediction is not finite.
    """
    from sklearn import metrics

    matrix, labels = args.eval_matrix()
    found = estimator.answers(matrix)
    if not np.isfinite(found).all():
        raise PenstockError(
            "The model that run_fn returned predicts what is not a finite number on the evaluation "
            "split; look for infinite values in features with scale='none'."
        )
    if found.shape[1] > 1:
        loss = metrics.log_loss(labels, found, labels=range(found.shape[1]))
        accuracy = np.mean(found.argmax(axis=1) == labels)
        return {"eval_loss": float(loss), "eval_accuracy": float(accuracy)}
    values = found[:, 0]
    if set(np.unique(labels)) <= {0.0, 1.0} and values.min() >= 0 and values.max() <= 1:
        scores = {"eval_loss": float(metrics.log_loss(labels, values, labels=[0, 1]))}
        if len(np.unique(labels)) == 2:
            scores["eval_auc"] = float(metrics.roc_auc_score(labels, values))
        return scores
    return {
        "eval_loss": float(metrics.mean_squared_error(labels, values)),
        "eval_mae": float(metrics.mean_absolute_error(labels, values)),
    }
