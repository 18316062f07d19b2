"""Where curves and intervals stand on the blessing's page: geometry only, in percent of a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .curves import BARS, Curves

FOREST_METRICS = 8
FOREST_ROWS = 60


@dataclass(frozen=True)
class Panel:
    """A plot with a line per model.

    Attributes:
        title: What it is.
        across: What the horizontal axis says.
        up: What the vertical axis says.
        lines: SVG path per model.
        bars: SVG path of vertical intervals per model; empty for none.
        diagonal: Path of the line that a model is compared with; empty for none.
    """

    title: str
    across: str
    up: str
    lines: tuple[str, ...]
    bars: tuple[str, ...] = ()
    diagonal: str = ""


@dataclass(frozen=True)
class Span:
    """A number with its interval, in percent of the axis; None where there is none."""

    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ForestRow:
    """A slice: its numbers in words, its interval, and the champion's."""

    place: int
    text: str
    rows: int | None
    own: Span
    champion: Span
    failed: bool


@dataclass(frozen=True)
class Forest:
    """A metric over all slices on one axis.

    Attributes:
        metric: Its name.
        low: Where the axis begins.
        high: Where it ends.
        bounds: Where its bounds stand, in percent.
        rows: The slices.
        more: How many slices are not shown.
    """

    metric: str
    low: float
    high: float
    bounds: tuple[float, ...]
    rows: tuple[ForestRow, ...]
    more: int


def panels(curves: Sequence[Curves]) -> list[Panel]:
    """Return the four plots of a binary classifier; none where there are no curves."""
    if not curves:
        return []
    top = max(max(c.negative.max(), c.positive.max()) for c in curves)
    return [
        Panel(
            "ROC curve",
            "false positive rate",
            "true positive rate",
            tuple(_line(c.roc[:, :2]) for c in curves),
            diagonal="M0 100L100 0",
        ),
        Panel(
            "Precision and recall",
            "recall",
            "precision",
            tuple(_line(c.precision_recall) for c in curves),
        ),
        Panel(
            "Calibration, by tenths of the rows",
            "mean prediction",
            "share of positive rows, 95% interval",
            tuple(_line(c.calibration[:, :2]) for c in curves),
            tuple(
                "".join(
                    f"M{_x(x)} {_y(low)}V{_y(high)}" for x, _, low, high in c.calibration.tolist()
                )
                for c in curves
            ),
            "M0 100L100 0",
        ),
        *(
            Panel(
                f"Scores of the {c.model}, negative and positive rows",
                "prediction",
                f"share of the class, up to {100 * top:.0f}%",
                (_steps(c.negative / top), _steps(c.positive / top)),
            )
            for c in curves
        ),
    ]


def forests(metrics: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> list[Forest]:
    """Return a forest plot per metric with intervals, those with checks first."""
    bounds: dict[str, set[float]] = {}
    failing = set()
    for check in checks:
        if check["of"] == "value" and "compared_slice" not in check:
            bounds.setdefault(check["metric"], set()).add(check["bound"])
            if check["passed"] is False:
                failing.add((check["metric"], str(sorted(check["slice"].items(), key=str))))
    names = dict.fromkeys(name for s in metrics["slices"] for name in s["intervals"])
    ranked = sorted(names, key=lambda name: (name not in bounds, name))[:FOREST_METRICS]
    return [_forest(name, metrics["slices"], bounds.get(name, set()), failing) for name in ranked]


def _forest(
    name: str, slices: Sequence[Mapping[str, Any]], bounds: set[float], failing: set[Any]
) -> Forest:
    shown = [(n, s) for n, s in enumerate(slices) if s["metrics"].get(name) is not None]
    numbers = [value for _, s in shown[:FOREST_ROWS] for value in _ends(s, name)] + list(bounds)
    low, high = min(numbers), max(numbers)
    room = (high - low) * 0.03 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room

    def at(value: float | None) -> float | None:
        return None if value is None else 100 * (value - low) / (high - low)

    def span(s: Mapping[str, Any], part: str, spans: str) -> Span:
        interval = s.get(spans, {}).get(name, {})
        value = s.get(part, {}).get(name)
        return Span(at(value), at(interval.get("low")), at(interval.get("high")))

    rows = tuple(
        ForestRow(
            n,
            _in_words(s, name),
            _count(s),
            span(s, "metrics", "intervals"),
            span(s, "baseline", "baseline_intervals"),
            (name, str(sorted(s["slice"].items(), key=str))) in failing,
        )
        for n, s in shown[:FOREST_ROWS]
    )
    places = tuple(at(bound) or 0.0 for bound in sorted(bounds))
    return Forest(name, low, high, places, rows, len(shown) - len(rows))


def _ends(s: Mapping[str, Any], name: str) -> list[float]:
    found = []
    for part, spans in (("metrics", "intervals"), ("baseline", "baseline_intervals")):
        value, span = s.get(part, {}).get(name), s.get(spans, {}).get(name, {})
        found += [v for v in (value, span.get("low"), span.get("high")) if v is not None]
    return found


def _in_words(s: Mapping[str, Any], name: str) -> str:
    value, span = s["metrics"][name], s["intervals"].get(name)
    text = f"{value:.4g}"
    return f"{text} ({span['low']:.4g} to {span['high']:.4g})" if span else text


def _count(s: Mapping[str, Any]) -> int | None:
    count = s["metrics"].get("example_count")
    return None if count is None else int(count)


def _x(value: float) -> str:
    return f"{100 * value:.2f}"


def _y(value: float) -> str:
    return f"{100 - 100 * value:.2f}"


def _line(points: Any) -> str:
    return "M" + "L".join(f"{_x(x)} {_y(y)}" for x, y in np.asarray(points).tolist())


def _steps(shares: Any) -> str:
    width = 100 / BARS
    return (
        "M0 100"
        + "".join(f"V{_y(share)}H{(n + 1) * width:.2f}" for n, share in enumerate(shares.tolist()))
        + "V100"
    )
