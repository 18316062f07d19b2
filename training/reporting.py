"""The one door for learning curves: `metrics.json`, TensorBoard, and a tuner's pruning."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import PenstockError

FORMAT = 1
METRICS = "metrics.json"
TENSORBOARD = "tensorboard"


class Pruned(Exception):
    """Ends a trial that is not worth going on with.

    A tuner's reporter raises it out of `fn_args.report(...)`. An author's code lets it pass, and
    so does everything here: it is neither wrapped nor turned into a sentence.
    """


class Reporter(Protocol):
    """Takes the metrics of a training run as it goes."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics after `step` training steps.

        Args:
            step: Batches trained on so far, 0 or more, not less than in the call before.
            metrics: By name; what is measured on the evaluation split begins with `eval_`, what is
                measured in training with `train_`.

        Raises:
            Pruned: The run shall end here.
        """


class Curves:
    """Keeps what is reported, and writes it to TensorBoard as it comes.

    Attributes:
        points: Per metric its `(step, value)` in the order of the steps.
    """

    def __init__(self, tensorboard: Path | None = None):
        """Keep the curves, and write them as TensorBoard scalars to a folder unless it is None."""
        self.points: dict[str, list[tuple[int, float]]] = {}
        self._folder = tensorboard
        self._writer: Any = None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics after `step` steps; see `Reporter`."""
        if step < 0 or any(points[-1][0] > step for points in self.points.values()):
            last = max((points[-1][0] for points in self.points.values()), default=0)
            raise PenstockError(
                f"report was given step {step} after step {last}; steps are counted from 0 and "
                "never go back."
            )
        for name, value in metrics.items():
            self.points.setdefault(name, []).append((step, float(value)))
        if self._folder is not None:
            self._write(step, metrics)

    def last(self) -> dict[str, float]:
        """Return each metric's last value."""
        return {name: points[-1][1] for name, points in self.points.items()}

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()

    def write(self, folder: Path, final: Mapping[str, float]) -> None:
        """Write `metrics.json`: the final metrics and the curves.

        Args:
            folder: The Model artifact's folder.
            final: The metrics of the finished model.
        """
        content = {
            "format": FORMAT,
            "final": {name: _json(value) for name, value in final.items()},
            "curves": {
                name: [[step, _json(value)] for step, value in points]
                for name, points in self.points.items()
            },
        }
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / METRICS).write_text(text, encoding="utf-8")

    def _write(self, step: int, metrics: Mapping[str, float]) -> None:
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)


def _json(value: float) -> float | None:
    """JSON has no NaN and no infinity; both are null."""
    return value if math.isfinite(value) else None
