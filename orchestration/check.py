"""What is refused before the first step: everything the runner would not do as Kubeflow does."""

from collections.abc import Iterator
from importlib import metadata

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb
from packaging.requirements import InvalidRequirement, Requirement

from ..errors import PenstockError
from .containers import engine
from .placeholders import unknown_placeholders
from .spec import Pipeline, plain
from .step import defined_function, python_source
from .structure import structure_problems
from .values import Types


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
    yield from structure_problems(pipeline)
    components = [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]
    for name, component in components:
        for task_name, task in sorted(component.dag.tasks.items()):
            where = f"task {task_name}" + (f" in {name}" if name else "")
            yield from _placeholder_problems(task, where)
        executor = pipeline.executors.get(component.executor_label)
        if executor is not None:
            yield from _executor_problems(executor, component, f"component {name}", containers)


def _placeholder_problems(task: pb.PipelineTaskSpec, where: str) -> Iterator[str]:
    for name, source in sorted(task.inputs.parameters.items()):
        for placeholder in unknown_placeholders(plain(source.runtime_value.constant)):
            yield f"input {name} of {where} uses the placeholder {placeholder}"


def _executor_problems(
    executor: pb.PipelineDeploymentConfig.ExecutorSpec,
    component: pb.ComponentSpec,
    where: str,
    containers: bool,
) -> Iterator[str]:
    kind = executor.WhichOneof("spec")
    if kind == "importer":
        settings = json_format.MessageToDict(executor.importer)
        if settings.get("downloadToWorkspace"):
            yield f"{where} downloads to a workspace, which is a volume of the cluster"
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


def not_applied(
    pipeline: Pipeline, component: pb.ComponentSpec, contained: bool
) -> tuple[str, ...]:
    """Return what a component asks of a cluster that one machine does not give it.

    Args:
        pipeline: The pipeline.
        component: One of its components that is no group.
        contained: The component runs in a container, which holds it to its limits.
    """
    executor = pipeline.executors[component.executor_label]
    notes = [
        f"resources.{name}"
        for name, _ in json_format.MessageToDict(executor.container.resources).items()
        if name.startswith(("resource", "accelerator"))
        and not (contained and name in ("resourceCpuLimit", "resourceMemoryLimit"))
    ]
    for platform, executors in sorted(pipeline.platforms.items()):
        notes += [f"{platform}.{n}" for n in sorted(executors.get(component.executor_label, {}))]
    return tuple(notes)
