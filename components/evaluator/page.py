"""The blessing as a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from .verdict import apart, slice_in_words

_TEMPLATE = Path(__file__).with_name("blessing.html")


def render(
    blessing: Mapping[str, Any],
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
    split: str,
    spans: Sequence[int],
) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    Args:
        blessing: What blessing.json holds.
        metrics: What metrics.json holds.
        provenance: What model.json holds; may be empty.
        split: The split that was evaluated.
        spans: The spans of the examples.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(number=_number, place=_place, found=_found)
    names = list(dict.fromkeys(name for s in metrics["slices"] for name in s["metrics"]))
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        blessing=blessing,
        failed=[check for check in blessing["checks"] if not check["passed"]],
        passed=[check for check in blessing["checks"] if check["passed"]],
        slices=metrics["slices"],
        names=sorted(names, key=lambda name: (name != "example_count", name)),
        failing={(_place(c["slice"]), c["metric"]) for c in blessing["checks"] if not c["passed"]},
        provenance=list(_flat(provenance)),
        split=split,
        spans=spans,
    )


def _place(where: Mapping[str, Any]) -> str:
    return slice_in_words(where).removeprefix("where ").removeprefix("over ")


def _found(check: Mapping[str, Any]) -> str:
    """Return a check's value with the digits that tell it from its bound."""
    return "n/a" if check["value"] is None else apart(check["value"], check["bound"])[0]


def _number(value: float | None) -> str:
    """Return a number as people read it in a column: whole ones with commas, others aligned."""
    if value is None:
        return "n/a"
    if value == int(value) and abs(value) >= 10:
        return f"{int(value):,}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 1e5 or value == 0 else f"{value:.4g}"


def _flat(content: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    for name, value in content.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            yield from _flat(value, here)
        elif isinstance(value, (list, tuple)):
            yield here, ", ".join(str(item) for item in value)
        elif value is not None:
            yield here, str(value)
