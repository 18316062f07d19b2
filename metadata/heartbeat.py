"""A sign of life, for those who cannot ask this machine's kernel."""

import threading
from collections.abc import Callable

from ..errors import PenstockError
from .process import HEARTBEAT_SECONDS


class Heartbeat:
    """Calls a function every few seconds, in a thread that ends with the process."""

    def __init__(self, beat: Callable[[], None], seconds: float = HEARTBEAT_SECONDS) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._beat()
            except PenstockError:
                # The store is busy or away for a while: the next beat makes up for this one.
                continue
