"""Warm worker processes for Python steps."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..errors import PenstockError


class StepFailed(Exception):
    """A step ended without success.

    Attributes:
        mendable: Whether the reason is a sentence for the person at the terminal, as opposed to an
            exception whose traceback matters.
    """

    def __init__(self, reason: str, mendable: bool = False) -> None:
        super().__init__(reason)
        self.mendable = mendable


class Workers:
    """The worker processes of a run; each runs one step at a time.

    The worker that became free last is taken first, since it has imported the most. Safe to use
    from several threads.
    """

    def __init__(self, sys_path: list[str]) -> None:
        self._sys_path = sys_path
        self._lock = threading.Lock()
        self._free: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    def run(self, request: dict[str, Any], *, alone: bool) -> None:
        """Run a step in a worker and wait for it.

        Args:
            request: What `worker.run_step` takes, without `sys_path`.
            alone: Use a fresh process that ends with the step.

        Raises:
            StepFailed: The step raised, or its process ended.
        """
        worker = self._take(alone, Path(request["log"]))
        try:
            answer = worker.ask({**request, "sys_path": self._sys_path})
        except EOFError:
            self._drop(worker)
            reason = worker.epitaph()
            worker.kill()
            raise StepFailed(reason) from None
        if alone:
            self._drop(worker)
            worker.kill()
        else:
            with self._lock:
                self._free.append(worker)
        if not answer["ok"]:
            raise StepFailed(answer["reason"], answer["mendable"])

    def _take(self, alone: bool, log: Path) -> "_Worker":
        with self._lock:
            if self._closed:
                raise StepFailed("The run was stopped.", mendable=True)
            if self._free and not alone:
                return self._free.pop()
            worker = _Worker(log)
            self._all.add(worker)
            return worker

    def _drop(self, worker: "_Worker") -> None:
        with self._lock:
            self._all.discard(worker)

    def close(self) -> None:
        """End all workers now, also those in mid-step."""
        with self._lock:
            self._closed = True
            workers, self._all, self._free = list(self._all), set(), []
        for worker in workers:
            worker.kill()


class _Worker:
    def __init__(self, log: Path) -> None:
        ours, theirs = socket.socketpair()
        try:
            # Its own session: Ctrl-C is for the runner to handle.
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "penstock.orchestration.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise PenstockError(f"A worker process cannot be started: {error}.") from error
        finally:
            theirs.close()
        self.contains = False
        self.connection = ours
        self.lines = ours.makefile("rb")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer; EOFError when the process ends instead."""
        self.contains = "container" in request
        try:
            self.connection.sendall(json.dumps(request).encode() + b"\n")
            line = self.lines.readline()
        except OSError as error:
            raise EOFError from error
        if not line:
            raise EOFError
        self.contains = False
        answer: dict[str, Any] = json.loads(line)
        return answer

    def epitaph(self) -> str:
        """Return a sentence on how the process ended."""
        self.connection.close()
        code = self.process.wait()
        if code >= 0:
            return f"The step's process ended with exit code {code}."
        name = signal.Signals(-code).name
        hint = ": it was killed, perhaps for want of memory" if name == "SIGKILL" else ""
        return f"The step's process was ended by {name}{hint}."

    def kill(self) -> None:
        """End the process and everything it started."""
        if self.contains:
            # It ends its container first, when it sees the connection end.
            self.connection.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=20)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.process.poll()
        self.process.wait()
        self.connection.close()


def log_tail(log: Path, lines: int = 12) -> list[str]:
    """Return the last lines of a log, none when there is no log."""
    if not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-lines:]
