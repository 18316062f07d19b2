"""A measured number with its standard error, and what may be concluded from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]

MIN_FINITE = 0.95


def _logit(value: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(value) - np.log1p(-np.asarray(value, float))


def _log(value: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        # What is not positive lies below everything that can be.
        return np.log(np.maximum(value, 0.0))


def _same(value: Any) -> Any:
    return value


def _expit(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else 1.0 - 1.0 / (1.0 + math.exp(value))


# On its scale a number is closest to normal: a rate on logit's, a ratio on log's.
SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "identity": (_same, _same),
    "log": (_log, math.exp),
    "logit": (lambda v: _logit(np.clip(v, 0.0, 1.0)), _expit),
}


@dataclass(frozen=True)
class Estimate:
    """A value and how far it may be from the truth.

    Attributes:
        value: The number that was measured.
        error: Its standard error on `scale`; 0 with `trials`.
        scale: `identity`, `log` or `logit`.
        method: How the error was found: `delong`, `wilson`, `poisson_bootstrap`, `jackknife`.
        degrees: Degrees of freedom of Student's t; None for the normal distribution.
        trials: For a rate by Wilson's method, how many trials it is of.
    """

    value: float
    error: float
    scale: str
    method: str
    degrees: int | None = None
    trials: float | None = None

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval that covers the truth with probability `level`."""
        if self.trials is not None:
            return wilson(self.value, self.trials, level)
        to, back = SCALES[self.scale]
        middle = float(to(self.value))
        reach = self._quantile(0.5 + level / 2) * self.error
        return back(middle - reach), back(middle + reach)

    def tail(self, bound: float) -> float:
        """Return how likely a value as large as this one, or larger, is if the truth is `bound`.

        Small: the truth is larger than `bound`. Close to 1: it is smaller.
        """
        if self.trials is not None:
            return self._tail_of_rate(bound)
        to = SCALES[self.scale][0]
        distance = float(to(self.value)) - float(to(bound))
        if self.error == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        score = distance / self.error
        spread = stats.norm if self.degrees is None else stats.t(self.degrees)
        return float(spread.sf(score))

    def _tail_of_rate(self, bound: float) -> float:
        if not 0 < bound < 1:
            return 0.0 if bound <= 0 else 1.0
        error = math.sqrt(bound * (1 - bound) / (self.trials or 1))
        return float(stats.norm.sf((self.value - bound) / error))

    def _quantile(self, probability: float) -> float:
        spread = stats.norm if self.degrees is None else stats.t(self.degrees)
        return float(spread.ppf(probability))


def wilson(rate: float, trials: float, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    Args:
        rate: Successes over trials, 0 to 1.
        trials: More than 0; may be an effective number.
        level: Such as 0.95.
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    share = z * z / trials
    middle = (rate + share / 2) / (1 + share)
    reach = z / (1 + share) * math.sqrt(rate * (1 - rate) / trials + share / (4 * trials))
    # At 0 and 1 rounding must not put the end of the interval inside the rate.
    return max(0.0, min(rate, middle - reach)), min(1.0, max(rate, middle + reach))


def rate_estimate(rate: float, trials: float) -> Estimate | None:
    """Return the estimate of a rate of `trials` independent rows; None where there are none."""
    if not (trials > 0 and math.isfinite(rate)):
        return None
    return Estimate(rate, 0.0, "logit", "wilson", trials=float(trials))


def jackknife_estimate(value: float, samples: Array) -> Estimate | None:
    """Return the estimate whose error is that of a jackknife over parts of the rows.

    As TFMA's: Student's t of the pseudo-values, for metrics of which nothing else is known.

    Args:
        value: What was measured on all rows.
        samples: The same without the rows of each part, `[parts]`, two or more.

    Returns:
        None when something is not finite, or no part makes a difference.
    """
    parts = len(samples)
    error = float(np.std(value * parts - samples * (parts - 1), ddof=1)) / math.sqrt(parts)
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return None
    return Estimate(value, error, "identity", "jackknife", degrees=parts - 1)


def bootstrap_estimate(value: float, replicates: Array, scale: str) -> Estimate | None:
    """Return the estimate whose error is the spread of bootstrap replicates.

    The interval is Student's t around the value on its scale, as TFMA's own bootstrap makes it: a
    few hundred replicates give the spread well, and the far percentiles that a correction for
    many slices asks for not at all.

    Args:
        value: What was measured on the rows as they are.
        replicates: The same on reweighted rows, `[replicates]`; may hold NaN.
        scale: `identity`, `log` or `logit`.

    Returns:
        None when the value is not finite or more than one replicate in twenty is not.
    """
    to = SCALES[scale][0]
    found = np.asarray(to(np.asarray(replicates, np.float64)))
    finite = found[np.isfinite(found)]
    if len(found) < 2 or len(finite) < MIN_FINITE * len(found) or not math.isfinite(to(value)):
        return None
    error = float(finite.std(ddof=1))
    return Estimate(value, error, scale, "poisson_bootstrap", degrees=len(finite) - 1)
