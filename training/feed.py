"""The batches of a worker that a chief coordinates: read by the worker's own process.

Readers are Python, and TensorFlow cannot send those to another process. So each worker runs the
author's module as the chief does, up to `fit`; there it offers its dataset to the steps that the
chief schedules. A step asks by TensorFlow's PyFunc, which calls a function of the process that it
runs in.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import trainer
from keras.src.trainers.epoch_iterator import EpochIterator

from ..errors import PenstockError
from .cluster import HEARTBEAT
from .keras_fit import replaced

# The name that TensorFlow gives the first Python function of a process.
FUNCTION = "pyfunc_0"
_SECONDS = 1.0
_OF_DATA = ("x", "y", "sample_weight", "batch_size", "steps_per_epoch", "class_weight")
_FIT = inspect.signature(trainer.TensorFlowTrainer.fit)


class Feed:
    """What steps on this worker take their batches from.

    `fit` number n offers the dataset for as long as steps of that number come; a step of the next
    ends it.
    """

    def __init__(self, heartbeat: Path | None = None):
        """Make the function that steps call.

        Args:
            heartbeat: The file by which a hung worker is told; None for none.
        """
        self._turn = threading.Condition()
        self._offered = self._asked = self._given = 0
        self._batches: Iterator[Any] = iter(())
        self._heartbeat = heartbeat
        self._reading = False
        # It lives as long as its graph does.
        self._graph = tf.Graph()
        with self._graph.as_default():
            [called] = tf.numpy_function(self._next, [tf.constant(1)], [tf.int64])
        name = called.op.get_attr("token").decode()
        if name != FUNCTION:
            raise RuntimeError(f"This process has made Python functions before: {name}.")

    def offer(self, dataset: tf.data.Dataset) -> None:
        """Offer a dataset, again from the start when it ends, until the next one is asked for."""
        with self._turn:
            self._offered += 1
            self._batches = iter(dataset.repeat())
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._asked > self._offered)

    def _next(self, number: int) -> list[np.ndarray[Any, Any]]:
        with self._turn:
            self._asked = max(self._asked, int(number))
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._offered >= number)
        self._reading = True
        batch = next(self._batches)
        self._reading = False
        self._given += 1
        if self._given == 1 and self._heartbeat is not None:
            threading.Thread(target=self._live, name="heartbeat", daemon=True).start()
        return [part.numpy() for part in tf.nest.flatten(batch)]

    def _live(self) -> None:
        """Give signs of life, but not while a batch is waited for."""
        while self._heartbeat is not None:
            if not self._reading:
                self._heartbeat.write_text(str(self._given), encoding="utf-8")
            time.sleep(_SECONDS)


@contextlib.contextmanager
def feeding() -> Iterator[None]:
    """Let this process, a worker by `TF_CONFIG`, do the steps that the chief schedules.

    Within the context `keras.Model.fit` trains nothing here, but offers its dataset, and returns
    when the chief goes on to the next `fit`.
    """
    feed = Feed(Path(os.environ[HEARTBEAT]) if HEARTBEAT in os.environ else None)

    def fit(model: keras.Model, *arguments: Any, **named: Any) -> keras.callbacks.History:
        dataset, _ = batches_of(named_arguments(model, *arguments, **named))
        feed.offer(dataset)
        model.history = keras.callbacks.History()
        return model.history

    with _serving(), replaced(trainer.TensorFlowTrainer, "fit", fit):
        yield


def hold_weights() -> NoReturn:
    """Be the parameter server that this process is by `TF_CONFIG`, until it is ended."""
    with _serving():
        while True:
            time.sleep(_SECONDS)


@contextlib.contextmanager
def _serving() -> Iterator[None]:
    """Run TensorFlow's server for the task that `TF_CONFIG` gives this process."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster = resolver.cluster_spec()
    # A step that waits for its batch holds a thread.
    threads = max(os.cpu_count() or 1, cluster.num_tasks("worker") + 1) + 1
    server = tf.distribute.Server(
        cluster,
        job_name=resolver.task_type,
        task_index=resolver.task_id,
        protocol="grpc",
        config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=threads),
    )
    yield
    # It runs as long as something holds it; its own `join` would stop all other threads.
    del server


def named_arguments(model: keras.Model, *arguments: Any, **named: Any) -> dict[str, Any]:
    """Return the arguments of a call of `model.fit`, by name, those with a default as well."""
    bound = _FIT.bind(model, *arguments, **named)
    bound.apply_defaults()
    return {name: value for name, value in bound.arguments.items() if name != "self"}


def batches_of(given: dict[str, Any]) -> tuple[tf.data.Dataset, int]:
    """Return the batches that `fit` is to train on, and how many are an epoch.

    Args:
        given: The arguments of `keras.Model.fit`, by name.

    Raises:
        PenstockError: The data is not tensors of a batch, or has no end that makes an epoch, or an
            argument is given that parameter servers have no use for.
    """
    if given["validation_split"]:
        raise PenstockError(
            "fit was given validation_split, which strategy='parameter_server' does not do; give "
            "validation_data, such as fn_args.eval_data()."
        )
    shuffle = given["shuffle"] and not isinstance(given["x"], tf.data.Dataset)
    adapted = EpochIterator(**{name: given[name] for name in _OF_DATA}, shuffle=shuffle)
    dataset = adapted.data_adapter.get_tf_dataset()
    steps = given["steps_per_epoch"] or adapted.num_batches
    if not steps:
        raise PenstockError(
            "fit was given a dataset without end and no steps_per_epoch; give steps_per_epoch, "
            "such as fn_args.train_steps."
        )
    parts = tf.nest.flatten(dataset.element_spec)
    odd = [part for part in parts if not isinstance(part, tf.TensorSpec)]
    if odd:
        raise PenstockError(
            f"fit was given batches of {type(odd[0]).__name__.removesuffix('Spec')}s, which "
            "strategy='parameter_server' does not feed; make dense tensors of them."
        )
    return dataset, int(steps)
