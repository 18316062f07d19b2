"""The common case: a Keras model that is compiled, and all else left to Penstock."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import pyarrow.compute as pc

from ..data.examples import iter_batches
from ..errors import PenstockError
from ..models.transform_graph import DESCRIPTION
from .fn_args import FnArgs

EVALUATIONS = 10


def keras_run_fn(
    fn_args: FnArgs,
    build: Callable[[FnArgs], keras.Model],
    *,
    evaluate_every: int | None = None,
    patience: int | None = None,
    monitor: str = "eval_loss",
    class_weights: Mapping[int, float] | Literal["balanced"] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 2,
) -> keras.Model:
    """Build, train and return a Keras model, on one machine or many.

    It trains for `fn_args.train_steps` batches, from the weights of `fn_args.base_model` when there
    is one, and reports `train_...` and `eval_...` of every metric as it goes.

    Args:
        fn_args: What `run_fn` was given.
        build: Called with `fn_args` in the strategy's scope; returns a compiled model on
            `fn_args.transform.inputs()`.
        evaluate_every: Steps between evaluations; None for a tenth of the training, or more so
            that no more rows are evaluated than trained on.
        patience: Stop after so many evaluations without an improvement; None goes on to the end.
            Either way the weights of the best evaluation are kept when this is given.
        monitor: What improves, as it is reported; a loss or an error falls, all else that Keras
            knows (AUC, accuracy, precision, recall, F1) rises.
        class_weights: What an example of each class counts in the loss, by label 0 to classes - 1;
            `balanced` gives every class the same total.
        callbacks: More of Keras's.
        verbose: As in Keras's `fit`.

    Returns:
        The trained model, for `run_fn` to return.

    Raises:
        PenstockError: The model is not compiled, `base_model` does not fit it, or a setting makes
            no sense.
    """
    with fn_args.strategy.scope():
        model = build(fn_args)
        if not isinstance(model, keras.Model) or not model.compiled:
            raise PenstockError(
                f"keras_run_fn was given {build.__name__}, which returned a {type(model).__name__} "
                "that is not compiled; it must return a keras.Model after model.compile(...)."
            )
        if fn_args.base_model is not None:
            start_from(model, fn_args.base_model, fn_args)
    every = _steps_between_evaluations(fn_args, evaluate_every, model.steps_per_execution)
    model.fit(
        fn_args.train_data(),
        epochs=math.ceil(fn_args.train_steps / every),
        steps_per_epoch=every,
        validation_data=fn_args.eval_data(),
        validation_steps=fn_args.eval_steps,
        class_weight=_class_weights(fn_args, class_weights),
        callbacks=[
            _Report(fn_args, None if patience is None else monitor),
            *([] if patience is None else [_early_stopping(monitor, patience)]),
            *fn_args.callbacks,
            *callbacks,
        ],
        verbose=verbose,
    )
    return model


def start_from(model: keras.Model, base_model: Path, fn_args: FnArgs) -> None:
    """Give `model` the weights of a Model artifact.

    Args:
        model: Built as that one was.
        base_model: The artifact's folder.
        fn_args: Its `transform` must number categories and buckets as that of `base_model` does.

    Raises:
        PenstockError: The artifact holds no Keras model, has another architecture, or was trained
            on indices that mean something else.
    """
    file = base_model / "model.keras"
    if not file.is_file():
        raise PenstockError(
            f"The base model at {base_model} has no {file.name}: it was not a Keras model that "
            "run_fn returned; train from the start, without base_model."
        )
    _check_same_indices(base_model, fn_args)
    try:
        weights = keras.models.load_model(file, compile=False).get_weights()
    except (ValueError, TypeError, OSError) as error:
        raise PenstockError(
            f"Keras {keras.__version__} does not load {file} ({str(error).partition(chr(10))[0]}); "
            "register custom layers with keras.saving.register_keras_serializable, or train "
            "without base_model."
        ) from error
    wanted = [weight.shape for weight in model.weights]
    found = [weight.shape for weight in weights]
    if [tuple(s) for s in wanted] != [tuple(s) for s in found]:
        raise PenstockError(
            f"The base model at {base_model} has weights of the shapes {_shapes(found)}, and the "
            f"new one {_shapes(wanted)}; build the same architecture, or train without base_model."
        )
    model.set_weights(weights)


class _Report(keras.callbacks.Callback):
    """Reports after every evaluation, and ends at the last step."""

    def __init__(self, fn_args: FnArgs, monitor: str | None):
        super().__init__()
        self._args = fn_args
        self._monitor = monitor
        self._before = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._before = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._before + batch + 1 >= self._args.train_steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        metrics = {reported_name(name): float(value) for name, value in (logs or {}).items()}
        if self._monitor is not None and self._monitor not in metrics:
            raise PenstockError(
                f"There is no metric {self._monitor!r} to stop early by; the model has "
                f"{', '.join(sorted(metrics))}."
            )
        self._args.report(int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)), metrics)


def reported_name(name: str) -> str:
    """Return what Keras's `loss` and `val_loss` are called here: `train_loss` and `eval_loss`."""
    return f"eval_{name.removeprefix('val_')}" if name.startswith("val_") else f"train_{name}"


