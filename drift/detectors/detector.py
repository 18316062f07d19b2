"""A detector of change in a stream, whose state is a few plain values.

river's detectors hold their state in compiled code, differently in every version, and can only be
pickled, if at all. So the state kept here is what went in: the parameters and the values since the
detector was last made anew. To restore it is to feed it these values again, by whatever version of
river is there. To keep this bounded, a detector that was fed 2 * `memory` values is made anew from
the last `memory` of them, restart or not: so a restart never changes what is found later.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

from ...errors import PenstockError
from .methods import checked_parameters, method_named, river_detector, river_version

FORMAT = 1
MEMORY = 5000
FIELDS = {"format", "method", "parameters", "memory", "seen", "values", "changes", "river"}


@dataclass(frozen=True)
class Change:
    """A change that was found: at which value of the stream, from 0, and the value itself."""

    position: int
    value: float


class Detector:
    """Finds changes in a stream of numbers.

    >>> import json
    >>> detector = Detector("adwin")
    >>> changes = detector.feed([0.0] * 500 + [1.0] * 500)
    >>> [change.value for change in changes], 500 < changes[0].position < 600
    ([1.0], True)
    >>> restored = Detector.from_state(json.loads(json.dumps(detector.state())))
    >>> restored.seen, restored.feed([5.0] * 100) == detector.feed([5.0] * 100)
    (1000, True)
    """

    def __init__(
        self,
        method: str = "adwin",
        parameters: Mapping[str, float | int | str | bool] | None = None,
        memory: int = MEMORY,
    ) -> None:
        """Make a detector that has seen nothing.

        Args:
            method: A name among `penstock.drift.detectors.methods.METHODS`.
            parameters: River's own, in place of the defaults.
            memory: How many values the detector may look back on, at least 100; the state holds up
                to twice as many.

        Raises:
            PenstockError: The method or a parameter is unknown or unfit, or river is missing.
        """
        if memory < 100:
            raise PenstockError(
                f"The memory of a detector is {memory} values: give at least 100, as fewer tell no "
                "change from chance."
            )
        self.method = method
        self.parameters = checked_parameters(method, parameters or {})
        self.memory = memory
        self.seen = 0
        self._values: list[float] = []
        self._changes = 0
        self._river = river_detector(method, self.parameters)

    def feed(self, values: Iterable[float]) -> list[Change]:
        """Take in the next values of the stream and return the changes found among them.

        Raises:
            PenstockError: A value is no finite number, or not 0 or 1 for a method that counts
                errors. None of the values was taken in.
        """
        found = []
        checked = [self._checked(value, self.seen + i) for i, value in enumerate(values)]
        for number in checked:
            if self._take(number):
                found.append(Change(self.seen, number))
                self._changes += 1
            self._values.append(number)
            self.seen += 1
            if len(self._values) == 2 * self.memory:
                self._remake(self._values[-self.memory :])
        return found

    def state(self) -> dict[str, Any]:
        """Return all that the detector is, for JSON."""
        return {
            "format": FORMAT,
            "method": self.method,
            "parameters": dict(self.parameters),
            "memory": self.memory,
            "seen": self.seen,
            "values": list(self._values),
            "changes": self._changes,
            "river": river_version(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Detector:
        """Return the detector that had this state.

        Raises:
            PenstockError: It is no state of a detector, of a format that this version does not
                know, or this river finds other changes in its values than the one that wrote it.
        """
        if not _is_state(state):
            raise PenstockError(
                f"This is no state of a detector of format {FORMAT}, which has the fields "
                f"{', '.join(sorted(FIELDS))}; start the detector anew."
            )
        detector = cls(state["method"], state["parameters"], state["memory"])
        detector._remake(detector._checked(v, i) for i, v in enumerate(state["values"]))
        if detector._changes != state["changes"]:
            raise PenstockError(
                f"river {river_version()} finds {detector._changes} changes in the values of this "
                f"state, where river {state['river']} found {state['changes']}; start the detector "
                "anew, or install that version."
            )
        detector.seen = state["seen"]
        return detector

    def _remake(self, values: Iterable[float]) -> None:
        """Make the detector anew, having seen these values alone."""
        self._river = river_detector(self.method, self.parameters)
        self._values = list(values)
        self._changes = sum(self._take(value) for value in self._values)

    def _take(self, value: float) -> bool:
        self._river.update(value)
        return bool(self._river.drift_detected)

    def _checked(self, value: float, position: int) -> float:
        number = float(value) if isinstance(value, SupportsFloat) else math.nan
        if not math.isfinite(number):
            raise PenstockError(
                f"Value {position} of the stream is {value!r}, which is no finite number; leave "
                "missing values out, and count them apart."
            )
        if method_named(self.method).binary and number not in (0.0, 1.0):
            raise PenstockError(
                f"Value {position} of the stream is {number:g}: {self.method} takes 0 and 1, such "
                "as whether a prediction was wrong; take adwin for other numbers."
            )
        return number


def _is_state(state: Any) -> bool:
    """Return whether this has the form of a detector's state, whatever its values are."""
    if not isinstance(state, Mapping) or state.get("format") != FORMAT or FIELDS - set(state):
        return False
    whole = all(type(state[name]) is int for name in ("memory", "seen", "changes"))
    typed = isinstance(state["parameters"], Mapping) and isinstance(state["values"], list)
    return whole and typed and len(state["values"]) <= min(2 * state["memory"], state["seen"])
