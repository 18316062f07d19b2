"""The sign of life by which a hung worker is told from a slow one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras

_SECONDS = 1.0


class Heartbeat(keras.callbacks.Callback):
    """Writes the number of steps into a file as training and evaluation go.

    The file's time of change is the last sign of life; `cluster` looks at it from without. It is
    removed when `fit` ends: what follows, such as the export, has no steps.
    """

    def __init__(self, file: Path):
        """Say into which file; at most once a second."""
        super().__init__()
        self._file, self._last, self._steps = file, 0.0, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step and give a sign."""
        self._steps += 1
        self._beat()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Give a sign."""
        self._beat()

    def on_train_end(self, logs: Any = None) -> None:
        """Take the sign away."""
        self._file.unlink(missing_ok=True)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS:
            self._last = now
            self._file.write_text(str(self._steps), encoding="utf-8")