def _steps_between_evaluations(fn_args: FnArgs, asked: int | None, together: int) -> int:
    if asked is None:
        enough = fn_args.eval_rows / fn_args.batch_size
        asked = math.ceil(max(fn_args.train_steps / EVALUATIONS, enough))
    if asked < 1:
        raise PenstockError(f"evaluate_every is {asked}; it must be 1 step or more.")
    steps = min(asked, fn_args.train_steps)
    return math.ceil(steps / together) * together


def _early_stopping(monitor: str, patience: int) -> keras.callbacks.EarlyStopping:
    if patience < 0:
        raise PenstockError(f"patience is {patience}; it must be 0 evaluations or more.")
    if not monitor.startswith(("eval_", "train_")):
        raise PenstockError(
            f"monitor is {monitor!r}; it must be a metric as it is reported, such as eval_loss or "
            "train_loss."
        )
    name = f"val_{monitor.removeprefix('eval_')}"
    return keras.callbacks.EarlyStopping(
        monitor=name if monitor.startswith("eval_") else monitor.removeprefix("train_"),
        patience=patience,
        mode=_mode(monitor),
        restore_best_weights=True,
    )


def _mode(monitor: str) -> str:
    rising = ("auc", "accuracy", "acc", "precision", "recall", "f1", "f1_score", "r2_score")
    return "max" if monitor.partition("_")[2].lower().endswith(rising) else "min"


def _class_weights(
    fn_args: FnArgs, asked: Mapping[int, float] | Literal["balanced"] | None
) -> dict[int, float] | None:
    if asked is None:
        return None
    counts = _label_counts(fn_args)
    labels = sorted(counts)
    if any(label != int(label) or label < 0 for label in labels) or len(labels) > 10_000:
        raise PenstockError(
            f"class_weights were given, and the label {fn_args.label!r} is no class: its values "
            f"are such as {labels[:3]}; classes are 0, 1, 2, ..."
        )
    if asked == "balanced":
        rows = sum(counts.values())
        return {int(label): rows / (len(counts) * counts[label]) for label in labels}
    missing = [int(label) for label in labels if int(label) not in asked]
    if missing:
        raise PenstockError(
            f"class_weights say nothing of the label {missing[0]}; give a weight for each of "
            f"{[int(label) for label in labels]}."
        )
    return {int(label): float(weight) for label, weight in asked.items()}


def _label_counts(fn_args: FnArgs) -> dict[float, int]:
    counts: dict[float, int] = {}
    for batch in iter_batches(fn_args.examples, fn_args.train_split, [fn_args.label]):
        for found in pc.value_counts(batch.column(0)).to_pylist():
            label = float(found["values"])
            counts[label] = counts.get(label, 0) + found["counts"]
    return counts


def _check_same_indices(base_model: Path, fn_args: FnArgs) -> None:
    """Refuse weights that were learned for other meanings of the same indices."""
    file = base_model / "transform" / DESCRIPTION
    try:
        before = json.loads(file.read_text(encoding="utf-8"))["features"]
    except (OSError, ValueError, KeyError) as error:
        raise PenstockError(
            f"The base model at {base_model} does not say how its features were made: {file} is "
            "missing or unreadable; train without base_model."
        ) from error
    now = fn_args.transform.features
    if set(before) != set(now):
        raise PenstockError(
            f"The base model at {base_model} was trained on the features "
            f"{', '.join(sorted(before))}, and these are {', '.join(sorted(now))}; train without "
            "base_model."
        )
    for name, feature in now.items():
        if _indices(feature) != _indices(before[name]):
            raise PenstockError(
                f"The base model at {base_model} numbers the values of {name!r} otherwise than the "
                "transform graph does, so its weights would mean something else; give transform "
                "the same base_model, and it keeps the numbers."
            )


def _indices(feature: Mapping[str, Any]) -> tuple[Any, ...]:
    state = feature["state"]
    return feature["size"], state.get("vocabulary"), state.get("boundaries")


def _shapes(shapes: Sequence[Any]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
