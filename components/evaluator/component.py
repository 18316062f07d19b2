from typing import List, NamedTuple, Optional

from kfp import dsl

from ..artifacts import Blessing, Evaluation, Examples, Model
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def evaluator(
    examples: dsl.Input[Examples],
    model: dsl.Input[Model],
    evaluation: dsl.Output[Evaluation],
    blessing: dsl.Output[Blessing],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    eval_config: str,
    split: str = "eval",
    beam_pipeline_args: Optional[List[str]] = None,
) -> NamedTuple("Outputs", [("blessed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Evaluate a model by slice with TFMA and decide whether it is blessed.

    Not being blessed is an answer, not a failure: the step succeeds and says why in `reason`, in
    `blessing.json` and on the page. A config without metrics or without thresholds is an error.

    Args:
        examples: The rows to evaluate on.
        model: The exported model; its `serving_default` signature predicts.
        eval_config: A `tfma.EvalConfig` as proto text or JSON: the content, not a path.
        split: Which split of the examples.
        beam_pipeline_args: Beam's flags, such as `["--runner=FlinkRunner"]`; by default Beam runs
            in this process.

    Returns:
        evaluation: TFMA's output and `metrics.json`.
        blessing: `blessing.json` and `blessing.html`, written blessed or not.
        metrics: The metrics over all rows, for Kubeflow's UI.
        report: The page of the blessing, for Kubeflow's UI.
        blessed: Whether every threshold is kept.
        reason: Why, in words.
    """
    from penstock.components.evaluator.executor import evaluate

    result = evaluate(
        examples.path,
        model.path,
        evaluation.path,
        blessing.path,
        report.path,
        eval_config,
        split,
        beam_pipeline_args,
    )
    evaluation.metadata.update(result["evaluation"])
    blessing.metadata.update(result["blessing"])
    for name, value in result["metrics"].items():
        metrics.log_metric(name, value)
    Outputs = NamedTuple("Outputs", [("blessed", bool), ("reason", str)])
    return Outputs(result["blessed"], result["reason"])
