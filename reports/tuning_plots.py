"""Where the marks of a study's charts stand: geometry only, no drawing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The plot's own units; a page scales them.
WIDTH, HEIGHT = 1000.0, 300.0
# Values that span more than this are drawn on a logarithmic axis.
WIDE = 100.0

Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Mark:
    """A complete trial in the history: its place, the ends of its spread, what it says."""

    x: float
    y: float
    top: float
    bottom: float
    best: bool
    says: str


@dataclass(frozen=True)
class History:
    """Scores in the order of the trials.

    Attributes:
        marks: The complete trials.
        others: Place, state and words of the trials without a score.
        best: The corners of the line of the best score so far.
        low: The score at the foot of the plot.
        high: The score at its top.
    """

    marks: tuple[Mark, ...]
    others: tuple[tuple[float, str, str], ...]
    best: tuple[tuple[float, float], ...]
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """An upright axis of the parallel coordinates: its place, and labels with theirs."""

    name: str
    x: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool


@dataclass(frozen=True)
class Line:
    """A trial across the axes: its corners, the rank of its score from 0 (best) to 1, words."""

    points: tuple[tuple[float, float], ...]
    rank: float
    says: str


def plot_history(trials: Sequence[Trial], maximize: bool, best: int) -> History | None:
    """Return the history; None when no trial is complete.

    Args:
        trials: Rows of `trials.parquet`, at least one.
        maximize: Whether more is better.
        best: The number of the best trial.
    """
    done = [t for t in trials if t["score"] is not None]
    if not done:
        return None
    spreads = [t["standard_deviation"] or 0.0 for t in done]
    low = min(t["score"] - s for t, s in zip(done, spreads, strict=True))
    high = max(t["score"] + s for t, s in zip(done, spreads, strict=True))
    if low == high:
        low, high = low - 0.5, high + 0.5
    place = {t["trial"]: WIDTH * (n + 0.5) / len(trials) for n, t in enumerate(trials)}

    def height(score: float) -> float:
        return HEIGHT * (high - score) / (high - low)

    marks, corners, record = [], [], None
    for t, around in zip(done, spreads, strict=True):
        score, x = t["score"], place[t["trial"]]
        top, bottom = height(score + around), height(score - around)
        says = _says(t)
        marks.append(Mark(x, height(score), top, bottom, t["trial"] == best, says))
        if record is None or (score > record if maximize else score < record):
            if record is not None:
                corners.append((x, height(record)))
            corners.append((x, height(score)))
            record = score
    if record is not None:
        corners.append((WIDTH, height(record)))
    others = tuple((place[t["trial"]], t["state"], _says(t)) for t in trials if t["score"] is None)
    return History(tuple(marks), others, tuple(corners), low, high)


def plot_parallel(
    trials: Sequence[Trial], names: Sequence[str], metric: str, maximize: bool
) -> tuple[tuple[Axis, ...], tuple[Line, ...]]:
    """Return the axes and lines of the complete trials, the best drawn last.

    Args:
        trials: Rows of `trials.parquet`.
        names: The hyperparameters, in the order of their axes; the score comes last.
        metric: The name of the score.
        maximize: Whether more is better.
    """
    done = [t for t in trials if t["score"] is not None]
    if not done or not names:
        return (), ()
    columns = {n: [json.loads(t["hyperparameters"]).get(n) for t in done] for n in names}
    columns[metric] = [t["score"] for t in done]
    axes, heights = [], []
    for number, (name, values) in enumerate(columns.items()):
        axis, places = _axis(name, WIDTH * number / (len(columns) - 1), values)
        axes.append(axis)
        heights.append(places)
    order = sorted(range(len(done)), key=lambda i: done[i]["score"], reverse=maximize)
    rank = {i: place / max(len(order) - 1, 1) for place, i in enumerate(order)}
    lines = [
        Line(
            tuple((axis.x, y[i]) for axis, y in zip(axes, heights, strict=True)),
            rank[i],
            _says(done[i]),
        )
        for i in reversed(order)
    ]
    return tuple(axes), tuple(lines)


def _axis(name: str, x: float, values: Sequence[Any]) -> tuple[Axis, list[float]]:
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(values) or not numbers:
        known = sorted({_word(v) for v in values})
        step = HEIGHT / max(len(known), 1)
        place = {word: HEIGHT - step * (n + 0.5) for n, word in enumerate(known)}
        ticks = tuple((y, word) for word, y in place.items())
        return Axis(name, x, ticks, False), [place[_word(v)] for v in values]
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low > WIDE
    scale = math.log if logarithmic else float
    if low == high:
        return Axis(name, x, ((HEIGHT / 2, f"{low:.4g}"),), False), [HEIGHT / 2] * len(values)
    width = scale(high) - scale(low)
    places = [HEIGHT * (scale(high) - scale(v)) / width for v in values]
    middle = math.sqrt(low * high) if logarithmic else (low + high) / 2
    ticks = ((HEIGHT, f"{low:.4g}"), (HEIGHT / 2, f"{middle:.4g}"), (0.0, f"{high:.4g}"))
    return Axis(name, x, ticks, logarithmic), places


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _says(trial: Trial) -> str:
    chosen = ", ".join(f"{n} {_word(v)}" for n, v in json.loads(trial["hyperparameters"]).items())
    score = trial["state"] if trial["score"] is None else f"{trial['score']:.5g}"
    return f"Trial {trial['trial']}: {score}" + (f" ({chosen})" if chosen else "")
