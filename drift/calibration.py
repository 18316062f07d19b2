"""Thresholds from reference windows: how far data without drift lie apart anyway.

Each of k windows is measured against all the others merged. A further window of the same kind is
as likely as any of them to be the farthest, so it lies beyond the r-th of the k distances with a
chance of about (k + 1 - r) / (k + 1). The threshold is the least such distance that leaves `ALPHA`.
So 19 windows are the fewest that will do: with fewer, even the farthest leaves more than 1 in 20.
This is the quantile of conformal prediction.

What the windows say is held up by the floor: with 40 features, 1 in 20 would be two alarms a day,
but a distance that is too small to matter is none, however rare it is.

Source: V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World (2005), ch. 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .distribution import Distribution, merge
from .measures import distance, is_empty

ALPHA = 0.05
MIN_WINDOWS = math.ceil(1 / ALPHA) - 1


def calibrated_threshold(
    measure: str, windows: Sequence[Distribution], floor: float
) -> float | None:
    """Return a threshold that about 1 in 20 windows without drift would pass, at least `floor`.

    None when fewer than `MIN_WINDOWS` windows have values.

    Args:
        measure: Its name.
        windows: The feature's distributions in data sets among which there is no drift.
        floor: The least threshold.
    """
    known = [window for window in windows if not is_empty(window)]
    if len(known) < MIN_WINDOWS:
        return None
    pairs = zip(_others(known), known, strict=True)
    distances = sorted(distance(measure, others, one) for others, one in pairs)
    rank = math.ceil((1 - ALPHA) * (len(known) + 1))
    return max(floor, distances[rank - 1])


def _others(parts: Sequence[Distribution]) -> list[Distribution]:
    """Return for each part all the others merged, in about three merges a part."""
    if len(parts) == 2:
        return [parts[1], parts[0]]
    before = list(_running(parts))
    after = list(_running(parts[::-1]))[::-1]
    middle = [merge(before[i - 1], after[i + 1]) for i in range(1, len(parts) - 1)]
    return [after[1], *middle, before[-2]]


def _running(parts: Sequence[Distribution]) -> list[Distribution]:
    found: list[Distribution] = []
    for part in parts:
        found.append(merge(found[-1], part) if found else part)
    return found
