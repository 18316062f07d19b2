"""Where a training runs: in the step, in processes beside it, or on other nodes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import PenstockError
from ...training.author_code import author_file
from ...training.cluster import Limits, run_cluster
from ...training.exchange import Exchange
from ...training.kubernetes import run_job, settled, unique_name
from ...training.manifests import check_kind, read_kubernetes_job
from ...training.places import Place
from ...training.preemption import Preemption
from ...training.strategies import (
    DEFAULT,
    MULTI_WORKER,
    PARAMETER_SERVER,
    check_batches,
    check_servers,
    check_strategy,
)
from .provenance import training_digest
from .worker import INPUTS, MODEL, RESULT, WORK, Work, do_work

_WORKER = "penstock.components.trainer.worker"


@dataclass(frozen=True)
class Scale:
    """On what a model is trained, and what happens when some of it fails.

    Attributes:
        strategy: `default`, `mirrored`, `multi_worker` or `parameter_server`.
        num_workers: Processes that share the work of each step, or with `parameter_server` do a
            step each.
        data_shards: Into how many parts the rows are divided, a multiple of `num_workers`; None
            for as many as there are workers. The result depends on it, and not on `num_workers`.
        precision: `float32`, `mixed_float16` or `mixed_bfloat16`.
        jit: Whether models are compiled with XLA; None leaves it to `compile`.
        deterministic: Whether operations must give the same bits each time, at some cost.
        checkpoint_dir: Where checkpoints outlive the step; with several workers they are kept
            while it runs even when this is empty.
        checkpoint_steps: Steps between checkpoints, 1 or more.
        max_restarts: How often lost workers are started again, 0 or more.
        heartbeat_seconds: A worker without a sign of life for so long is hung.
        kubernetes: Settings of a job on Kubernetes that trains, as `KubernetesJob` has them; None
            to train on this machine.
        num_ps: Processes that hold the weights, with `parameter_server`.
    """

    strategy: str = DEFAULT
    num_workers: int = 1
    data_shards: int | None = None
    precision: str = "float32"
    jit: bool | None = None
    deterministic: bool = False
    checkpoint_dir: str = ""
    checkpoint_steps: int = 500
    max_restarts: int = 3
    heartbeat_seconds: float = 300.0
    kubernetes: Mapping[str, Any] | None = None
    num_ps: int = 1

    @property
    def own_processes(self) -> bool:
        """Whether to train apart from this process: TensorFlow cannot take back determinism."""
        return self.strategy in (MULTI_WORKER, PARAMETER_SERVER) or self.deterministic

    @property
    def servers(self) -> int:
        """How many parameter servers there are."""
        return self.num_ps if self.strategy == PARAMETER_SERVER else 0


def check_scale(scale: Scale, batch_size: int) -> None:
    """Check that the settings make sense, together and with the batches.

    Raises:
        PenstockError: They do not.
    """
    check_strategy(scale.strategy, scale.num_workers, scale.precision, scale.jit)
    check_servers(
        scale.strategy, scale.num_ps, scale.precision, scale.deterministic, scale.data_shards
    )
    if not scale.servers:
        check_batches(batch_size, scale.num_workers, scale.data_shards)
    for name, value, least in (
        ("checkpoint_steps", scale.checkpoint_steps, 1),
        ("max_restarts", scale.max_restarts, 0),
        ("heartbeat_seconds", scale.heartbeat_seconds, 1),
    ):
        if value < least:
            raise PenstockError(f"{name} is {value}; it must be {least} or more.")
    if scale.kubernetes is not None:
        check_kind(settled(read_kubernetes_job(scale.kubernetes)), scale.servers)


def train_on(scale: Scale, work: Work, source: str) -> dict[str, Any]:
    """Do the work where `scale` says, and leave nothing of it but the model.

    Args:
        scale: On what to train.
        work: What is to be trained; `work.folder` does not exist yet.
        source: The file of the author's module.

    Returns:
        What `do_work` returns, and `restarts`: how often lost workers were started again, None
        where Kubernetes counts.

    Raises:
        Preempted: The process was told to stop.
        PenstockError: As `train` in the executor.
    """
    preemption = Preemption()
    folder = Path(work.folder)
    folder.mkdir()
    checkpoints = _checkpoints(work, scale, source)
    work = replace(work, checkpoints=str(checkpoints or ""))
    with preemption.listened_to():
        if scale.kubernetes is not None:
            result = _on_kubernetes(work, scale, preemption)
        elif scale.own_processes:
            result = _in_processes(work, scale, preemption)
        else:
            result = do_work(work, preemption, Place()) | {"restarts": 0}
    shutil.rmtree(folder)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    run = Path(work.model_dir) / "run"
    if run.exists() and not any(run.iterdir()):
        run.rmdir()
    return result


def _in_processes(work: Work, scale: Scale, preemption: Preemption) -> dict[str, Any]:
    folder = Path(work.folder)
    (folder / WORK).write_text(work.to_json(), encoding="utf-8")
    limits = Limits(scale.max_restarts, scale.heartbeat_seconds)
    command = [sys.executable, "-m", _WORKER, str(folder)]
    restarts = run_cluster(command, scale.num_workers, folder, limits, preemption, scale.servers)
    logs = Path(work.model_dir) / "run" / "logs"
    logs.mkdir(parents=True)
    for log in sorted(folder.glob("*-*.log")):
        log.rename(logs / log.name)
    result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return result | {"restarts": restarts}


def _on_kubernetes(work: Work, scale: Scale, preemption: Preemption) -> dict[str, Any]:
    """Pass the inputs to a job on Kubernetes, and bring back the model that it makes."""
    job = settled(read_kubernetes_job(scale.kubernetes or {}))
    name = unique_name("penstock-trainer")
    exchange = Exchange(f"{job.shared.rstrip('/')}/{name}")
    try:
        passed: dict[str, Any] = {}
        for what in ("examples", "transform_graph", "schema", "statistics", "base_model"):
            if getattr(work, what):
                exchange.put(Path(getattr(work, what)), f"{INPUTS}/{what}")
                passed[what] = f"{INPUTS}/{what}"
        module = work.module
        there = replace(
            work,
            **passed,
            module=author_file(module) if module.endswith(".py") else module,
            model_dir=MODEL,
            folder=".",
            checkpoints=work.checkpoints if scale.checkpoint_dir else "checkpoints",
        )
        exchange.write_text(WORK, there.to_json())
        command = ["python", "-m", _WORKER, exchange.root]
        try:
            run_job(
                job,
                name,
                command,
                scale.num_workers,
                scale.max_restarts,
                preemption,
                scale.servers,
            )
        except PenstockError as error:
            raise _refusal(exchange) or error from error
        exchange.get(MODEL, Path(work.model_dir))
        result: dict[str, Any] = json.loads(exchange.read_text(RESULT))
        return result | {"restarts": None}
    finally:
        exchange.remove()


def _refusal(exchange: Exchange) -> PenstockError | None:
    """Return what a worker said against its work, if one did."""
    for name in exchange.names():
        if name.startswith("refusal-"):
            return PenstockError(exchange.read_text(name))
    return None


def _checkpoints(work: Work, scale: Scale, source: str) -> Path | None:
    """Return where this very training keeps its checkpoints; None when it keeps none."""
    if scale.checkpoint_dir:
        return Path(scale.checkpoint_dir) / training_digest(work, scale.num_workers, source)[:16]
    return Path(work.folder) / "checkpoints" if scale.own_processes else None
