from typing import Any, Dict, List, NamedTuple, Optional

from kfp import dsl

from ..artifacts import Blessing, Evaluation, Examples, Model
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def evaluator(
    examples: dsl.Input[Examples],
    evaluation: dsl.Output[Evaluation],
    blessing: dsl.Output[Blessing],
    metrics: dsl.Output[dsl.Metrics],
    curve: dsl.Output[dsl.ClassificationMetrics],
    summary: dsl.Output[dsl.Markdown],
    report: dsl.Output[dsl.HTML],
    eval_config: str,
    model: dsl.Input[Model] = None,
    champion: dsl.Input[Model] = None,
    policy: Optional[Dict[str, Any]] = None,
    replicates: int = 200,
    seed: int = 0,
    forced: Optional[Dict[str, str]] = None,
    split: str = "eval",
    beam_pipeline_args: Optional[List[str]] = None,
) -> NamedTuple("Outputs", [("blessed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Evaluate a model by slice with TFMA, say how sure that is, and decide whether it is blessed.

    Not being blessed is an answer, not a failure: the step succeeds and says why in `reason`, in
    `blessing.json` and on the page. A config without metrics or without thresholds is an error.

    Args:
        examples: The rows to evaluate on.
        eval_config: A `tfma.EvalConfig` as proto text, JSON or YAML: the content, not a path.
        model: The exported model. Without one, `prediction_key` of the config names the column of
            the examples that holds the predictions.
        champion: The model in use, evaluated on the same rows, for change thresholds. It may say
            that there is none yet.
        policy: How the thresholds decide, such as `{"mode": "confident"}`; by default the measured
            numbers do, as in TFMA.
        replicates: Of the bootstrap that tells how sure a metric is; 0 turns it off.
        seed: Of the bootstrap.
        forced: Blesses the model against the verdict: `by`, `reason` and `expires` (ISO 8601).
        split: Which split of the examples.
        beam_pipeline_args: Beam's flags, such as `["--runner=FlinkRunner"]`; by default Beam runs
            in this process.

    Returns:
        evaluation: TFMA's output, `metrics.json` and `metrics.parquet`.
        blessing: `blessing.json` and `blessing.html`, written blessed or not.
        metrics: The metrics over all rows, for Kubeflow's UI.
        curve: The ROC curve over all rows, for Kubeflow's UI; empty for other models.
        summary: The verdict and its checks as Markdown, for Kubeflow's UI.
        report: The page of the blessing, for Kubeflow's UI.
        blessed: Whether every threshold is kept, or the blessing is forced.
        reason: Why, in words.
    """
    from pathlib import Path

    from penstock.components.evaluator.executor import evaluate

    result = evaluate(
        examples.path,
        model.path if model else None,
        evaluation.path,
        blessing.path,
        report.path,
        eval_config,
        split,
        champion=champion.path if champion else None,
        policy=policy,
        replicates=replicates,
        seed=seed,
        forced=forced,
        beam_pipeline_args=beam_pipeline_args,
    )
    evaluation.metadata.update(result["evaluation"])
    blessing.metadata.update(result["blessing"])
    for name, value in result["metrics"].items():
        metrics.log_metric(name, value)
    for point in result["roc"]:
        curve.log_roc_data_point(**point)
    Path(summary.path).parent.mkdir(parents=True, exist_ok=True)
    Path(summary.path).write_text(result["summary"], encoding="utf-8")
    Outputs = NamedTuple("Outputs", [("blessed", bool), ("reason", str)])
    return Outputs(result["blessed"], result["reason"])
