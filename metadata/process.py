"""Who a process is, so that any later process can tell whether it still lives."""

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

# A process on another machine counts as dead when it has been silent for this long.
SILENCE_MS = 90_000
HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one that was given the same number.

    Attributes:
        host: The machine's name.
        boot_id: Changes with every boot of the machine.
        pid_namespace: Process numbers are meant within it (containers have their own).
        pid: Its number.
        start_ticks: When it started, in clock ticks since the boot.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@functools.cache
def _place() -> tuple[str, str, str]:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname(), boot_id, os.readlink("/proc/self/ns/pid")  # noqa: PTH115


def current() -> Process:
    """Return this process."""
    pid = os.getpid()
    return Process(*_place(), pid, _start_ticks(pid) or 0)


def is_alive(process: Process, silent_ms: int) -> bool:
    """Tell whether a process still lives.

    Exact for a process of this machine and container, where the kernel is asked; a process from
    elsewhere is known by its heartbeat alone.

    Args:
        process: Which.
        silent_ms: Milliseconds since its last heartbeat.
    """
    if (process.host, process.boot_id, process.pid_namespace) == _place():
        return _start_ticks(process.pid) == process.start_ticks
    return silent_ms < SILENCE_MS


def _start_ticks(pid: int) -> int | None:
    """Return field 22 of /proc/<pid>/stat (proc(5)); None for a process that is not or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold blanks and brackets itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
