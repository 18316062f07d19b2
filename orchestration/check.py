"""What is refused before the first step: everything the runner would not do as Kubeflow does."""

from collections.abc import Iterator
from importlib import metadata

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb
from packaging.requirements import InvalidRequirement, Requirement

from ..errors import PenstockError
from .conditions import parse_condition
from .containers import engine
from .inputs import EXPRESSION
from .placeholders import unknown_placeholders
from .spec import Pipeline, as_json, plain
from .step import defined_function, python_source
from .values import Types

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


def check_pipeline(pipeline: Pipeline, *, containers: bool = False) -> None:
    """Check the whole pipeline before anything runs.

    Args:
        pipeline: The pipeline.
        containers: Python components, too, are to run in their images.

    Raises:
        PenstockError: One thing that is not supported, broken or missing here, and where it is.
    """
    for problem in problems(pipeline, containers):
        raise PenstockError(f"{pipeline.name} cannot run here: {problem}.")


def problems(pipeline: Pipeline, containers: bool) -> Iterator[str]:
    """Yield what stands in the way, one phrase each, naming the task."""
    if pipeline.spec.root.WhichOneof("implementation") != "dag":
        yield "its root is not a DAG"
        return
    components = [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]
    for name, component in components:
        if component.WhichOneof("implementation") == "dag":
            yield from _dag_problems(pipeline, name, component)
    for name, component in sorted(pipeline.spec.components.items()):
        if component.WhichOneof("implementation") == "executor_label":
            yield from _executor_problems(pipeline, name, component, containers)
        elif component.WhichOneof("implementation") is None:
            yield f"component {name} has no implementation"


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
            for placeholder in unknown_placeholders(constant):
                yield f"input {name} of {where} uses the placeholder {placeholder}"
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


def _executor_problems(
    pipeline: Pipeline, name: str, component: pb.ComponentSpec, containers: bool
) -> Iterator[str]:
    where = f"component {name}"
    executor = pipeline.executors.get(component.executor_label)
    if executor is None:
        yield f"{where} refers to the executor {component.executor_label}, which is not there"
        return
    kind = executor.WhichOneof("spec")
    if kind == "importer":
        settings = json_format.MessageToDict(executor.importer)
        if settings.get("downloadToWorkspace"):
            yield f"{where} downloads to a workspace, which is a volume of the cluster"
        if UNRESOLVED in str(executor.importer.artifact_uri.constant.string_value):
            yield f"the URI of {where} {LOST}"
        for placeholder in unknown_placeholders(settings.get("metadata", {})):
            yield f"{where} uses the placeholder {placeholder}"
    elif kind == "container":
        yield from _container_problems(executor.container, component, where, containers)
    else:
        yield f"{where} is a {kind or 'nothing'}, which runs on Vertex AI only"


def _container_problems(
    container: pb.PipelineDeploymentConfig.PipelineContainerSpec,
    component: pb.ComponentSpec,
    where: str,
    containers: bool,
) -> Iterator[str]:
    if container.HasField("lifecycle"):
        yield f"{where} has a lifecycle hook"
    texts = [*(variable.value for variable in container.env), container.image]
    for placeholder in unknown_placeholders([*texts, *container.args]):
        yield f"{where} uses the placeholder {placeholder}"
    source = python_source(container)
    if source is None or containers:
        for placeholder in unknown_placeholders(list(container.command) if not source else []):
            yield f"{where} uses the placeholder {placeholder}"
        if engine() is None:
            yield (
                f"{where} runs in the image {container.image}, and neither podman nor docker is "
                "on the PATH"
            )
        return
    if not defined_function(source):
        yield f"{where} embeds a source without the function {source.function}"
    for requirement in source.packages:
        problem = _missing_package(requirement)
        if problem:
            yield f"{where} installs {requirement} in its image, but {problem}"
    for name, definition in sorted(component.input_definitions.parameters.items()):
        if definition.parameter_type == Types.PARAMETER_TYPE_ENUM_UNSPECIFIED:
            yield f"input {name} of {where} has no type"


def _missing_package(requirement: str) -> str:
    try:
        wanted = Requirement(requirement)
    except InvalidRequirement:
        return "only plain requirements such as numpy>=1.26 can be checked on this machine"
    if wanted.marker is not None and not wanted.marker.evaluate():
        return ""
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed here: run `pip install '{requirement}'`"
    if not wanted.specifier.contains(version, prereleases=True):
        return f"version {version} is installed here: run `pip install '{requirement}'`"
    return ""


def not_applied(pipeline: Pipeline, component: pb.ComponentSpec) -> tuple[str, ...]:
    """Return what a component asks of a cluster that one machine does not give it."""
    executor = pipeline.executors[component.executor_label]
    notes = [
        f"resources.{name}"
        for name, _ in json_format.MessageToDict(executor.container.resources).items()
        if name.startswith(("resource", "accelerator"))
    ]
    for platform, executors in sorted(pipeline.platforms.items()):
        notes += [f"{platform}.{n}" for n in sorted(executors.get(component.executor_label, {}))]
    return tuple(notes)
