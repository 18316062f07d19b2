from typing import Any, Dict, NamedTuple, Optional

from kfp import dsl

from ..artifacts import Examples, InfraBlessing, Model, Schema
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def infra_validator(
    model: dsl.Input[Model],
    examples: dsl.Input[Examples],
    schema: dsl.Input[Schema],
    infra_blessing: dsl.Output[InfraBlessing],
    summary: dsl.Output[dsl.Markdown],
    report: dsl.Output[dsl.HTML],
    split: str = "eval",
    policy: Optional[Dict[str, Any]] = None,
) -> NamedTuple("Outputs", [("blessed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Find out whether the exported model can be served, by asking it as a server would.

    It is loaded in a process of its own, where neither the author's module nor what trains can be
    imported, and asked with real rows by every signature. Not being blessed is an answer, not a
    failure: the step succeeds and says why, also when the model hangs or crashes.

    Args:
        model: The exported model, of any kind.
        examples: Whose rows are sent.
        schema: What a server is sent, and what of it may be missing.
        split: Which split of the examples.
        policy: Budgets of time and memory, and what rows that no training set has may do; see the
            README.

    Returns:
        infra_blessing: `infra_blessing.json`, `infra_blessing.html` and warm-up requests for
            TensorFlow Serving.
        summary: The verdict and its checks as Markdown, for Kubeflow's UI.
        report: The page, for Kubeflow's UI.
        blessed: Whether every check passed.
        reason: Why, in words.
    """
    from pathlib import Path

    from penstock.components.infra_validator.executor import validate_infra

    result = validate_infra(
        model.path,
        examples.path,
        schema.path,
        infra_blessing.path,
        report.path,
        split,
        policy,
    )
    infra_blessing.metadata.update(result["metadata"])
    Path(summary.path).parent.mkdir(parents=True, exist_ok=True)
    Path(summary.path).write_text(result["markdown"], encoding="utf-8")
    Outputs = NamedTuple("Outputs", [("blessed", bool), ("reason", str)])
    return Outputs(result["blessed"], result["reason"])
