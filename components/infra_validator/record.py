"""What is written down: infra_blessing.json, and the verdict as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .checks import Check
from .policy import Policy
from .process import Outcome


def record_of(
    checks: Sequence[Check], outcome: Outcome, policy: Policy, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what infra_blessing.json holds.

    Args:
        checks: All of them, at least one.
        outcome: What came of the process.
        policy: What the checks were held to.
        given: What was checked with: digests, split and number of rows.
    """
    of = {name: _last(outcome, name) for name in ("load", "warmup")}
    return {
        "blessed": all(check.passed is not False for check in checks),
        "reason": _reason(checks),
        **given,
        "kind": of["load"].get("kind"),
        "signatures": [
            {"name": f["of"], "sends": f["sends"], "output": f["output"]}
            for f in outcome.findings
            if f["finding"] == "signature" and "sends" in f
        ],
        "checks": [_plain(asdict(check)) for check in checks],
        "warmup_requests": of["warmup"].get("requests", 0),
        "notes": [f"No warm-up requests were made: {of['warmup']['error']}."]
        if "error" in of["warmup"]
        else [],
        "log": outcome.log,
        "policy": policy.as_record(),
    }


def check_name(check: Mapping[str, Any]) -> str:
    """Return what a check is called: `latency p99, 32 rows`."""
    name = check["check"].replace("_", " ")
    return name if check["rows"] is None else f"{name}, {_rows(check['rows'])}"


def figures(check: Mapping[str, Any]) -> tuple[str, str]:
    """Return value and budget in words; empty where there is none."""
    value, budget = (_figure(check[part], check["unit"]) for part in ("value", "budget"))
    if check["value"] is None and check["budget"] is not None:
        value = "not comparable"
    return value, budget and f"≤ {budget}"


def markdown(record: Mapping[str, Any]) -> str:
    """Return verdict and checks as Markdown, for Kubeflow's UI."""
    title = "Can be served" if record["blessed"] else "Cannot be served"
    lines = [f"# {title}", "", _escaped(record["reason"]), ""]
    lines += ["| | of | check | value | budget | |", "|---|---|---|---:|---:|---|"]
    marks = {True: "passed", False: "**failed**", None: "left out"}
    for check in record["checks"]:
        value, budget = figures(check)
        cells = [check["of"], check_name(check), value, budget]
        said = "" if check["passed"] else check["words"]
        row = " | ".join(_escaped(cell) for cell in [*cells, said])
        lines.append(f"| {marks[check['passed']]} | {row} |")
    return "\n".join([*lines, ""])


def _reason(checks: Sequence[Check]) -> str:
    failed = [check for check in checks if check.passed is False]
    if failed:
        first = failed[0]
        said = f"{first.of}: {first.words}" if first.of else first.words
        more = len(failed) - 1
        return said if not more else f"{said} {more} more check{'s'[: more > 1]} failed."
    passed = sum(check.passed is True for check in checks)
    parts = [f"All {passed} checks passed"]
    slowest = [check for check in checks if check.check == "latency_p99" and check.rows == 1]
    if slowest:
        worst = max(check.value or 0.0 for check in slowest)
        parts.append(f"p99 of 1 row {worst:.3g} ms")
    for name, words in (("startup", "loaded in {:.1f} s"), ("memory", "at most {:,.0f} MiB")):
        found = next((check.value for check in checks if check.check == name), None)
        if found is not None:
            parts.append(words.format(found))
    return f"{parts[0]}: {', '.join(parts[1:])}." if parts[1:] else f"{parts[0]}."


def _last(outcome: Outcome, name: str) -> Mapping[str, Any]:
    found = [finding for finding in outcome.findings if finding["finding"] == name]
    return found[-1] if found else {}


def _plain(check: dict[str, Any]) -> dict[str, Any]:
    """Return a check as JSON has it, which knows no infinity."""
    value = check["value"]
    return check | {"value": value if value is not None and math.isfinite(value) else None}


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    whole = value == int(value) and abs(value) < 1e15
    text = f"{int(value):,}" if whole else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def _rows(count: int) -> str:
    return f"{count:,} row{'s'[: count > 1]}"


def _escaped(text: str) -> str:
    """Return text that Markdown takes for nothing else."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in " ".join(text.split()))
