"""Keras 3's `fit` and `evaluate` under the mirrored strategies, where they fail as they are.

Keras' trainer for TensorFlow (3.15, and those before) averages the first batch over the replicas to
see its shape, which fails when the replicas' parts differ in length. With several workers that
feeds a distributed value to an operation that takes tensors, and scalar results are reduced along
an axis that scalars do not have (https://github.com/keras-team/keras/issues/20585). What follows
replaces the two while a model trains, and with several workers how Keras divides data. The author's
model, `compile` and `fit` stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from ..errors import PenstockError


@contextlib.contextmanager
def several_replicas() -> Iterator[None]:
    """Let Keras train and evaluate under MirroredStrategy on batches of any length.

    Raises:
        PenstockError: This version of Keras lacks the function that is replaced.
    """
    with replaced(trainer.TensorFlowTrainer, "_maybe_symbolic_build", _build_from_dataset):
        yield


@contextlib.contextmanager
def several_workers() -> Iterator[None]:
    """Let Keras train and evaluate under MultiWorkerMirroredStrategy within the context.

    - A dataset is what this worker reads itself: Keras neither divides it among workers nor cuts
      its batches, except among this worker's own replicas.
    - `steps_per_execution` is 1: TensorFlow refuses the workers' exchange inside a loop.

    Raises:
        PenstockError: This version of Keras lacks a function that is replaced.
    """
    with (
        replaced(trainer, "reduce_per_replica", _reduced),
        replaced(trainer.TensorFlowTrainer, "_maybe_symbolic_build", _build_from_shapes),
        replaced(trainer.TFEpochIterator, "__init__", _begin_epochs),
    ):
        yield


@contextlib.contextmanager
def replaced(holder: Any, name: str, replacement: Any) -> Iterator[None]:
    """Put `replacement` in the place of a function of Keras' within the context.

    Raises:
        PenstockError: This version of Keras has no such function.
    """
    original = getattr(holder, name, None)
    if original is None:
        raise PenstockError(
            f"Keras {keras.__version__} has no {name} in its trainer, which Penstock replaces "
            "here; install Keras 3.15, or train with strategy='default' and without jit."
        )
    inherited = name not in vars(holder)
    setattr(holder, name, replacement)
    try:
        yield
    finally:
        if inherited:
            delattr(holder, name)
        else:
            setattr(holder, name, original)


def _reduced(values: Any, strategy: tf.distribute.Strategy, reduction: str) -> Any:
    """Reduce what a step gave on every replica of every worker, as Keras' own does on one."""
    if reduction == "concat":
        return keras.tree.map_structure(
            lambda v: trainer._multi_worker_concat(v, strategy),
            values,
        )
    how = "SUM" if reduction == "sum" else "MEAN"
    return keras.tree.map_structure(lambda v: strategy.reduce(how, v, axis=None), values)


def _build_from_shapes(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
    """Build model, metrics and loss from a batch's shapes and types; no batch is read for it."""
    if self._distribute_strategy is None:
        return
    if iterator is not None:
        self.steps_per_execution = iterator.steps_per_execution = 1
        data_batch = iterator.batch_spec
    with self._distribute_strategy.scope():
        self._symbolic_build(data_batch=data_batch)


def _build_from_dataset(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
    """Build model, metrics and loss from a dataset's shapes and types; no batch is read for it."""
    if self._distribute_strategy is None:
        return
    if iterator is not None:
        data_batch = symbols(iterator.data_adapter.get_tf_dataset().element_spec)
    with self._distribute_strategy.scope():
        self._symbolic_build(data_batch=data_batch)


def _begin_epochs(
    self: Any, distribute_strategy: tf.distribute.Strategy, *args: Any, **kwargs: Any
) -> None:
    trainer.EpochIterator.__init__(self, *args, **kwargs)
    self._distribute_strategy = distribute_strategy
    dataset = self.data_adapter.get_tf_dataset()
    self.batch_spec = symbols(dataset.element_spec)
    self._distributed_dataset = distribute_strategy.distribute_datasets_from_function(
        lambda context: among_replicas(
            dataset, distribute_strategy.num_replicas_in_sync // context.num_input_pipelines
        )
    )


def symbols(spec: Any) -> Any:
    """Return a symbolic tensor of Keras' for each of a batch's specs."""
    return keras.tree.map_structure(
        lambda part: keras.KerasTensor(tuple(part.shape), part.dtype.name), spec
    )


def among_replicas(dataset: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    """Cut each batch into one piece per replica, as even as they go.

    Args:
        dataset: Elements of any structure, of tensors `[rows, ...]`.
        replicas: Into how many pieces, at least 1.

    Returns:
        The pieces in the order of the rows, `replicas` for every element of `dataset`.
    """
    if replicas == 1:
        return dataset

    def pieces(*batch: Any) -> tf.data.Dataset:
        rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]

        def piece(place: tf.Tensor) -> Any:
            first, last = rows * place // replicas, rows * (place + 1) // replicas
            return tf.nest.map_structure(lambda values: values[first:last], batch)

        return tf.data.Dataset.range(replicas).map(piece)

    return dataset.flat_map(pieces)
