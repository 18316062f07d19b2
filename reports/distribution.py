"""Where the bars of a distribution stand: geometry only, no drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TOP_VALUES = 8


@dataclass(frozen=True)
class Rect:
    """A bar of a histogram, in percent of the plot: left edge, width, height, and what it says."""

    left: float
    width: float
    height: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Plot:
    """A histogram over the axis from `low` to `high`, which all splits share."""

    rects: tuple[Rect, ...]
    low: float
    high: float
    whole: bool


@dataclass(frozen=True)
class Bar:
    """A value and its share per split; None where it is not among the split's top values."""

    value: str
    shares: tuple[float | None, ...]

    @property
    def largest(self) -> float:
        """The largest of the shares."""
        return max(part or 0 for part in self.shares)


def plot_numbers(stats: Sequence[Any]) -> tuple[Plot | None, ...]:
    """Return one histogram per split, all over one axis.

    The bars are TFDV's equal-width buckets. Where a few far values would squeeze the rest, that is
    where the middle 80% of the values takes up less than a tenth of the range, the bars are TFDV's
    deciles instead and the axis ends at the width of that middle beyond it.

    Args:
        stats: `NumericStatistics` per split; None where the feature is absent.
    """
    ranges = [r for r in (_range(stat) for stat in stats) if r is not None]
    if not ranges:
        return tuple(None for _ in stats)
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    middle = [m for m in (_middle(stat) for stat in stats) if m is not None]
    kind, whole = 0, True
    if middle:
        start, end = min(m[0] for m in middle), max(m[1] for m in middle)
        if 0 < end - start < 0.1 * (high - low):
            low, high = max(low, 2 * start - end), min(high, 2 * end - start)
            kind, whole = 1, False
    if low == high:
        low, high = low - 0.5, high + 0.5
    bars = [list(_density(stat, kind, low, high)) for stat in stats]
    highest = max((height for split in bars for *_, height in split), default=0) or 1
    return tuple(
        Plot(
            tuple(
                Rect(
                    100 * (left - low) / (high - low),
                    100 * (right - left) / (high - low),
                    100 * height / highest,
                    left,
                    right,
                    part,
                )
                for left, right, part, height in split
            ),
            low,
            high,
            whole,
        )
        if split
        else None
        for split in bars
    )


def bars_of_values(stats: Sequence[Any]) -> tuple[Bar, ...]:
    """Return the top values over all splits, at most `TOP_VALUES`, the most frequent first.

    Args:
        stats: `StringStatistics` per split; None where the feature is absent.
    """
    shares: dict[str, list[float | None]] = {}
    for place, stat in enumerate(stats):
        total = stat.common_stats.tot_num_values if stat is not None else 0
        for top in stat.top_values if total else ():
            shares.setdefault(top.value, [None] * len(stats))[place] = top.frequency / total
    order = sorted(shares, key=lambda value: -max(part or 0 for part in shares[value]))
    return tuple(Bar(value, tuple(shares[value])) for value in order[:TOP_VALUES])


def _histogram(stat: Any, kind: int) -> Any:
    """Return TFDV's histogram of a kind, 0 for equal widths and 1 for quantiles."""
    return next((h for h in stat.histograms if h.type == kind), None) if stat is not None else None


def _range(stat: Any) -> tuple[float, float] | None:
    finite = list(_buckets(stat, 0))
    return (finite[0][0], finite[-1][1]) if finite else None


def _middle(stat: Any) -> tuple[float, float] | None:
    found = list(_buckets(stat, 1))
    return (found[0][1], found[-1][0]) if len(found) > 2 else None


def _buckets(stat: Any, kind: int) -> Iterator[tuple[float, float, float]]:
    """Yield (low, high, count) of the buckets with finite ends."""
    histogram = _histogram(stat, kind)
    for bucket in histogram.buckets if histogram is not None else ():
        if math.isfinite(bucket.low_value) and math.isfinite(bucket.high_value):
            yield bucket.low_value, bucket.high_value, bucket.sample_count


def _density(
    stat: Any, kind: int, low: float, high: float
) -> Iterator[tuple[float, float, float, float]]:
    """Yield (left, right, share, height) of the bars, cut to the axis; the area is the share."""
    buckets = list(_buckets(stat, kind))
    total = sum(count for *_, count in buckets)
    thin = (high - low) / 100
    for start, end, count in buckets:
        if not count or end < low or start > high:
            continue
        # A bucket of one repeated value has no width: it gets a hundredth of the axis.
        width = max(end - start, thin)
        left, right = max(start, low), min(max(end, start + thin), high)
        if right - left < thin:
            left = max(low, right - thin)
        yield left, right, count / total, count / total / width
