"""What is written down: metrics.json, metrics.parquet, blessing.json, and the step's outputs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from ...evaluation.blessing import Blessing, Forced, read_forced
from .analysis import Analysis, Place, slices_of
from .checks import Check, Verdict
from .config import baseline_of
from .policy import Policy
from .predictions import Predictions
from .significance import Significance
from .wording import metric_name, place_in_words

COLUMNS = {
    "slice": pa.string(),
    "compared_slice": pa.string(),
    "model": pa.string(),
    "metric": pa.string(),
    "of": pa.string(),
    "value": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "method": pa.string(),
}


def metrics_record(
    config: config_pb2.EvalConfig,
    analysis: Analysis,
    significance: Significance,
    predictions: Predictions,
    confidence: float,
) -> dict[str, Any]:
    """Return what metrics.json holds: JSON has no NaN, so what is not finite is null."""
    baseline = baseline_of(config)
    name = baseline.name if baseline else None
    places = [
        _place(place) | _numbers(place, found, significance, name, confidence)
        for place, found in analysis.slices.items()
    ]
    record: dict[str, Any] = {
        "model": "candidate",
        "rows": predictions.rows,
        "confidence": confidence,
        "slices": [place for place in places if "compared_slice" not in place],
    }
    cross = [place for place in places if "compared_slice" in place]
    return record | ({"cross_slices": cross} if cross else {})


def _place(place: Place) -> dict[str, Any]:
    own, compared = slices_of(place)
    found: dict[str, Any] = {"slice": dict(own)}
    return found if compared is None else found | {"compared_slice": dict(compared)}


def _numbers(
    place: Place,
    found: Mapping[metric_types.MetricKey, float],
    significance: Significance,
    baseline: str | None,
    confidence: float,
) -> dict[str, Any]:
    """Return a place's metrics, each with its interval, beside the champion's and the change."""
    parts: dict[str, dict[str, Any]] = {"metrics": {}, "intervals": {}}
    if baseline is not None:
        parts |= {"baseline": {}, "baseline_intervals": {}, "changes": {}, "change_intervals": {}}
    for key, value in sorted(found.items()):
        part = "changes" if key.is_diff else "metrics"
        if baseline is not None and key.model_name == baseline and not key.is_diff:
            part = "baseline"
        spans = {"metrics": "intervals", "changes": "change_intervals"}.get(
            part, f"{part}_intervals"
        )
        parts[part][metric_name(key)] = value if math.isfinite(value) else None
        estimate = significance.values.get((place, key))
        if estimate is not None:
            low, high = estimate.interval(confidence)
            if math.isfinite(low) and math.isfinite(high):
                span = {"low": low, "high": high, "method": estimate.method}
                parts[spans][metric_name(key)] = span
    return parts


def write_table(file: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json's content as Parquet: a row per slice, model and metric."""
    rows = list(_table_rows(metrics))
    arrays = [pa.array([row[name] for row in rows], kind) for name, kind in COLUMNS.items()]
    pq.write_table(pa.Table.from_arrays(arrays, names=list(COLUMNS)), file)


def _table_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kinds = (
        ("metrics", "intervals", "candidate", "value"),
        ("baseline", "baseline_intervals", "baseline", "value"),
        ("changes", "change_intervals", "candidate", "change"),
    )
    for place in [*metrics["slices"], *metrics.get("cross_slices", [])]:
        compared = place.get("compared_slice")
        for part, spans, model, of in kinds:
            for name, value in place.get(part, {}).items():
                span = place[spans].get(name, {})
                yield {
                    "slice": json.dumps(place["slice"], ensure_ascii=False),
                    "compared_slice": compared
                    if compared is None
                    else json.dumps(compared, ensure_ascii=False),
                    "model": model,
                    "metric": name,
                    "of": of,
                    "value": value,
                    "low": span.get("low"),
                    "high": span.get("high"),
                    "method": span.get("method"),
                }


def blessing_record(
    verdict: Verdict,
    policy: Policy,
    rows: int,
    champion_missing: bool,
    forced: Forced | None,
) -> dict[str, Any]:
    """Return what blessing.json holds, but for the digests."""
    return {
        "blessed": verdict.blessed,
        "reason": verdict.reason,
        "forced": forced.as_record() if forced else None,
        "first_model": policy.first_model if champion_missing else None,
        "policy": policy.as_record(),
        "rows": rows,
        "checks": [_check(check) for check in verdict.checks],
    }


