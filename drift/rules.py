"""Rules: which features are measured how, and from where on it is drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import PenstockError
from .measures import MEASURES, check_kind, measure_named

MIN_N = 1000


@dataclass(frozen=True)
class Rule:
    """Measure some features, and call it drift from a threshold on.

    Attributes:
        measure: A name among `penstock.drift.measures.MEASURES`.
        features: A feature's path or a pattern of paths, as `*_delay`; all that the measure can
            measure by default.
        threshold: Drift from this value on, above 0. By default it is calibrated where there are
            enough reference windows, and the measure's own where not.
        floor: The least that a calibrated threshold may be, whatever the windows say; the measure's
            own by default.
        min_n: With fewer values on a side the answer is INSUFFICIENT. By default `MIN_N`, or as
            many as the measure needs to tell the threshold from chance where that is more.
        alpha: A second key: drift only where the corrected p-value is at most this, above 0 and
            below 1. By default the effect decides alone.
    """

    measure: str
    features: str = "*"
    threshold: float | None = None
    floor: float | None = None
    min_n: int | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Check the rule by itself."""
        measure = measure_named(self.measure)
        for name in ("threshold", "floor"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= measure.most:
                raise PenstockError(
                    f"The {name} of {self.measure} is {value:g}: give a number above 0 and up to "
                    f"{measure.most:g}."
                )
        if self.min_n is not None and self.min_n < 1:
            raise PenstockError(
                f"min_n of {self.measure} is {self.min_n}: give the least number of values a side, "
                "at least 1."
            )
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise PenstockError(
                f"alpha of {self.measure} is {self.alpha:g}: give a number above 0 and below 1."
            )


# docs/drift.md has the evidence. L-infinity answers with fewer values than the Jensen-Shannon
# distance needs where categories are many.
DEFAULT_RULES = (
    Rule("jensen_shannon_distance"),
    Rule("l_infinity"),
    Rule("new_category_share"),
    Rule("missing_rate_change"),
)


def rules_of_features(rules: Sequence[Rule], kinds: Mapping[str, str]) -> dict[str, list[Rule]]:
    """Return which rules hold for each feature: per measure the last one that names it.

    Args:
        rules: From the general to the particular.
        kinds: Per feature its kind, `numeric` or `categorical`.

    Raises:
        PenstockError: A rule names a feature that does not exist or that it cannot measure.
    """
    found: dict[str, dict[str, Rule]] = {feature: {} for feature in kinds}
    for rule in rules:
        named = rule.features in kinds
        matching = [f for f in kinds if f == rule.features or fnmatchcase(f, rule.features)]
        if not matching and not set(rule.features) & set("*?["):
            raise PenstockError(
                f"The rule for {rule.measure} names the feature {rule.features!r}, which neither "
                f"side has; there are {', '.join(sorted(kinds)) or 'none'}."
            )
        for feature in matching:
            if named:
                check_kind(MEASURES[rule.measure], kinds[feature], feature)
            if kinds[feature] in MEASURES[rule.measure].kinds:
                found[feature][rule.measure] = rule
    return {feature: list(by_measure.values()) for feature, by_measure in found.items()}
