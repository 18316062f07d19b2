"""Where a model's replicas live, and how precisely they compute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import PenstockError
from .places import place

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT, MIRRORED, MULTI_WORKER, PARAMETER_SERVER = STRATEGIES = (
    "default",
    "mirrored",
    "multi_worker",
    "parameter_server",
)
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def check_strategy(strategy: str, num_workers: int, precision: str, jit: bool | None) -> None:
    """Check the settings that say how a model is trained.

    Args:
        strategy: One of `STRATEGIES`.
        num_workers: Among how many workers a batch is divided.
        precision: One of `PRECISIONS`.
        jit: Whether models shall be compiled with XLA; None leaves it to `compile`.

    Raises:
        PenstockError: One is unknown or out of range, or they do not go together.
    """
    if strategy not in STRATEGIES:
        raise PenstockError(f"strategy is {strategy!r}; it must be one of {', '.join(STRATEGIES)}.")
    if precision not in PRECISIONS:
        raise PenstockError(
            f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}."
        )
    if jit and strategy != DEFAULT:
        raise PenstockError(
            f"jit is on and strategy is {strategy!r}, which Keras cannot compile with XLA; leave "
            "jit out, or give strategy='default'."
        )
    if num_workers < 1:
        raise PenstockError(f"num_workers is {num_workers}; it must be 1 or more.")
    if num_workers > 1 and strategy not in (MULTI_WORKER, PARAMETER_SERVER):
        raise PenstockError(
            f"num_workers is {num_workers} and strategy is {strategy!r}, which has one; give "
            "strategy='multi_worker', or leave num_workers out."
        )


def check_servers(
    strategy: str, num_ps: int, precision: str, deterministic: bool, data_shards: int | None
) -> None:
    """Check that nothing is asked of parameter servers that they cannot do.

    Args:
        strategy: One of `STRATEGIES`.
        num_ps: How many parameter servers hold the weights.
        precision: One of `PRECISIONS`.
        deterministic: Whether operations must give the same bits each time.
        data_shards: Into how many parts the rows are divided.

    Raises:
        PenstockError: Something is.
    """
    if num_ps < 1:
        raise PenstockError(f"num_ps is {num_ps}; it must be 1 or more.")
    if strategy != PARAMETER_SERVER and num_ps > 1:
        raise PenstockError(
            f"num_ps is {num_ps} and strategy is {strategy!r}, which has no parameter servers; "
            "give strategy='parameter_server', or leave num_ps out."
        )
    if strategy != PARAMETER_SERVER:
        return
    for asked, what, way in (
        (precision == "mixed_float16", "scale losses alike", "precision='mixed_bfloat16'"),
        (deterministic, "update the weights in the same order each time", "deterministic=False"),
        (data_shards is not None, "share out the rows, as each reads all", "no data_shards"),
    ):
        if asked:
            raise PenstockError(
                "strategy is 'parameter_server', whose workers do not wait for each other and so "
                f"cannot {what}; give {way}, or strategy='multi_worker'."
            )


def check_batches(batch_size: int, num_workers: int, data_shards: int | None) -> None:
    """Check that workers can share the parts of the data, and parts a batch, evenly.

    Args:
        batch_size: Rows per step of all workers together.
        num_workers: Among how many workers the parts are shared.
        data_shards: Into how many parts the rows are divided; None for as many as workers.

    Raises:
        PenstockError: They cannot.
    """
    parts = num_workers if data_shards is None else data_shards
    if parts < 1 or parts % num_workers:
        raise PenstockError(
            f"data_shards is {parts} and num_workers is {num_workers}; it must be a multiple of "
            f"num_workers, such as {num_workers}."
        )
    if batch_size % parts:
        raise PenstockError(
            f"batch_size is {batch_size}, to which {parts} data shards cannot give the same number "
            f"of rows; give a multiple of {parts}, such as {-(-batch_size // parts) * parts}."
        )


@contextlib.contextmanager
def distributed(
    strategy: str, precision: str = "float32", jit: bool | None = None
) -> Iterator[tf.distribute.Strategy]:
    """Give a strategy whose `scope()` models are built in, and set precision and compilation.

    With `parameter_server` it is TensorFlow's default one: a model is built on the chief, and its
    `fit` goes through workers and servers.

    Args:
        strategy: One of `STRATEGIES`. `mirrored` takes all GPUs of this machine, or all its logical
            CPU devices when it has no GPU.
        precision: Keras' dtype policy.
        jit: Whether models are compiled with XLA; None leaves it to `compile`.

    Yields:
        The `tf.distribute.Strategy`.
    """
    import keras
    import tensorflow as tf

    from .keras_fit import replaced, several_replicas, several_workers

    before = keras.config.dtype_policy()
    with contextlib.ExitStack() as stack:
        stack.callback(keras.config.set_dtype_policy, before)
        keras.config.set_dtype_policy(precision)
        if jit is not None:
            # What compile's jit_compile="auto", the default, becomes.
            stack.enter_context(replaced(keras.Model, "_resolve_auto_jit_compile", lambda _: jit))
        if strategy == MIRRORED:
            stack.enter_context(several_replicas())
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            yield tf.distribute.MirroredStrategy([device.name for device in devices])
        elif strategy == MULTI_WORKER:
            stack.enter_context(several_workers())
            yield tf.distribute.MultiWorkerMirroredStrategy()
        elif strategy == PARAMETER_SERVER:
            stack.enter_context(_served())
            yield tf.distribute.get_strategy()
        else:
            yield tf.distribute.get_strategy()


@contextlib.contextmanager
def _served() -> Iterator[None]:
    """Do this process's part: the chief's, or a worker's.

    Raises:
        PenstockError: The chief was given nothing to have trained by workers.
    """
    from .coordination import coordinating
    from .feed import feeding

    if place().chief:
        with coordinating() as coordinator:
            yield
        if not coordinator.fits:
            raise PenstockError(
                "strategy is 'parameter_server', and run_fn did not call the fit of a Keras model, "
                "so that workers had nothing to do; call it, as keras_run_fn does, or train with "
                "strategy='default'."
            )
    else:
        with feeding():
            yield
