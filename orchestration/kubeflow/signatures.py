"""Whether tasks are given what their components declare, in the types they declare."""

from collections.abc import Iterator
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..spec import Pipeline
from ..values import TYPE_NAMES, Types
from .finding import Finding, error, warning

RULE = "input"
KINDS = {
    "string_value": {Types.STRING},
    "number_value": {Types.NUMBER_DOUBLE, Types.NUMBER_INTEGER},
    "bool_value": {Types.BOOLEAN},
    "list_value": {Types.LIST},
    "struct_value": {Types.STRUCT},
}
NUMBERS = {Types.NUMBER_DOUBLE, Types.NUMBER_INTEGER}


def signature_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield inputs without a type, without a value, or with a value of another type."""
    yield from _root_findings(pipeline.spec.root)
    components = [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]
    for name, component in components:
        for parameter, definition in sorted(component.input_definitions.parameters.items()):
            if definition.HasField("default_value") and not _fits(
                definition.default_value, definition.parameter_type
            ):
                place = f" of component {name}" if name else " of the pipeline"
                # v2/driver/resolve.go: "input parameter type mismatch".
                yield error(
                    RULE,
                    f"the default of {parameter}{place} is not {_named(definition.parameter_type)}",
                )
        for task_name, task in sorted(component.dag.tasks.items()):
            where = f"task {task_name}" + (f" in {name}" if name else "")
            yield from _task_findings(pipeline, component, task, where)


def _root_findings(root: pb.ComponentSpec) -> Iterator[Finding]:
    # apiserver/template/v2_template.go, validatePipelineJobInputs.
    for name, definition in sorted(root.input_definitions.parameters.items()):
        kind = definition.parameter_type
        if kind == Types.PARAMETER_TYPE_ENUM_UNSPECIFIED:
            yield error(RULE, f"the pipeline's parameter {name} has no type: annotate it")
        elif kind not in set().union(*KINDS.values()):
            yield error(
                RULE, f"the pipeline's parameter {name} is {_named(kind)}, which only a task can be"
            )
    for name in sorted(root.input_definitions.artifacts):
        # v2/driver/root_dag.go hands parameters to the root, nothing else.
        yield error(
            RULE,
            f"the pipeline takes the artifact {name}, and Kubeflow gives a run parameters alone: "
            "take its URI and import it",
        )


def _task_findings(
    pipeline: Pipeline, parent: pb.ComponentSpec, task: pb.PipelineTaskSpec, where: str
) -> Iterator[Finding]:
    declared = pipeline.component(task).input_definitions
    item = task.parameter_iterator.item_input or task.artifact_iterator.item_input
    for name, definition in sorted(declared.parameters.items()):
        if name in task.inputs.parameters:
            yield from _value_findings(pipeline, parent, task, name, definition, where)
        elif (
            name != item and not definition.is_optional and not definition.HasField("default_value")
        ):
            # v2/driver/resolve.go: "neither value nor default value provided for non-optional
            # parameter".
            yield error(RULE, f"{where} is not given the parameter {name}, which has no default")
    for name, artifact in sorted(declared.artifacts.items()):
        if name not in task.inputs.artifacts and name != item and not artifact.is_optional:
            yield error(RULE, f"{where} is not given the artifact {name}")
    for name in sorted(set(task.inputs.parameters) - set(declared.parameters)):
        yield warning(RULE, f"{where} is given the parameter {name}, which its component lacks")
    for name in sorted(set(task.inputs.artifacts) - set(declared.artifacts)):
        yield warning(RULE, f"{where} is given the artifact {name}, which its component lacks")


def _value_findings(
    pipeline: Pipeline,
    parent: pb.ComponentSpec,
    task: pb.PipelineTaskSpec,
    name: str,
    definition: Any,
    where: str,
) -> Iterator[Finding]:
    wanted = definition.parameter_type
    source = task.inputs.parameters[name]
    if source.HasField("runtime_value"):
        if not _fits(source.runtime_value.constant, wanted):
            yield error(RULE, f"{where} is given {name} as a constant that is not {_named(wanted)}")
        return
    given = _type_of(pipeline, parent, source)
    if source.parameter_expression_selector or given is None or wanted == Types.STRING:
        # A selector takes a part, whose type shows only then; anything becomes a string.
        return
    if given != wanted and not {given, wanted} <= NUMBERS:
        yield error(RULE, f"{where} is given {name} as {_named(given)}, not {_named(wanted)}")


def _type_of(pipeline: Pipeline, parent: pb.ComponentSpec, source: Any) -> int | None:
    if source.HasField("component_input_parameter"):
        outer = parent.input_definitions.parameters[source.component_input_parameter]
        return int(outer.parameter_type)
    if source.HasField("task_output_parameter"):
        producer = parent.dag.tasks[source.task_output_parameter.producer_task]
        if producer.WhichOneof("iterator"):
            return int(Types.LIST)
        made = pipeline.component(producer).output_definitions.parameters
        return int(made[source.task_output_parameter.output_parameter_key].parameter_type)
    return None


def _fits(value: Any, wanted: int) -> bool:
    kind = value.WhichOneof("kind")
    return kind in (None, "null_value") or wanted == Types.STRING or wanted in KINDS[kind]


def _named(kind: int) -> str:
    return TYPE_NAMES.get(kind, Types.ParameterTypeEnum.Name(kind))
