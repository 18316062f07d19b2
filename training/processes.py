"""Processes that never outlive the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.5


def die_with_parent(parent: int) -> None:
    """End this process, with its group, when `parent` ends, even by `kill -9`.

    Linux sends the signal at once (prctl(2), `PR_SET_PDEATHSIG`), but to this process alone and
    only for the thread that started it; a thread of ours looks as well and ends the whole group.

    Args:
        parent: The process that started this one.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    # In a group of its own (see `cluster`), so nobody else is hit.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
