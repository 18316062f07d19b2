"""From an exported model and a split to metrics, a verdict and a page."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.digest import digest_path
from ...data.examples import read_manifest
from ...data.output import new_folder
from ...errors import PenstockError
from .analysis import Analysis, analyze
from .config import check_columns, needed_columns, read_eval_config
from .page import render
from .predictions import predict
from .verdict import Verdict, judge, metric_name


def evaluate(
    examples: str | os.PathLike[str],
    model: str | os.PathLike[str],
    evaluation: str | os.PathLike[str],
    blessing: str | os.PathLike[str],
    report: str | os.PathLike[str],
    eval_config: str,
    split: str = "eval",
    beam_pipeline_args: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Evaluate the model on one split and write the evaluation, the blessing and its page.

    Args:
        examples: The Examples' folder.
        model: The Model's folder.
        evaluation: The folder to write TFMA's output and `metrics.json` into.
        blessing: The folder to write `blessing.json` and `blessing.html` into.
        report: The file to write the page to once more.
        eval_config: A tfma.EvalConfig as proto text or JSON.
        split: Which split.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Returns:
        `blessed`, `reason`, `metrics` (the finite ones over all rows), and `evaluation` and
        `blessing`: metadata for the two artifacts, each with a `summary`.

    Raises:
        PenstockError: The config, the columns, the model or the split do not fit together.
    """
    config = read_eval_config(eval_config)
    manifest = read_manifest(examples)
    columns = {column.name: column.type for column in manifest.columns}
    check_columns(config, columns)
    spec = config.model_specs[0]
    predictions = predict(
        examples,
        split,
        model,
        needed_columns(config),
        required=[name for name in (spec.label_key, spec.example_weight_key) if name],
        signature=spec.signature_name,
        output=spec.prediction_key,
        known_columns=columns,
    )
    spec.prediction_key = predictions.prediction_column

    with new_folder(evaluation) as folder:
        analysis = analyze(
            predictions.batches,
            config,
            folder,
            data_location=split,
            beam_pipeline_args=beam_pipeline_args,
        )
        metrics = _metrics(analysis, predictions.rows)
        _write_json(folder / "metrics.json", metrics)

    verdict = judge(config, analysis, predictions.rows, predictions.not_finite)
    record = {
        "blessed": verdict.blessed,
        "reason": verdict.reason,
        "rows": predictions.rows,
        "checks": [
            {
                "metric": check.metric,
                "slice": dict(check.slice),
                "kind": check.kind,
                "bound": check.bound,
                "value": check.value,
                "passed": check.passed,
                "reason": check.reason,
            }
            for check in verdict.checks
        ],
        "model_digest": digest_path(Path(model) / "serving"),
        "examples_digest": manifest.content_digest,
    }
    page = render(record, metrics, _provenance(model), split, manifest.spans)
    with new_folder(blessing) as folder:
        _write_json(folder / "blessing.json", record)
        (folder / "blessing.html").write_text(page, encoding="utf-8")
    Path(report).parent.mkdir(parents=True, exist_ok=True)
    Path(report).write_text(page, encoding="utf-8")
    return _result(verdict, metrics)


def _metrics(analysis: Analysis, rows: int) -> dict[str, Any]:
    """Return what metrics.json holds: JSON has no NaN, so what is not finite is null."""
    return {
        "model": "candidate",
        "rows": rows,
        "slices": [
            {
                "slice": dict(where),
                "metrics": {
                    metric_name(key): value if math.isfinite(value) else None
                    for key, value in sorted(found.items())
                },
            }
            for where, found in analysis.slices.items()
        ],
    }


def _result(verdict: Verdict, metrics: Mapping[str, Any]) -> dict[str, Any]:
    overall: dict[str, Any] = next((s["metrics"] for s in metrics["slices"] if not s["slice"]), {})
    finite = {name: value for name, value in overall.items() if value is not None}
    slices = len(metrics["slices"]) - bool(overall)
    shown = ", ".join(f"{n} {v:.4g}" for n, v in finite.items() if n != "example_count")
    counted = f"{metrics['rows']:,} rows, {slices} slice{'' if slices == 1 else 's'}"
    passed = sum(check.passed for check in verdict.checks)
    gate = f"{passed} of {len(verdict.checks)} checks passed"
    return {
        "blessed": verdict.blessed,
        "reason": verdict.reason,
        "metrics": finite,
        "evaluation": {"summary": f"{counted}: {shown}" if shown else counted, **finite},
        "blessing": {
            "summary": f"blessed, {gate}" if verdict.blessed else f"not blessed: {verdict.reason}",
            "blessed": verdict.blessed,
            "checks": len(verdict.checks),
            "failed_checks": len(verdict.checks) - passed,
        },
    }


def _provenance(model: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the trainer recorded about the model; nothing where it recorded nothing."""
    file = Path(model) / "model.json"
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PenstockError(f"{file} is not JSON ({error}); train the model again.") from error
    return content if isinstance(content, dict) else {}


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    file.write_text(text, encoding="utf-8")
