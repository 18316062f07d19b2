"""The local runner: a compiled pipeline, executed on this machine with Kubeflow's semantics."""

import asyncio
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import PenstockError
from .check import check_pipeline
from .dag import Driver
from .parameters import check_parameters
from .report import RunReport, State, StepReport, Watch
from .spec import Pipeline
from .values import Values
from .workers import Workers


@dataclass(frozen=True)
class Settings:
    """How a run is executed.

    Attributes:
        root: Under which runs lie, as `<root>/<pipeline>/<run id>`.
        workers: How many steps run side by side at most.
        isolate: Give every step a process of its own.
        sys_path: Folders that steps import the author's modules from.
    """

    root: Path
    workers: int = 1
    isolate: bool = False
    sys_path: tuple[str, ...] = ()


class Stop:
    """A request to stop: the first asks for no further steps, the second ends those that run."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self._workers: Workers | None = None

    def attach(self, workers: Workers) -> None:
        """Say whose steps a second request ends."""
        self._workers = workers

    def __call__(self) -> bool:
        """Request a stop; return True when it was the second request."""
        again = self.requested.is_set()
        self.requested.set()
        if again and self._workers is not None:
            self._workers.close()
        return again


def run_pipeline(
    pipeline: Pipeline,
    parameters: Mapping[str, Any],
    settings: Settings,
    watch: Watch = lambda step: None,
    stop: Stop | None = None,
) -> RunReport:
    """Execute a compiled pipeline.

    Steps that do not depend on each other go on when one fails; those that depend on it are
    skipped. Every output lies under `<root>/<pipeline>/<run id>/<step>/<output>`.

    Args:
        pipeline: What to run.
        parameters: The pipeline's parameters by name.
        settings: How to run it.
        watch: Called with each step when it starts and when it ends, never twice at once.
        stop: Ends the run early.

    Returns:
        What happened; a failed step is a state, not an exception.

    Raises:
        PenstockError: The pipeline cannot run here, a parameter does not fit, or the root cannot
            be written.
    """
    check_pipeline(pipeline)
    given = check_parameters(pipeline, parameters)
    stop = stop or Stop()
    started = time.monotonic()
    run_id, folder = _new_run(settings.root, pipeline)
    steps: list[StepReport] = []
    one_at_a_time = threading.Lock()

    def seen(step: StepReport) -> None:
        with one_at_a_time:
            if step.state is not State.RUNNING:
                steps.append(step)
            watch(step)

    workers = Workers(list(settings.sys_path))
    stop.attach(workers)
    threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="step")
    try:
        driver = Driver(
            pipeline=pipeline,
            run_id=run_id,
            folder=folder,
            workers=workers,
            threads=threads,
            isolate=settings.isolate,
            watch=seen,
            stopping=stop.requested,
        )
        outcome = asyncio.run(driver.run(Values(given)))
    finally:
        workers.close()
        threads.shutdown()
    return RunReport(
        pipeline.name,
        run_id,
        folder,
        outcome.state,
        tuple(steps),
        outcome.outputs,
        time.monotonic() - started,
    )


def _new_run(root: Path, pipeline: Pipeline) -> tuple[str, Path]:
    run_id = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = root.absolute() / pipeline.name / run_id
    try:
        folder.mkdir(parents=True)
        (folder / "pipeline.yaml").write_text(pipeline.text)
    except OSError as error:
        raise PenstockError(
            f"The run cannot be written to {folder}: {error.strerror}; choose a writable folder "
            "with --root or PENSTOCK_ROOT."
        ) from error
    return run_id, folder


def here(settings: Settings) -> Settings:
    """Return `settings` with this process's import path for the steps."""
    return replace(settings, sys_path=tuple(entry for entry in sys.path if entry))
