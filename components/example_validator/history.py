"""Since when an anomaly has been there: this verdict told in the light of the one before."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import PenstockError
from .verdict import Verdict

VERDICT = "verdict.json"


def read_verdict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what an Anomalies artifact's `verdict.json` holds.

    Raises:
        PenstockError: There is none, or it is not one that this version wrote.
    """
    file = Path(path) / VERDICT
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _counts(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PenstockError(
            f"There is no verdict of example_validator at {path} ({type(error).__name__}: "
            f"{error}); give the Anomalies of an earlier run as previous_anomalies."
        ) from error
    return content


def with_history(verdict: Verdict, before: Mapping[str, Any]) -> Verdict:
    """Return the verdict with how often in a row each anomaly was found, and since which span.

    An anomaly is the same when split, feature and rule are.

    Args:
        verdict: The verdict.
        before: What `read_verdict` returns of the run before.
    """
    known = _counts(before)
    splits = {}
    for name, split in verdict.splits.items():
        anomalies = []
        for anomaly in split.anomalies:
            new = (0, _newest(verdict.spans))
            times, since = known.get((name, anomaly.feature, anomaly.rule), new)
            anomalies.append(replace(anomaly, times=times + 1, since_span=since))
        splits[name] = replace(split, anomalies=tuple(anomalies))
    return replace(verdict, splits=splits)


def _counts(content: Mapping[str, Any]) -> dict[tuple[str, str | None, str], tuple[int, Any]]:
    """Return per anomaly how often in a row it was found, and since which span."""
    return {
        (name, anomaly["feature"], anomaly["rule"]): (
            anomaly["times"],
            _newest(content["spans"]) if anomaly["since_span"] is None else anomaly["since_span"],
        )
        for name, split in content["splits"].items()
        for anomaly in split["anomalies"]
    }


def _newest(spans: Any) -> int | None:
    return max(spans, default=None)
