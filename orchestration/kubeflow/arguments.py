"""What Kubeflow hands to its driver as arguments: the pipeline's parts as JSON."""

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from ..spec import Pipeline


def arguments(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """Yield what to call each argument, and its text.

    The compiler writes components, tasks and containers into the Workflow as JSON, and Argo hands
    them on (v2/compiler/argocompiler/argo.go, saveProtoToArguments, and container.go).
    """
    components = sorted(pipeline.spec.components.items())
    for name, component in [("", pipeline.spec.root), *components]:
        what = f"component {name}" if name else "the pipeline"
        if component.HasField("dag"):
            for task_name, task in sorted(component.dag.tasks.items()):
                place = f" in {name}" if name else ""
                yield f"task {task_name}{place}, with its constants,", _json(task)
        yield what, _json(component)
    for label, executor in sorted(pipeline.executors.items()):
        if executor.HasField("container"):
            yield f"the container of {label}", _json(executor.container)


def _json(message: Any) -> str:
    return str(json_format.MessageToJson(message, indent=None, ensure_ascii=False))
