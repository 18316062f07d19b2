"""The verdict as a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...reports.page import render_page
from .record import check_name, figures

_TEMPLATE = Path(__file__).with_name("infra_blessing.html")
_SENDS = {"rows": "raw columns", "examples": "serialized tf.Examples"}


def render(record: Mapping[str, Any]) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    Args:
        record: What infra_blessing.json holds.
    """
    checks = record["checks"]
    parts = list(dict.fromkeys(["", *(check["of"] for check in checks)]))
    sends = {each["name"]: _SENDS[each["sends"]] for each in record["signatures"]}
    return render_page(
        _TEMPLATE,
        record=record,
        passed=sum(check["passed"] is True for check in checks),
        failed=sum(check["passed"] is False for check in checks),
        left_out=sum(check["passed"] is None for check in checks),
        parts_of=[
            {
                "name": part or "The process",
                "sends": sends.get(part, ""),
                "checks": [_row(check) for check in checks if check["of"] == part],
            }
            for part in parts
            if any(check["of"] == part for check in checks)
        ],
        policy=list(_policy(record["policy"])),
    )


def _row(check: Mapping[str, Any]) -> dict[str, Any]:
    value, budget = figures(check)
    return {**check, "name": check_name(check), "value": value, "budget": budget}


def _policy(policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    batches = ", ".join(f"{batch['rows']:,}" for batch in policy["batches"])
    wild = ", ".join(
        f"{case.replace('_', ' ')}: {rule.replace('_', ' ')}"
        for case, rule in policy["wild"].items()
    )
    return [
        ("Rows per request", batches),
        ("Requests at once", str(policy["threads"])),
        ("Wild rows", wild),
        ("All within", f"{policy['timeout_seconds']:g} s"),
    ]
