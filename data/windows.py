"""Which of the spans there are: a rolling window, with the rules of TFX's rolling range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PenstockError


@dataclass(frozen=True)
class Window:
    """A rolling window over the spans that exist.

    Attributes:
        last: How many spans to take, from the newest backwards.
        skip: How many of the newest to pass over first.
        exclude: Spans of these that are left out, last of all.
        minimum: How many there must be at least.
    """

    last: int
    skip: int = 0
    exclude: tuple[int, ...] = ()
    minimum: int = 1


def window_of(given: Mapping[str, Any] | None) -> Window | None:
    """Return the window that a parameter such as `{"last": 7, "skip": 1}` stands for.

    `minimum` is `last` when it is not given, as in TFX. Whole floats are taken for integers.

    Raises:
        PenstockError: A key is unknown or missing, or a value is not a whole number of its range.
    """
    if not given:
        return None
    known = ("last", "skip", "exclude", "minimum")
    for key in given:
        if key not in known:
            raise PenstockError(
                f"window has the unknown key {key!r}; known are {', '.join(known)}."
            )
    if "last" not in given:
        raise PenstockError(
            'window lacks the key last; say how many spans to read, such as {"last": 7}.'
        )
    last = _whole("last", given["last"], 1)
    minimum = _whole("minimum", given.get("minimum", last), 1)
    if minimum > last:
        raise PenstockError(
            f"window wants at least {minimum} spans but reads {last}; make minimum at most last."
        )
    exclude = given.get("exclude", [])
    if not isinstance(exclude, (list, tuple)):
        raise PenstockError(f"window gives exclude as {exclude!r}; expected a list of spans.")
    spans = tuple(_whole("exclude", span, None) for span in exclude)
    return Window(last, _whole("skip", given.get("skip", 0), 0), spans, minimum)


def spans_in(window: Window, found: Sequence[int], first_span: int | None = None) -> list[int]:
    """Return the spans of the window, in ascending order.

    Spans before `first_span` go first, then the newest that are skipped; of the rest the newest
    are taken, and of these the excluded are left out. This is the order of TFX's `rolling_range`
    (`tfx/dsl/input_resolution/canned_resolver_functions.py`).

    Args:
        window: The window.
        found: The spans that exist, in ascending order.
        first_span: The first span that counts.

    Raises:
        PenstockError: There are fewer spans than the window's minimum.
    """
    left = [span for span in found if first_span is None or span >= first_span]
    taken = left[: max(len(left) - window.skip, 0)][-window.last :]
    chosen = [span for span in taken if span not in window.exclude]
    if len(chosen) < window.minimum:
        raise PenstockError(
            f"The window holds {len(chosen)} of the {window.minimum} spans that it needs: of "
            f"{len(left)} that there are, {min(window.skip, len(left))} of the newest are skipped, "
            f"and of the {len(taken)} taken {len(taken) - len(chosen)} are excluded; wait for more "
            "spans, or lower the window's minimum."
        )
    return chosen


def _whole(key: str, value: Any, lowest: int | None) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and value == value // 1 and (lowest is None or value >= lowest):
        return int(value)
    bound = "" if lowest is None else f" from {lowest} on"
    raise PenstockError(f"window gives {key} as {value!r}; expected a whole number{bound}.")
