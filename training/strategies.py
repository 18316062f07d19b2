"""Where a model's replicas live, and how precisely they compute."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import PenstockError
from .manifests import HOSTS

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT, MIRRORED, MULTI_WORKER, PARAMETER_SERVER = STRATEGIES = (
    "default",
    "mirrored",
    "multi_worker",
    "parameter_server",
)
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class Place:
    """Which worker of how many this process is; the chief, worker 0, writes what is kept.

    Attributes:
        index: From 0.
        workers: At least 1.
    """

    index: int = 0
    workers: int = 1

    @property
    def chief(self) -> bool:
        """Whether this worker writes the model."""
        return self.index == 0


def find_peers() -> None:
    """Set `TF_CONFIG` in the pod of a TrainJob, whose addresses `manifests` told it.

    Kubernetes gives each pod of an indexed Job its number, as `JOB_COMPLETION_INDEX`.
    """
    hosts = [host for host in os.environ.get(HOSTS, "").split(",") if host]
    if hosts and "TF_CONFIG" not in os.environ:
        task = {"type": "worker", "index": int(os.environ.get("JOB_COMPLETION_INDEX", "0"))}
        config = {"cluster": {"worker": hosts}, "task": task}
        os.environ["TF_CONFIG"] = json.dumps(config) if len(hosts) > 1 else "{}"


def place() -> Place:
    """Return this process's place by `TF_CONFIG`, the variable by which TensorFlow finds its peers.

    Raises:
        PenstockError: `TF_CONFIG` is not as TensorFlow has it.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        if not config:
            return Place()
        task, cluster = config["task"], config["cluster"]
        chiefs = len(cluster.get("chief", ()))
        workers = chiefs + len(cluster.get("worker", ()))
        index = int(task["index"]) + (chiefs if task["type"] == "worker" else 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PenstockError(
            f"TF_CONFIG is {text!r}; it must be a JSON object such as "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}.'
        ) from error
    return Place(index, workers)


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
    if strategy == PARAMETER_SERVER:
        raise PenstockError(
            "strategy is 'parameter_server', which Keras 3 cannot train with: its fit gives "
            "workers no steps, and its counters lose what workers add at once; use 'multi_worker'."
        )
    if jit and strategy != DEFAULT:
        raise PenstockError(
            f"jit is on and strategy is {strategy!r}, which Keras cannot compile with XLA; leave "
            "jit out, or give strategy='default'."
        )
    if num_workers < 1:
        raise PenstockError(f"num_workers is {num_workers}; it must be 1 or more.")
    if num_workers > 1 and strategy != MULTI_WORKER:
        raise PenstockError(
            f"num_workers is {num_workers} and strategy is {strategy!r}, which has one; give "
            "strategy='multi_worker', or leave num_workers out."
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

    Args:
        strategy: `default`, `mirrored` or `multi_worker`. `mirrored` takes all GPUs of this
            machine, or all its logical CPU devices when it has no GPU.
        precision: Keras' dtype policy.
        jit: Whether models are compiled with XLA; None leaves it to `compile`.

    Yields:
        The `tf.distribute.Strategy`.
    """
    import keras
    import tensorflow as tf

    from .keras_fit import replaced, several_workers

    before = keras.config.dtype_policy()
    with contextlib.ExitStack() as stack:
        stack.callback(keras.config.set_dtype_policy, before)
        keras.config.set_dtype_policy(precision)
        if jit is not None:
            # What compile's jit_compile="auto", the default, becomes.
            stack.enter_context(replaced(keras.Model, "_resolve_auto_jit_compile", lambda _: jit))
        if strategy == MIRRORED:
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            yield tf.distribute.MirroredStrategy([device.name for device in devices])
        elif strategy == MULTI_WORKER:
            stack.enter_context(several_workers())
            yield tf.distribute.MultiWorkerMirroredStrategy()
        else:
            yield tf.distribute.get_strategy()
