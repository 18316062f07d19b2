"""What is broken in a compiled pipeline wherever it runs: references that lead nowhere, cycles."""

from collections.abc import Iterator

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from .conditions import parse_condition
from .inputs import EXPRESSION
from .spec import Pipeline, as_json, plain

# KFP's compiler writes some references it cannot express, mostly f-strings of literal loop items,
# so that Kubeflow fails in the middle of the run or hands on the raw text.
UNRESOLVED = "{{channel:"
ELSEWHERE = (
    "Kubeflow would fail there: KFP's compiler loses such references to a loop's items, so pass "
    "the item to a component's parameter by itself"
)
ONE_OF = (
    "Kubeflow would fail there: KFP's compiler loses a dsl.OneOf that only a condition reads, so "
    "pass it through a component first"
)
LOST = (
    "holds a reference that KFP's compiler left unresolved: pass it as a parameter of its own and "
    "join the text in a component"
)


def structure_problems(pipeline: Pipeline) -> Iterator[str]:
    """Yield what cannot run anywhere, one phrase each, naming the task."""
    if pipeline.spec.root.WhichOneof("implementation") != "dag":
        yield "its root is not a DAG"
        return
    components = [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]
    for name, component in components:
        if component.WhichOneof("implementation") == "dag":
            yield from _dag_problems(pipeline, name, component)
    for name, component in sorted(pipeline.spec.components.items()):
        label = component.executor_label
        if component.WhichOneof("implementation") is None:
            yield f"component {name} has no implementation"
        elif label and label not in pipeline.executors:
            yield f"component {name} refers to the executor {label}, which is not there"
        elif label and UNRESOLVED in str(pipeline.executors[label].importer.artifact_uri.constant):
            yield f"the URI of component {name} {LOST}"


def _dag_problems(pipeline: Pipeline, name: str, component: pb.ComponentSpec) -> Iterator[str]:
    tasks = component.dag.tasks
    place = f" in {name}" if name else ""
    for task_name, task in sorted(tasks.items()):
        where = f"task {task_name}{place}"
        if task.component_ref.name not in pipeline.spec.components:
            yield f"{where} refers to the component {task.component_ref.name}, which is not there"
        for upstream in sorted(upstream_tasks(task)):
            if upstream not in tasks:
                yield f"{where} depends on the task {upstream}, which is not there"
        yield from _producer_problems(pipeline, task, component, where)
        yield from _condition_problems(task, where)
        yield from _input_problems(task, component, where)
    cycle = _cycle(component)
    if cycle:
        yield f"the tasks {' -> '.join(cycle)}{place} wait for each other"
    yield from _output_problems(component, f"the outputs{place}")


def _producer_problems(
    pipeline: Pipeline, task: pb.PipelineTaskSpec, parent: pb.ComponentSpec, where: str
) -> Iterator[str]:
    read = [
        (source.task_output_parameter.producer_task, source.task_output_parameter, "parameters")
        for source in task.inputs.parameters.values()
        if source.HasField("task_output_parameter")
    ]
    read += [
        (artifact.task_output_artifact.producer_task, artifact.task_output_artifact, "artifacts")
        for artifact in task.inputs.artifacts.values()
        if artifact.HasField("task_output_artifact")
    ]
    for producer, output, kind in read:
        made_by = parent.dag.tasks.get(producer)
        made = pipeline.spec.components.get(made_by.component_ref.name) if made_by else None
        key = output.output_parameter_key if kind == "parameters" else output.output_artifact_key
        if made is not None and key not in getattr(made.output_definitions, kind):
            yield f"{where} reads the output {key} of {producer}, which is not there, and {ONE_OF}"


def upstream_tasks(task: pb.PipelineTaskSpec) -> set[str]:
    """Return the tasks of the same DAG that a task waits for."""
    upstream = set(task.dependent_tasks)
    for parameter in task.inputs.parameters.values():
        upstream.add(parameter.task_output_parameter.producer_task)
        upstream.add(parameter.task_final_status.producer_task)
    for artifact in task.inputs.artifacts.values():
        upstream.add(artifact.task_output_artifact.producer_task)
    return upstream - {""}


def _condition_problems(task: pb.PipelineTaskSpec, where: str) -> Iterator[str]:
    if not task.trigger_policy.condition:
        return
    try:
        parse_condition(task.trigger_policy.condition)
    except PenstockError as error:
        yield f"in {where} {error}"


def _input_problems(
    task: pb.PipelineTaskSpec, parent: pb.ComponentSpec, where: str
) -> Iterator[str]:
    for name, source in sorted(task.inputs.parameters.items()):
        kind = source.WhichOneof("kind")
        if kind is None:
            yield f"input {name} of {where} has no source"
        if kind == "runtime_value":
            if source.runtime_value.WhichOneof("value") != "constant":
                yield f"input {name} of {where} is a runtime parameter of KFP 1, not a constant"
            constant = plain(source.runtime_value.constant)
            if UNRESOLVED in as_json(constant):
                yield f"input {name} of {where} {LOST}"
        outer = source.component_input_parameter
        if outer and outer not in parent.input_definitions.parameters:
            yield (
                f"input {name} of {where} reads {outer}, which the pipeline around it does not "
                f"have, and {ELSEWHERE}"
            )
        selector = source.parameter_expression_selector
        if selector and not EXPRESSION.fullmatch(selector):
            yield f"input {name} of {where} uses the expression {selector}"
    for name, artifact in sorted(task.inputs.artifacts.items()):
        if artifact.WhichOneof("kind") is None:
            yield f"input artifact {name} of {where} has no source"
        outer = artifact.component_input_artifact
        if outer and outer not in parent.input_definitions.artifacts:
            yield (
                f"input artifact {name} of {where} reads {outer}, which the pipeline around it "
                f"does not have, and {ELSEWHERE}"
            )


def _output_problems(component: pb.ComponentSpec, where: str) -> Iterator[str]:
    for name, parameter in sorted(component.dag.outputs.parameters.items()):
        selectors = [
            *parameter.value_from_oneof.parameter_selectors,
            *(
                [parameter.value_from_parameter]
                if parameter.HasField("value_from_parameter")
                else []
            ),
        ]
        if not selectors:
            yield f"{name} of {where} has no source"
        for selector in selectors:
            if selector.producer_subtask not in component.dag.tasks:
                yield f"{name} of {where} is from {selector.producer_subtask}, which is not there"
    for name, artifact in sorted(component.dag.outputs.artifacts.items()):
        for source in artifact.artifact_selectors:
            if source.producer_subtask not in component.dag.tasks:
                yield f"{name} of {where} is from {source.producer_subtask}, which is not there"


def _cycle(component: pb.ComponentSpec) -> list[str]:
    waiting = {
        name: upstream_tasks(task) & set(component.dag.tasks)
        for name, task in component.dag.tasks.items()
    }
    while free := [name for name, upstream in waiting.items() if not upstream & set(waiting)]:
        for name in free:
            del waiting[name]
    return sorted(waiting)