def _check(check: Check) -> dict[str, Any]:
    record = {
        "metric": check.metric,
        "slice": dict(check.slice),
        "of": check.of,
        "kind": check.kind,
        "bound": check.bound,
        "value": check.value,
        "baseline": check.baseline,
        "rows": check.rows,
        "interval": list(check.interval) if check.interval else None,
        "confidence": check.confidence,
        "method": check.method,
        "passed": check.passed,
        "reason": check.reason,
    }
    if check.compared_slice is not None:
        record["compared_slice"] = dict(check.compared_slice)
    return record


def result(
    record: Mapping[str, Any], metrics: Mapping[str, Any], roc: list[dict[str, float]]
) -> dict[str, Any]:
    """Return the step's outputs; see `evaluate`."""
    forced = read_forced(record["forced"]) if record["forced"] else None
    blessing = Blessing(record["blessed"], record["reason"], None, record, forced)
    stands, why = blessing.stands(datetime.now(timezone.utc))
    overall: dict[str, Any] = next((s["metrics"] for s in metrics["slices"] if not s["slice"]), {})
    finite = {name: value for name, value in overall.items() if value is not None}
    slices = len(metrics["slices"]) - bool(overall)
    shown = ", ".join(f"{n} {v:.4g}" for n, v in finite.items() if n != "example_count")
    counted = f"{metrics['rows']:,} rows, {slices} slice{'' if slices == 1 else 's'}"
    passed = sum(check["passed"] is True for check in record["checks"])
    failed = sum(check["passed"] is False for check in record["checks"])
    gate = f"{passed} of {passed + failed} checks passed"
    said = f"blessed, {gate}" if record["blessed"] else f"not blessed: {record['reason']}"
    return {
        "blessed": stands,
        "reason": why,
        "metrics": finite,
        "summary": markdown(record, metrics),
        "roc": roc,
        "evaluation": {"summary": f"{counted}: {shown}" if shown else counted, **finite},
        "blessing": {
            "summary": f"{said} (forced by {forced.by} until {forced.expires:%Y-%m-%d})"
            if forced
            else said,
            "blessed": stands,
            "checks": len(record["checks"]),
            "failed_checks": failed,
        },
    }


def markdown(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return verdict and checks as Markdown, for Kubeflow's UI."""
    lines = [f"# {'Blessed' if record['blessed'] else 'Not blessed'}", "", _plain(record["reason"])]
    if record["forced"]:
        forced = record["forced"]
        lines += [
            "",
            f"**Forced** by {_plain(forced['by'])} until {_plain(forced['expires'])}: "
            f"{_plain(forced['reason'])}",
        ]
    if record["first_model"]:
        lines += ["", "The first model: there was no champion, so changes were not held to bounds."]
    lines += ["", "| | metric | slice | value | interval | bound | champion | rows |"]
    lines += ["|---|---|---|---:|---|---:|---:|---:|"]
    lines += [_row(check) for check in record["checks"]]
    return "\n".join([*lines, "", f"{metrics['rows']:,} rows.", ""])


def _row(check: Mapping[str, Any]) -> str:
    marks = {True: "passed", False: "**failed**", None: "left out"}
    span = check["interval"]
    sign = "≥" if check["kind"] == "lower_bound" else "≤"
    where = place_in_words(check)
    name = check["metric"] if check["of"] == "value" else f"{check['metric']} ({check['of']})"
    cells = [
        marks[check["passed"]],
        name.replace("_", " "),
        where,
        _number(check["value"]),
        f"{_number(span[0])} to {_number(span[1])}" if span else "",
        f"{sign} {check['bound']:g}",
        _number(check["baseline"]),
        f"{check['rows']:,}" if check["rows"] is not None else "",
    ]
    return (
        "| "
        + " | ".join(_plain(cell) if n in (1, 2) else cell for n, cell in enumerate(cells))
        + " |"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    """Return text that Markdown takes for nothing else."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in " ".join(text.split()))


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people and programs; NaN and infinity are errors."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    file.write_text(text, encoding="utf-8")
