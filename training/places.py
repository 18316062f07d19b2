"""Which process of a training this one is, by the variables that say so."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from ..errors import PenstockError
from .manifests import HOSTS

# What a process of a cluster does, as TF_CONFIG names it.
CHIEF, WORKER, SERVER = "chief", "worker", "ps"


@dataclass(frozen=True)
class Place:
    """Which process of how many this one is; the chief, number 0, writes what is kept.

    Attributes:
        index: From 0; with parameter servers the chief, the workers and the servers in turn.
        workers: How many train in step and save together, at least 1.
        role: `worker`, or with parameter servers `chief`, `worker` or `ps`.
    """

    index: int = 0
    workers: int = 1
    role: str = WORKER

    @property
    def chief(self) -> bool:
        """Whether this process writes the model."""
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
        chiefs, workers, servers = (len(cluster.get(r, ())) for r in (CHIEF, WORKER, SERVER))
        before = {CHIEF: 0, WORKER: chiefs, SERVER: chiefs + workers}
        index = int(task["index"]) + before[task["type"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PenstockError(
            f"TF_CONFIG is {text!r}; it must be a JSON object such as "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}.'
        ) from error
    return Place(index, 1, task["type"]) if servers else Place(index, chiefs + workers)
