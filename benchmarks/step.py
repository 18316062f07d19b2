"""Run one step of the flights pipeline alone, and write down what it took.

Called by `benchmarks/steps.py`, once per step and size, so that each step's memory is its own.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from memory import peak_mib

from penstock.components import artifacts
from penstock.pipelines.flights.pipeline import EVAL_CONFIG, MODULE
from penstock.schemas import schema_text

TRAIN_STEPS = 500


def arguments(step: str, work: Path) -> dict[str, Any]:
    """Return what the flights pipeline gives to `step`, with artifacts in `work`."""

    def at(name: str, kind: type) -> Any:
        return kind(name=name, uri=str(work / name), metadata={})

    examples = at("examples", artifacts.Examples)
    statistics = at("statistics", artifacts.Statistics)
    schema = at("schema", artifacts.Schema)
    graph = at("transform_graph", artifacts.TransformGraph)
    model = at("model", artifacts.Model)
    blessing = at("blessing", artifacts.Blessing)
    metrics = at(f"{step}_metrics", artifacts.dsl.Metrics)
    return {
        "example_gen": {"examples": examples, "pattern": str(work / "csv" / "*.csv")},
        "statistics_gen": {
            "examples": examples,
            "statistics": statistics,
            "report": at("statistics.html", artifacts.dsl.HTML),
        },
        "schema_gen": {
            "schema": schema,
            "proposal": at("proposal.md", artifacts.dsl.Markdown),
            "schema_text": schema_text("flights"),
        },
        "example_validator": {
            "statistics": statistics,
            "schema": schema,
            "examples": examples,
            "anomalies": at("anomalies", artifacts.Anomalies),
            "cleaned_examples": at("cleaned_examples", artifacts.Examples),
            "report": at("validation.html", artifacts.dsl.HTML),
            "findings": at("findings.md", artifacts.dsl.Markdown),
        },
        "transform": {
            "examples": examples,
            "statistics": statistics,
            "schema": schema,
            "transform_graph": graph,
            "module": MODULE,
        },
        "trainer": {
            "examples": examples,
            "transform_graph": graph,
            "schema": schema,
            "model": model,
            "metrics": metrics,
            "module": MODULE,
            "label": "late",
            "train_steps": TRAIN_STEPS,
        },
        "evaluator": {
            "examples": examples,
            "model": model,
            "evaluation": at("evaluation", artifacts.Evaluation),
            "blessing": blessing,
            "metrics": metrics,
            "curve": at("curve", artifacts.dsl.ClassificationMetrics),
            "summary": at("summary.md", artifacts.dsl.Markdown),
            "report": at("report.html", artifacts.dsl.HTML),
            "eval_config": EVAL_CONFIG,
        },
        "pusher": {
            "model": model,
            "blessing": blessing,
            "pushed_model": at("pushed_model", artifacts.PushedModel),
            "destination": str(work / "serving"),
        },
    }[step]


def main(step: str, folder: str) -> None:
    """Run `step` on the artifacts in `folder` and write `<step>.json` there."""
    work = Path(folder)
    begin = time.perf_counter()
    component = getattr(importlib.import_module(f"penstock.components.{step}.component"), step)
    importlib.import_module(f"penstock.components.{step}.executor")
    imported = time.perf_counter()
    component.python_func(**arguments(step, work))
    figures = {
        "import_s": imported - begin,
        "work_s": time.perf_counter() - imported,
        "peak_mib": peak_mib(),
    }
    (work / f"{step}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
