"""What may be chosen, checked before any row is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ...drift.equality import DEFAULT_TOLERANCE, Tolerance
from ...drift.keys import DUPLICATES
from ...drift.rules import DEFAULT_RULES, Rule
from ...errors import PenstockError

DEFAULT_MAX_SKEW = 0.01
_RULE_FIELDS = tuple(Rule.__dataclass_fields__)


@dataclass(frozen=True)
class Choices:
    """What was chosen, in good order.

    Attributes:
        keys: The key columns; none when values are not compared row by row.
        exclude: Columns to leave out.
        tolerance: For numbers of a pair.
        duplicates: What becomes of keys that occur more than once.
        limits: Patterns of features with the share of pairs that may differ.
        min_pairs: The least pairs to tell by.
        rules: How distributions are measured.
        samples: How many differing pairs are kept of each feature.
    """

    keys: tuple[str, ...]
    exclude: tuple[str, ...]
    tolerance: Tolerance
    duplicates: str
    limits: tuple[tuple[str, float], ...]
    min_pairs: int
    rules: tuple[Rule, ...]
    samples: int

    def limit(self, feature: str) -> float:
        """Return the share of pairs that may differ in a feature: the last pattern's that fits."""
        fitting = [share for pattern, share in self.limits if fnmatchcase(feature, pattern)]
        return fitting[-1] if fitting else DEFAULT_MAX_SKEW


def checked_choices(
    keys: Sequence[str] | None,
    exclude: Sequence[str] | None,
    tolerance: Mapping[str, float] | None,
    duplicates: str,
    max_skew: Mapping[str, float] | None,
    min_pairs: int,
    rules: Sequence[Mapping[str, Any]] | None,
    samples: int,
) -> Choices:
    """Return the choices, checked.

    Raises:
        PenstockError: One is unknown, out of range or not of its kind.
    """
    if duplicates not in DUPLICATES:
        raise PenstockError(
            f"duplicates is {duplicates!r}; expected one of {', '.join(DUPLICATES)}."
        )
    for name, value in (("min_pairs", min_pairs), ("samples", samples)):
        if value < 0 or value != int(value):
            raise PenstockError(f"{name} is {value}; give a whole number of at least 0.")
    for pattern, share in (max_skew or {}).items():
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise PenstockError(
                f"max_skew gives {pattern!r} as {share!r}; give a share of pairs from 0 to 1."
            )
    for name in tolerance or {}:
        if name not in ("relative", "absolute"):
            raise PenstockError(f"tolerance has {name!r}; there are relative and absolute.")
    return Choices(
        tuple(keys or ()),
        tuple(exclude or ()),
        Tolerance(**tolerance) if tolerance else DEFAULT_TOLERANCE,
        duplicates,
        tuple((max_skew or {}).items()),
        int(min_pairs),
        DEFAULT_RULES if rules is None else tuple(_rule(rule) for rule in rules),
        int(samples),
    )


def _rule(given: Mapping[str, Any]) -> Rule:
    if not isinstance(given, Mapping) or "measure" not in given:
        raise PenstockError(
            f'rules holds {given!r}; write each such as {{"measure": "l_infinity", "features": '
            '"carrier", "threshold": 0.05}.'
        )
    for name in given:
        if name not in _RULE_FIELDS:
            raise PenstockError(f"A rule has {name!r}; there are {', '.join(_RULE_FIELDS)}.")
    values = dict(given)
    if values.get("min_n") is not None:
        # KFP may hand whole numbers over as floats.
        values["min_n"] = int(values["min_n"])
    return Rule(**values)
