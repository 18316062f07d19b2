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
        exclude: Spans that count as if they did not exist.
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

    Excluded spans and those before `first_span` go first, then the newest that are skipped, and of
    the rest the newest count: TFX's order in `rolling_range`.

    Args:
        window: The window.
        found: The spans that exist, in ascending order.
        first_span: The first span that counts.

    Raises:
        PenstockError: There are fewer spans than the window's minimum.
    """
    left = [s for s in found if s not in window.exclude and (first_span is None or s >= first_span)]
    kept = left[: len(left) - window.skip] if window.skip < len(left) else []
    chosen = kept[-window.last :]
    if len(chosen) < window.minimum:
        raise PenstockError(
            f"The window holds {len(chosen)} of the {window.minimum} spans that it needs: of "
            f"{len(found)} that there are, {len(found) - len(left)} are excluded and "
            f"{min(window.skip, len(left))} skipped; wait for more spans, or lower the window's "
            "minimum."
        )
    return chosen


def _whole(key: str, value: Any, lowest: int | None) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and value == value // 1 and (lowest is None or value >= lowest):
        return int(value)
    bound = "" if lowest is None else f" from {lowest} on"
    raise PenstockError(f"window gives {key} as {value!r}; expected a whole number{bound}.")
