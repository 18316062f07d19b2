"""What a verdict is made of: evidence, checks, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .analysis import Analysis
from .significance import Significance


@dataclass(frozen=True)
class Check:
    """One bound on one metric on one slice.

    Attributes:
        metric: The metric's name.
        slice: Column to value; empty for all rows; a value None stands for any value, where the
            slice that was asked for has no rows.
        compared_slice: For a cross-slice check the other slice; the metric of `slice` less that
            of this one is what is bounded.
        of: What is bounded: `value`, `change` against the champion, or `relative_change`.
        kind: `lower_bound` or `upper_bound`.
        bound: The bound.
        value: What is bounded, as measured; None where it could not be computed or is not a number.
        baseline: The champion's metric; None where there is none.
        rows: Rows of the slice, the fewer of two; None where they are not known.
        interval: Where the truth lies, at `confidence`; None where that cannot be told.
        confidence: Of the interval: with many slices the one that Holm's method held it to.
        method: How the interval was found.
        passed: Whether the check holds; None where it was left out.
        reason: One sentence.
    """

    metric: str
    slice: Mapping[str, Any]
    of: str
    kind: str
    bound: float
    value: float | None
    passed: bool | None
    reason: str = ""
    compared_slice: Mapping[str, Any] | None = None
    baseline: float | None = None
    rows: int | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    method: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The gate's answer: every check that was made, and one sentence or a few that sum them up."""

    blessed: bool
    reason: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Evidence:
    """What a verdict is based on.

    Attributes:
        rows: Rows of the split.
        not_finite: How many of them have a candidate's prediction that is NaN or infinite.
        analysis: What `analyze` returned.
        significance: What `assess` returned.
        champion_missing: Whether thresholds were left out because there is no champion.
    """

    rows: int
    not_finite: int
    analysis: Analysis
    significance: Significance
    champion_missing: bool = False
