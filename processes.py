"""Processes that never outlive the one that started them, however that one ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_LOOK_SECONDS = 0.5


def die_with_parent(parent: int) -> None:
    """End this process, and all that it starts, when `parent` ends, even by `kill -9`.

    A thread looks whether the parent is still the parent, and kills the process group. Linux can
    kill a child with its parent by itself (prctl(2), `PR_SET_PDEATHSIG`), but the child alone, so
    what the child had started would stay.

    Args:
        parent: The process that started this one, in a process group of its own.
    """
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def tree_of(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all that it started and that still runs, the process itself first."""
    import psutil

    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end_tree(process: psutil.Process, known: Collection[psutil.Process] = ()) -> None:
    """Kill a process with all that it started, and wait until what it started is gone.

    Each is halted before it is killed, so that none starts another meanwhile. The process itself is
    waited for by who started it.

    Args:
        process: The first of them; it may be gone already.
        known: Others that it is known to have started, which are no longer beneath it.
    """
    import psutil

    doomed: dict[int, psutil.Process] = {}
    while found := [p for p in [*tree_of(process), *known] if p.pid not in doomed]:
        for each in found:
            doomed[each.pid] = each
            with suppress(psutil.NoSuchProcess):
                each.suspend()
    for each in doomed.values():
        # psutil compares the time of the start: a number that was given anew is left alone.
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs([p for p in doomed.values() if p != process], timeout=10)
