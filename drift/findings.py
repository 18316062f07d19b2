"""What a comparison found about a feature, in numbers and in a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK = "OK"
DRIFT = "DRIFT"
INSUFFICIENT = "INSUFFICIENT"
VERDICTS = (DRIFT, INSUFFICIENT, OK)

# What no measure measures: that a feature is on one side only, or of another kind there.
PRESENCE = "presence"
KIND = "kind"


@dataclass(frozen=True)
class Contributor:
    """A cell that moved: a category or a range of numbers, and its share on both sides, 0 to 1."""

    cell: str
    reference: float
    current: float


@dataclass(frozen=True)
class Finding:
    """The answer of one rule about one feature.

    Attributes:
        feature: Its path.
        measure: The measure's name, or `presence` or `kind`, which always are drift.
        verdict: DRIFT, INSUFFICIENT or OK.
        sentence: What was found, for people.
        value: The measure's value; None where it has none, as when a side is empty.
        threshold: From here on it is drift; None for presence and kind.
        floor: The least that calibration may make of the threshold.
        calibrated: Whether the threshold comes from reference windows.
        reference_n: The number of values of the reference; of cells for the missing rate.
        current_n: Likewise of the current side.
        min_n: How many a side the verdict needs.
        p_value: How likely such a difference is without drift; None where there is no test.
        corrected_p_value: For the number of features, by Benjamini and Hochberg.
        contributors: The cells that moved most, the strongest first.
    """

    feature: str
    measure: str
    verdict: str
    sentence: str
    value: float | None = None
    threshold: float | None = None
    floor: float | None = None
    calibrated: bool = False
    reference_n: float = 0.0
    current_n: float = 0.0
    min_n: int = 0
    p_value: float | None = None
    corrected_p_value: float | None = None
    contributors: tuple[Contributor, ...] = ()

    @property
    def effect(self) -> float:
        """The value in units of the threshold: 1 and more is drift, if chance is ruled out.

        Presence and kind are 1; what was not measured is 0.
        """
        if self.measure in (PRESENCE, KIND):
            return 1.0
        return self.value / self.threshold if self.value is not None and self.threshold else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for JSON, `effect` included."""
        return {**asdict(self), "contributors": [asdict(c) for c in self.contributors]} | {
            "effect": self.effect
        }
