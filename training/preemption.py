"""Being told to stop: a spot machine is taken back, a pod is evicted, a person has changed plans.

Kubernetes sends SIGTERM and, after a while (30 s unless told otherwise), SIGKILL. A training that
keeps checkpoints uses the while to save, and ends with `EXIT_RETRY`, the code of a process that
SIGTERM ended. What starts it again treats that as worth a retry: a TFJob with restartPolicy
ExitCode retries from 128 on, Kubeflow Pipelines' `set_retry` retries whatever is not 0.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_RETRY = 128 + signal.SIGTERM


class Preempted(SystemExit):
    """Ends the process with `EXIT_RETRY`, after what was reached has been saved."""

    def __init__(self) -> None:
        super().__init__(EXIT_RETRY)


class Preemption:
    """Whether this process was told to stop.

    While nobody is `saving`, SIGTERM raises `Preempted` at once; meanwhile it sets `told`, which
    whoever saves looks at after each step.

    Attributes:
        told: Whether SIGTERM has come.
        saving: Whether somebody looks at `told`.
    """

    def __init__(self) -> None:
        self.told = self.saving = False

    @contextlib.contextmanager
    def listened_to(self) -> Iterator[None]:
        """Take SIGTERM within the context; nothing outside the main thread, which gets none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._take)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if not self.saving:
            raise Preempted
