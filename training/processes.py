"""Processes that never outlive the one that started them, however that one ends."""

from __future__ import annotations

import os
import signal
import threading
import time

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
