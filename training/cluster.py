"""Worker processes on this machine: started, watched, started again, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import PenstockError
from .preemption import EXIT_RETRY, Preempted, Preemption

# What a worker's exit code means, beside 0: see `penstock.components.trainer.worker`.
EXIT_REFUSED = 2
EXIT_PEER_LOST = 75

PARENT = "PENSTOCK_PARENT"
HEARTBEAT = "PENSTOCK_HEARTBEAT"

_LOOK_SECONDS = 0.1
_PEERS_SECONDS = 5.0
_SHOWN_LINES = 30


@dataclass(frozen=True)
class Limits:
    """How much is put up with.

    Attributes:
        restarts: How often all workers are started again after one was lost, 0 or more.
        heartbeat_seconds: A worker that gives no sign of life for so long is hung.
        grace_seconds: How long workers may take to save when they are told to stop.
    """

    restarts: int = 3
    heartbeat_seconds: float = 300.0
    grace_seconds: float = 20.0


class _Lost(Exception):
    """A worker was lost, and starting all again may help."""


@dataclass
class Cluster:
    """One attempt: processes that train together.

    Attributes:
        folder: Where logs, heartbeats and refusals are written.
        limits: How much is put up with.
    """

    folder: Path
    limits: Limits
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], workers: int) -> None:
        """Start the workers, each in a process group of its own and with its `TF_CONFIG`."""
        addresses = _free_addresses(workers)
        for index in range(workers):
            self._beat(index).unlink(missing_ok=True)
            with self._log(index).open("ab") as log:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        env=os.environ | self._environment(addresses, index),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )

    def wait(self, preemption: Preemption) -> None:
        """Wait until all workers have ended well.

        Raises:
            _Lost: A worker was killed, ended oddly or is hung.
            Preempted: This process was told to stop; the workers have been told and waited for.
            PenstockError: A worker refused its work, and says why.
        """
        while True:
            codes = [process.poll() for process in self.processes]
            if all(code == 0 for code in codes):
                return
            if preemption.told:
                self._stop()
                raise Preempted
            if any(codes):
                raise self._verdict()
            self._check_heartbeats()
            time.sleep(_LOOK_SECONDS)

    def kill(self) -> None:
        """End every worker with all that it started, and wait until they are gone."""
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.processes:
            process.wait()

    def show(self, index: int) -> None:
        """Write the end of a worker's log to standard error, which is the step's log."""
        lines = self._log(index).read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines[-_SHOWN_LINES:]:
            sys.stderr.write(f"worker {index}: {line}\n")

    def _stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + self.limits.grace_seconds
        while time.monotonic() < end and any(p.poll() is None for p in self.processes):
            time.sleep(_LOOK_SECONDS)

    def _verdict(self) -> Exception:
        """Return why an attempt failed, after the peers of the lost worker had time to fail too.

        Workers that lose a peer fail as well, often before it is seen that the peer is gone. What
        only they say is no reason.
        """
        end = time.monotonic() + _PEERS_SECONDS
        while time.monotonic() < end and not self._culprits():
            time.sleep(_LOOK_SECONDS)
        culprits = self._culprits() or [i for i, p in enumerate(self.processes) if p.poll()]
        index = culprits[0]
        code = self.processes[index].returncode
        self.show(index)
        refusal = self.folder / f"refusal-{index}.txt"
        if code == EXIT_REFUSED and refusal.exists():
            return PenstockError(refusal.read_text(encoding="utf-8"))
        return _Lost(f"worker {index} {_ended(code)}")

    def _culprits(self) -> list[int]:
        return [
            index
            for index, process in enumerate(self.processes)
            if process.poll() not in (None, 0, EXIT_PEER_LOST, -signal.SIGABRT)
        ]

    def _check_heartbeats(self) -> None:
        """Raise `_Lost` when a worker that gave signs of life has given none for too long.

        In step, all wait for the one that hangs: it has done the fewest steps.
        """
        signs = {}
        for index in range(len(self.processes)):
            try:
                signs[index] = (self._beat(index).stat().st_mtime, self._steps(index))
            except FileNotFoundError:
                continue
        now = time.time()
        silent = [i for i, (at, _) in signs.items() if now - at > self.limits.heartbeat_seconds]
        if silent:
            hung = min(silent, key=lambda index: signs[index][1])
            self.show(hung)
            raise _Lost(
                f"worker {hung} has given no sign of life for {now - signs[hung][0]:.0f} s, since "
                f"about step {signs[hung][1]}"
            )

    def _steps(self, index: int) -> int:
        text = self._beat(index).read_text(encoding="utf-8")
        return int(text) if text.isdigit() else 0

    def _environment(self, addresses: Sequence[str], index: int) -> dict[str, str]:
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": list(addresses)}, "task": task})
        return {
            "TF_CONFIG": config if len(addresses) > 1 else "{}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUNBUFFERED": "1",
            PARENT: str(os.getpid()),
            HEARTBEAT: str(self._beat(index)),
        }

    def _beat(self, index: int) -> Path:
        return self.folder / f"heartbeat-{index}"

    def _log(self, index: int) -> Path:
        return self.folder / f"worker-{index}.log"


def run_cluster(
    command: Sequence[str],
    workers: int,
    folder: Path,
    limits: Limits,
    preemption: Preemption,
) -> int:
    """Run a command as several workers that find each other by `TF_CONFIG`, until all end well.

    When one is killed, crashes or hangs, all are killed and started again: they train in step, and
    go on from their checkpoint. Whatever ends this process ends them too.

    Args:
        command: What each worker runs. It calls `die_with_parent` first.
        workers: How many, at least 1; the `TF_CONFIG` of a single one names no cluster.
        folder: An existing folder for `worker-<index>.log` and what the workers say of themselves.
        limits: How much is put up with.
        preemption: Tells when to stop.

    Returns:
        How often the workers were started again.

    Raises:
        Preempted: This process was told to stop, and so were the workers.
        PenstockError: A worker refused its work, or workers were lost too often.
    """
    for attempt in range(limits.restarts + 1):
        with ExitStack() as stack:
            cluster = Cluster(folder, limits)
            stack.callback(cluster.kill)
            preemption.saving = True
            stack.callback(setattr, preemption, "saving", False)
            try:
                cluster.start(command, workers)
                cluster.wait(preemption)
                return attempt
            except _Lost as lost:
                reason = str(lost)
                sys.stderr.write(f"penstock: {reason}; all are started again.\n")
    raise PenstockError(
        f"Training was started {limits.restarts + 1} times and a worker was lost each time: at "
        f"last {reason}. The end of its log is in the step's log; look for what kills it, such as "
        "too little memory."
    )


def _ended(code: int) -> str:
    if code == EXIT_RETRY:
        return "was told to stop"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _free_addresses(count: int) -> list[str]:
    """Return free ports of the loopback interface, all held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()
