"""Keras' `fit` under TensorFlow's ParameterServerStrategy, which Keras 3 knows nothing of.

The chief coordinates: it schedules steps on workers, which read batches of their own, take the
weights from the parameter servers and give their updates to them, each as soon as it can and
without waiting for the others. Between epochs the chief holds the variables itself, so that
evaluation, callbacks, the export and whatever else the author does meet a model as on one machine.

What a step adds to a counter, a metric or a moving average is computed from one reading of the
variable and then added on the server, which does one addition at a time. Keras itself reads, adds
and writes back, by which workers lose each other's additions.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from ..errors import PenstockError
from .checkpoints import Checkpoints
from .feed import FUNCTION, batches_of, named_arguments
from .keras_fit import replaced, symbols

# Steps under way, per worker: enough that none waits for the chief, and few to wait for.
_UNDER_WAY = 8
_LOOK_SECONDS = 0.002


class Coordinator:
    """The chief's side of a training.

    Attributes:
        fits: How often `fit` was called.
    """

    def __init__(self, resolver: tf.distribute.cluster_resolver.ClusterResolver):
        """Connect to all workers and servers, when they are there."""
        self._strategy = tf.distribute.ParameterServerStrategy(resolver)
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(self._strategy)
        cluster = resolver.cluster_spec()
        self._workers = cluster.num_tasks("worker")
        self._servers = cluster.num_tasks("ps")
        self.fits = 0

    def fit(self, model: keras.Model, given: dict[str, Any]) -> keras.callbacks.History:
        """Train `model`: what `keras.Model.fit` does, with a step as what one worker does.

        Args:
            model: Compiled.
            given: The arguments of `keras.Model.fit`, by name.
        """
        self.fits += 1
        dataset, steps = batches_of(given)
        with Servers(model, self._coordinator, self._servers, self._workers) as servers:
            servers.prepare(dataset.element_spec, self.fits)
            model.train_function = servers.schedule
            try:
                return _epochs(model, servers, steps, given)
            finally:
                model.train_function = None


@contextlib.contextmanager
def coordinating() -> Iterator[Coordinator]:
    """Let this process, the chief by `TF_CONFIG`, train through workers and servers.

    Yields:
        The coordinator; within the context `keras.Model.fit` goes through it.
    """
    coordinator = Coordinator(tf.distribute.cluster_resolver.TFConfigClusterResolver())

    def fit(model: keras.Model, *arguments: Any, **named: Any) -> keras.callbacks.History:
        return coordinator.fit(model, named_arguments(model, *arguments, **named))

    with replaced(trainer.TensorFlowTrainer, "fit", fit):
        yield coordinator


class Servers:
    """A model's variables, on the parameter servers while steps are under way.

    Each of Keras' variables has two values, one on the chief and one on a server; entering and
    leaving the servers copies all of them.
    """

    def __init__(
        self,
        model: keras.Model,
        coordinator: tf.distribute.coordinator.ClusterCoordinator,
        servers: int,
        workers: int,
    ):
        """Say whose variables, and on how many servers."""
        self._model, self._coordinator = model, coordinator
        self._count, self._limit = servers, _UNDER_WAY * workers
        self._variables: list[Any] = []
        self._here: list[tf.Variable] = []
        self._there: list[tf.Variable] = []
        self._away = False
        self._scheduled = 0

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *error: object) -> None:
        # Servers that failed have nothing more to say; the model must not point at them.
        self._point(self._here)

    def prepare(self, spec: Any, number: int) -> None:
        """Build all variables, place them on servers, and trace the step.

        Args:
            spec: Of a batch, as the workers' datasets have it.
            number: Of this `fit` among those of the training.

        Raises:
            PenstockError: The model changes or uses state in a way that servers cannot hold.
        """
        model, optimizer = self._model, self._model.optimizer
        if optimizer.gradient_accumulation_steps:
            raise PenstockError(
                "The optimizer has gradient_accumulation_steps, which workers that do not wait for "
                "each other cannot count; leave it out, and give a larger batch_size."
            )
        model._symbolic_build(data_batch=symbols(spec))
        optimizer.build(model.trainable_variables)
        held = [*model.variables, *optimizer.variables, *model.metrics_variables]
        self._variables = list({id(variable): variable for variable in held}.values())
        self._here = [variable._value for variable in self._variables]
        for value, server in zip(self._here, itertools.cycle(range(self._count)), strict=False):
            with tf.device(f"/job:ps/replica:0/task:{server}/device:CPU:0"):
                self._there.append(tf.Variable(value.numpy(), dtype=value.dtype))
        with tf.device("/job:ps/replica:0/task:0/device:CPU:0"):
            self._finished = tf.Variable(0, dtype=tf.int64)
        self._point(self._there)
        for place, variable in enumerate(model.trainable_variables):
            # The optimizer finds its state by the variable that it updates.
            optimizer._trainable_variables_indices[optimizer._var_key(variable)] = place
        self._step = _step(model, self._variables, spec, number, self._finished)
        self._point(self._here)

    def schedule(self, iterator: Any = None) -> dict[str, Any]:
        """Have one step done by whichever worker is free, and do not wait for it.

        Raises:
            tf.errors.OpError: A step failed, or a server is gone.
        """
        if not self._away:
            for here, there in zip(self._here, self._there, strict=True):
                there.assign(here)
            self._point(self._there)
            self._away = True
        while (
            self._scheduled - int(self._finished.numpy()) >= self._limit
            and not self._coordinator.done()
        ):
            time.sleep(_LOOK_SECONDS)
        self._coordinator.schedule(self._step)
        self._scheduled += 1
        return {}

    def settle(self) -> None:
        """Wait until all steps that were scheduled are done, and no variable changes any more."""
        self._coordinator.join()
        if self._away:
            # A step of a lost worker is done again, so that it may have been counted twice.
            self._finished.assign(self._scheduled)

    def come_home(self) -> None:
        """Settle, and copy the variables to the chief."""
        self.settle()
        if self._away:
            for here, there in zip(self._here, self._there, strict=True):
                here.assign(there.read_value())
            self._point(self._here)
            self._away = False

    def _point(self, values: Sequence[tf.Variable]) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable._value = value


def _epochs(
    model: keras.Model, servers: Servers, steps: int, given: Mapping[str, Any]
) -> keras.callbacks.History:
    """Go through the epochs as `keras.Model.fit` does."""
    callbacks = keras.callbacks.CallbackList(
        given["callbacks"],
        add_history=True,
        add_progbar=given["verbose"] != 0,
        verbose=given["verbose"],
        epochs=given["epochs"],
        steps=steps,
        model=model,
    )
    for callback in callbacks.callbacks:
        if isinstance(callback, Checkpoints):
            callback.settle = servers.settle
    model.stop_training = False
    callbacks.on_train_begin()
    logs: dict[str, Any] = {}
    for epoch in range(model._initial_epoch or given["initial_epoch"], given["epochs"]):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        for batch in range(steps):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, model.train_function(itertools.repeat(None)))
            if model.stop_training:
                break
        servers.come_home()
        logs = dict(model.get_metrics_result()) | _validated(model, epoch, given, callbacks)
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def _validated(
    model: keras.Model, epoch: int, given: Mapping[str, Any], callbacks: Any
) -> dict[str, Any]:
    """Evaluate on the chief, when `fit` is to do so after this epoch."""
    data = given["validation_data"]
    if data is None or not model._should_eval(epoch, given["validation_freq"]):
        return {}
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    found = model.evaluate(
        x,
        y,
        sample_weight=weights,
        batch_size=given["validation_batch_size"] or given["batch_size"],
        steps=given["validation_steps"],
        callbacks=callbacks,
        return_dict=True,
        verbose=0,
    )
    return {f"val_{name}": value for name, value in found.items()}


def _step(
    model: keras.Model, variables: Sequence[Any], spec: Any, number: int, finished: tf.Variable
) -> Any:
    """Trace what a worker does in a step, and return it as a concrete function.

    Raises:
        PenstockError: The model changes or uses state in a way that servers cannot hold.
    """
    changed = _changed(model, variables, spec, number)

    def step() -> None:
        before = [(variable, variable._value.read_value()) for variable in changed]
        with keras.StatelessScope(before) as scope:
            model.train_step(_batch(spec, number))
        for variable, value in before:
            variable._value.assign_add(scope.get_current_value(variable) - value)
        finished.assign_add(1)

    function = tf.function(step, autograph=False).get_concrete_function()
    for captured in function.captured_inputs:
        if captured.dtype == tf.resource and "/job:ps/" not in captured.device:
            raise PenstockError(
                "The model that run_fn trains uses a variable or a table that is neither its own "
                "nor its optimizer's, which parameter servers cannot hold; make it a weight of a "
                "layer, or train with strategy='multi_worker'."
            )
    return function


def _changed(model: keras.Model, variables: Sequence[Any], spec: Any, number: int) -> list[Any]:
    """Return the variables that a step assigns a new value, found by tracing one."""
    found: list[Any] = []

    def look() -> None:
        with keras.StatelessScope() as scope:
            model.train_step(_batch(spec, number))
        graph = tf.compat.v1.get_default_graph()
        for variable in variables:
            value = scope.get_current_value(variable)
            if value is None:
                continue
            inside = getattr(value, "graph", graph) is not graph
            if inside or variable.dtype in ("bool", "string"):
                raise PenstockError(
                    f"A training step assigns {variable.path}, "
                    + ("under a condition" if inside else f"which is a {variable.dtype}")
                    + ", which workers that do not wait for each other cannot; leave out what "
                    "does so, or train with strategy='multi_worker'."
                )
            found.append(variable)

    tf.function(look, autograph=False).get_concrete_function()
    return found


def _batch(spec: Any, number: int) -> Any:
    """Return, in a worker's graph, the next batch of its process."""
    flat = tf.nest.flatten(spec)
    parts = tf.raw_ops.PyFunc(
        input=[tf.constant(number)], token=FUNCTION, Tout=[part.dtype for part in flat]
    )
    for part, known in zip(parts, flat, strict=True):
        part.set_shape(known.shape)
    return tf.nest.pack_sequence_as(spec, parts)
