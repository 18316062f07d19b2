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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import PenstockError
from .places import CHIEF, SERVER, WORKER
from .preemption import EXIT_RETRY, Preempted, Preemption

# What a worker's exit code means, beside 0: see `penstock.components.trainer.worker`.
EXIT_REFUSED = 2
# A TFJob tries again after codes from 128 on; 138 is the one it leaves to programs.
EXIT_PEER_LOST = 138

PARENT = "PENSTOCK_PARENT"
HEARTBEAT = "PENSTOCK_HEARTBEAT"

_LOOK_SECONDS = 0.1
_PEERS_SECONDS = 5.0
_SHOWN_LINES = 30


@dataclass(frozen=True)
class Limits:
    """How much is put up with.

    Attributes:
        restarts: How often what was lost is started again, 0 or more.
        heartbeat_seconds: A worker that gives no sign of life for so long is hung.
        grace_seconds: How long workers may take to save when they are told to stop.
    """

    restarts: int = 3
    heartbeat_seconds: float = 300.0
    grace_seconds: float = 20.0


class _Lost(Exception):
    """A process was lost, and starting all again may help."""


@dataclass
class Cluster:
    """One attempt: processes that train together.

    Workers alone train in step, so that none can go on without the others. With servers there is a
    chief that coordinates, and a worker that was lost is started again while the others go on.

    Attributes:
        command: What each process runs.
        workers: How many train.
        servers: How many hold the weights; 0 for workers in step, which hold them themselves.
        folder: Where logs, heartbeats and refusals are written.
        limits: How much is put up with.
        restarts: How often one worker was started again.
    """

    command: Sequence[str]
    workers: int
    servers: int
    folder: Path
    limits: Limits
    restarts: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start all, each in a process group of its own and with its `TF_CONFIG`."""
        self._tasks = [(WORKER, index) for index in range(self.workers)]
        if self.servers:
            servers = [(SERVER, index) for index in range(self.servers)]
            self._tasks = [(CHIEF, 0), *self._tasks, *servers]
        self._addresses = _free_addresses(len(self._tasks))
        self.processes = [self._process(place) for place in range(len(self._tasks))]

    def wait(self, preemption: Preemption) -> None:
        """Wait until all workers have ended well, or with servers the chief.

        Raises:
            _Lost: A process was killed, ended oddly or is hung.
            Preempted: This process was told to stop; the workers have been told and waited for.
            PenstockError: A process refused its work, and says why.
        """
        while True:
            codes = [process.poll() for process in self.processes]
            if all(code == 0 for code in (codes[:1] if self.servers else codes)):
                return
            if preemption.told:
                self._stop()
                raise Preempted
            failed = [place for place, code in enumerate(codes) if code]
            if failed and not all(self._can_start_again(place) for place in failed):
                raise self._verdict()
            for place in failed:
                self._start_again(place, _ended(self.processes[place].returncode))
            self._check_heartbeats()
            time.sleep(_LOOK_SECONDS)

    def kill(self) -> None:
        """End every worker with all that it started, and wait until they are gone."""
        for process in self.processes:
            _kill(process)

    def show(self, index: int) -> None:
        """Write the end of a worker's log to standard error, which is the step's log."""
        lines = self._log(index).read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines[-_SHOWN_LINES:]:
            sys.stderr.write(f"{self._name(index)}: {line}\n")

    def _process(self, place: int) -> subprocess.Popen[bytes]:
        self._beat(place).unlink(missing_ok=True)
        with self._log(place).open("ab") as log:
            return subprocess.Popen(
                self.command,
                env=os.environ | self._environment(place),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _can_start_again(self, place: int) -> bool:
        return (
            self.servers > 0
            and self._tasks[place][0] == WORKER
            and self.processes[place].poll() != EXIT_REFUSED
            and self.restarts < self.limits.restarts
        )

    def _start_again(self, place: int, why: str) -> None:
        """End one worker with all that it started, and start it again at the same address."""
        self.show(place)
        sys.stderr.write(f"penstock: {self._name(place)} {why}; it is started again.\n")
        _kill(self.processes[place])
        self.restarts += 1
        self.processes[place] = self._process(place)

    def _stop(self) -> None:
        """Tell those who save to stop: all workers in step, or the chief, who needs the others."""
        savers = self.processes[:1] if self.servers else self.processes
        for process in savers:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + self.limits.grace_seconds
        while time.monotonic() < end and any(p.poll() is None for p in savers):
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
        return _Lost(f"{self._name(index)} {_ended(code)}")

    def _culprits(self) -> list[int]:
        return [
            index
            for index, process in enumerate(self.processes)
            if process.poll() not in (None, 0, EXIT_PEER_LOST, -signal.SIGABRT)
        ]

    def _check_heartbeats(self) -> None:
        """Find who gave signs of life and has given none for too long.

        In step, all wait for the one that hangs: it has done the fewest steps.

        Raises:
            _Lost: There is one, and it cannot be started again alone.
        """
        signs = {}
        for index in range(len(self.processes)):
            try:
                signs[index] = (self._beat(index).stat().st_mtime, self._steps(index))
            except FileNotFoundError:
                continue
        now = time.time()
        limit = self.limits.heartbeat_seconds
        silent = [index for index, (at, _) in signs.items() if now - at > limit]
        if silent:
            hung = min(silent, key=lambda index: signs[index][1])
            if not self._can_start_again(hung):
                # Some fall silent a little before the one that they wait for.
                silent = [index for index, (at, _) in signs.items() if now - at > limit / 2]
                hung = min(silent, key=lambda index: signs[index][1])
            why = (
                f"has given no sign of life for {now - signs[hung][0]:.0f} s, since about step "
                f"{signs[hung][1]}"
            )
            if not self._can_start_again(hung):
                self.show(hung)
                raise _Lost(f"{self._name(hung)} {why}")
            self._start_again(hung, why)

    def _steps(self, index: int) -> int:
        text = self._beat(index).read_text(encoding="utf-8")
        return int(text) if text.isdigit() else 0

    def _environment(self, place: int) -> dict[str, str]:
        cluster: dict[str, list[str]] = {}
        for (kind, _), address in zip(self._tasks, self._addresses, strict=True):
            cluster.setdefault(kind, []).append(address)
        kind, index = self._tasks[place]
        config = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
        return {
            "TF_CONFIG": config if len(self._tasks) > 1 else "{}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUNBUFFERED": "1",
            PARENT: str(os.getpid()),
            HEARTBEAT: str(self._beat(place)),
        }

    def _beat(self, index: int) -> Path:
        return self.folder / f"heartbeat-{index}"

    def _log(self, place: int) -> Path:
        kind, index = self._tasks[place]
        return self.folder / f"{kind}-{index}.log"

    def _name(self, place: int) -> str:
        kind, index = self._tasks[place]
        return f"{kind} {index}"


def run_cluster(
    command: Sequence[str],
    workers: int,
    folder: Path,
    limits: Limits,
    preemption: Preemption,
    servers: int = 0,
) -> int:
    """Run a command as several workers that find each other by `TF_CONFIG`, until all end well.

    When one is killed, crashes or hangs, all are killed and started again: they train in step, and
    go on from their checkpoint. With servers that is so for these and the chief, who ends the whole
    when it ends well; a worker is started again alone. Whatever ends this process ends them too.

    Args:
        command: What each worker runs. It calls `die_with_parent` first.
        workers: How many, at least 1; the `TF_CONFIG` of a single one names no cluster.
        folder: An existing folder for `worker-<index>.log` and what the workers say of themselves;
            with servers also for `chief-0.log` and `ps-<index>.log`.
        limits: How much is put up with.
        preemption: Tells when to stop.
        servers: How many parameter servers, with a chief, there are beside the workers.

    Returns:
        How often all, or one worker, were started again.

    Raises:
        Preempted: This process was told to stop, and so were the workers.
        PenstockError: A worker refused its work, or workers were lost too often.
    """
    restarts = 0
    while True:
        left = replace(limits, restarts=limits.restarts - restarts)
        with ExitStack() as stack:
            cluster = Cluster(command, workers, servers, folder, left)
            stack.callback(cluster.kill)
            preemption.saving = True
            stack.callback(setattr, preemption, "saving", False)
            try:
                cluster.start()
                cluster.wait(preemption)
                return restarts + cluster.restarts
            except _Lost as lost:
                restarts += cluster.restarts + 1
                if restarts > limits.restarts:
                    raise _lost_too_often(limits.restarts + 1, str(lost)) from lost
                sys.stderr.write(f"penstock: {lost}; all are started again.\n")


def _lost_too_often(times: int, reason: str) -> PenstockError:
    return PenstockError(
        f"Training was started {times} times and a worker was lost each time: at last {reason}. "
        "The end of its log is in the step's log; look for what kills it, such as too little "
        "memory."
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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
