"""The blessing as a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...reports.page import render_page
from .curves import Curves
from .plots import forests, panels
from .wording import SIGN, apart, place_in_words

_TEMPLATE = Path(__file__).with_name("blessing.html")
_OF = {"value": "", "change": "change", "relative_change": "relative change"}


def render(
    blessing: Mapping[str, Any],
    metrics: Mapping[str, Any],
    curves: Sequence[Curves],
    provenance: Mapping[str, Any],
    split: str,
    spans: Sequence[int],
) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    Args:
        blessing: What blessing.json holds.
        metrics: What metrics.json holds.
        curves: Of candidate and champion; empty where there are none.
        provenance: What model.json holds; may be empty.
        split: The split that was evaluated.
        spans: The spans of the examples.
    """
    slices = metrics["slices"]
    names = list(dict.fromkeys(name for s in slices for name in s["metrics"]))
    names.sort(key=lambda name: (name != "example_count", name))
    failing = {
        (place_in_words(check), check["metric"])
        for check in blessing["checks"]
        if check["passed"] is False
    }
    return render_page(
        _TEMPLATE,
        blessing=blessing,
        checks=[_check(check) for check in blessing["checks"]],
        passed=sum(check["passed"] is True for check in blessing["checks"]),
        failed=sum(check["passed"] is False for check in blessing["checks"]),
        left_out=sum(check["passed"] is None for check in blessing["checks"]),
        panels=panels(curves),
        models=[curve.model for curve in curves],
        forests=forests(metrics, blessing["checks"]),
        places=[place_in_words(s) for s in slices],
        confidence=f"{100 * metrics['confidence']:g}%",
        compared="baseline" in slices[0] if slices else False,
        table=[_table_row(s, names, failing) for s in slices],
        names=names,
        provenance=list(_flat(provenance)),
        split=split,
        spans=spans,
    )


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    """Return a check as text."""
    value, bound = check["value"], check["bound"]
    span = check["interval"]
    return {
        "passed": check["passed"],
        "metric": check["metric"],
        "of": _OF[check["of"]],
        "where": place_in_words(check),
        "value": "n/a" if value is None else apart(value, bound)[0],
        "interval": f"{span[0]:.4g} to {span[1]:.4g}" if span else "",
        "level": f"{100 * check['confidence']:.4g}%, {check['method']}".replace("_", " ")
        if span
        else "",
        "bound": f"{SIGN[check['kind']]} {bound:g}",
        "baseline": "" if check["baseline"] is None else f"{check['baseline']:.4g}",
        "rows": "" if check["rows"] is None else f"{check['rows']:,}",
        "reason": check["reason"],
    }


def _table_row(
    part: Mapping[str, Any], names: Sequence[str], failing: set[tuple[str, str]]
) -> dict[str, Any]:
    place = place_in_words(part)
    return {
        "place": place,
        "cells": [
            {"text": _number(part["metrics"].get(name)), "miss": (place, name) in failing}
            for name in names
        ],
    }


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
