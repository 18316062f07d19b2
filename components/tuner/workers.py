"""Has workers search until the study has what it shall have, and leaves none behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import PenstockError
from .job import Job
from .study import SharedStudy
from .worker import EXIT_REFUSED, work

LOOK_SECONDS = 0.5


def run_workers(study: SharedStudy, job: Job, folder: Path) -> None:
    """Have the study searched on this machine until its budget is used up.

    One worker is this process; several are processes of their own, and one that is killed is
    replaced. Trials that other machines run are waited for, so that all who share a study report
    the same best.

    Args:
        study: The study.
        job: What workers are told.
        folder: Where they leave their reasons.

    Raises:
        PenstockError: No trial can succeed, or workers end before they have begun.
    """
    while True:
        ready, running = study.left(job.budget)
        if ready and job.search.workers == 1:
            work(job)
        elif ready:
            known = study.begun()
            codes = _run(min(job.search.workers, ready), asdict(job), folder)
            if any(codes) and study.begun() == known:
                raise PenstockError(
                    f"A worker of the search ended with exit code {codes[0]} before it began a "
                    "trial; what it said is in the step's log."
                )
        elif running:
            time.sleep(LOOK_SECONDS)
        else:
            return


def _run(count: int, job: Mapping[str, Any], folder: Path) -> list[int]:
    """Start workers, wait for all of them, and return their exit codes."""
    processes: list[subprocess.Popen[str]] = []
    refusals = [folder / f"refusal-{number}.txt" for number in range(count)]
    try:
        for refusal in refusals:
            order = {
                "job": job,
                "parent": os.getpid(),
                "refusal": str(refusal),
                "sys_path": sys.path,
            }
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock.components.tuner.worker"],
                stdin=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
            processes.append(process)
            if process.stdin is not None:
                process.stdin.write(json.dumps(order))
                process.stdin.close()
        return _waited(processes, refusals)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _waited(processes: Sequence[subprocess.Popen[str]], refusals: Sequence[Path]) -> list[int]:
    while any(process.poll() is None for process in processes):
        for process, refusal in zip(processes, refusals, strict=True):
            if process.poll() == EXIT_REFUSED:
                raise PenstockError(refusal.read_text(encoding="utf-8"))
        time.sleep(LOOK_SECONDS / 5)
    for process, refusal in zip(processes, refusals, strict=True):
        if process.returncode == EXIT_REFUSED:
            raise PenstockError(refusal.read_text(encoding="utf-8"))
    return [process.returncode for process in processes]
