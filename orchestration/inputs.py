"""What a task is given: resolved from constants, its parent's inputs and its siblings' outputs."""

import re
from collections.abc import Mapping
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from .placeholders import resolve
from .spec import plain
from .values import Types, Values, typed

EXPRESSION = re.compile(r'parseJson\(string_value\)\["(.*)"\]', re.DOTALL)


def with_defaults(component: pb.ComponentSpec, given: Values, where: str) -> Values:
    """Return `given` as `component` declares it: typed, defaults filled in.

    Names that the component does not declare are kept: the compiler adds inputs that only
    placeholders read.

    Args:
        component: Whose inputs they are.
        given: Values by name.
        where: The task, for errors.

    Raises:
        PenstockError: A required parameter or artifact is missing or does not fit its type.
    """
    definitions = component.input_definitions
    filled = Values(dict(given.parameters), dict(given.artifacts))
    for name, definition in definitions.parameters.items():
        value = filled.parameters.get(name)
        if value is None and definition.HasField("default_value"):
            value = plain(definition.default_value)
        if value is not None:
            filled.parameters[name] = typed(
                value, definition.parameter_type, f"Input {name} of {where}"
            )
        elif definition.is_optional or name.startswith("pipelinechannel--"):
            filled.parameters.pop(name, None)
        else:
            raise PenstockError(f"Input {name} of {where} has no value and no default.")
    for name, artifact in definitions.artifacts.items():
        if name in filled.artifacts or artifact.is_optional:
            continue
        if not name.startswith("pipelinechannel--"):
            raise PenstockError(f"Input artifact {name} of {where} was not produced.")
    return filled


def task_inputs(
    task: pb.PipelineTaskSpec,
    parent: Values,
    outputs: Mapping[str, Values],
    final_status: Mapping[str, Mapping[str, Any]],
    job: Mapping[str, str],
) -> Values:
    """Return what the spec connects to a task's inputs; what has no value is left out.

    Args:
        task: The task.
        parent: Inputs of the DAG the task is in.
        outputs: Outputs of the finished tasks of that DAG, by task.
        final_status: KFP's PipelineTaskFinalStatus of the finished tasks, as dictionaries.
        job: Values of the job's placeholders.
    """
    values = Values()
    constants = {}
    for name, source in task.inputs.parameters.items():
        kind = source.WhichOneof("kind")
        if kind == "runtime_value":
            constants[name] = plain(source.runtime_value.constant)
            continue
        if kind == "task_output_parameter":
            upstream = source.task_output_parameter
            produced = outputs.get(upstream.producer_task, Values()).parameters
            value = produced.get(upstream.output_parameter_key)
        elif kind == "component_input_parameter":
            value = parent.parameters.get(source.component_input_parameter)
        else:
            value = dict(final_status[source.task_final_status.producer_task])
        if value is not None and source.parameter_expression_selector:
            value = _select(value, source.parameter_expression_selector)
        if value is not None:
            values.parameters[name] = value
    for name, artifact in task.inputs.artifacts.items():
        if artifact.WhichOneof("kind") == "task_output_artifact":
            made = artifact.task_output_artifact
            found = outputs.get(made.producer_task, Values()).artifacts.get(
                made.output_artifact_key
            )
        else:
            found = parent.artifacts.get(artifact.component_input_artifact)
        if found is not None:
            values.artifacts[name] = found
    known = {"inputs": {"parameterValues": values.parameters}}
    for name, constant in constants.items():
        values.parameters[name] = resolve(constant, known, job)
    return values


def _select(value: Any, selector: str) -> Any:
    match = EXPRESSION.fullmatch(selector)
    if match is None:  # refused by check_pipeline before the run
        raise PenstockError(f"The expression {selector} is not one KFP compiles.")
    fields = typed(value, Types.STRUCT, "A loop item")
    if match[1] not in fields:
        raise PenstockError(
            f"A loop item has no {match[1]!r}; it has {', '.join(sorted(fields)) or 'nothing'}."
        )
    return fields[match[1]]


def loop_items(task: pb.PipelineTaskSpec, inputs: Values, where: str) -> list[Any]:
    """Return what a `dsl.ParallelFor` goes through: JSON values, or artifacts.

    Raises:
        PenstockError: The items have no value or are not a list.
    """
    if task.WhichOneof("iterator") == "artifact_iterator":
        return list(inputs.artifacts.get(task.artifact_iterator.items.input_artifact, []))
    items = task.parameter_iterator.items
    if items.WhichOneof("kind") == "raw":
        value: Any = items.raw
    else:
        value = inputs.parameters.get(items.input_parameter)
        if value is None:
            raise PenstockError(f"The list that {where} goes through has no value.")
    listed: list[Any] = typed(value, Types.LIST, f"What {where} goes through")
    return listed


def iteration_inputs(task: pb.PipelineTaskSpec, inputs: Values, item: Any) -> Values:
    """Return the inputs of one iteration of a loop."""
    values = Values(dict(inputs.parameters), dict(inputs.artifacts))
    if task.WhichOneof("iterator") == "artifact_iterator":
        values.artifacts[task.artifact_iterator.item_input] = [item]
    else:
        values.parameters[task.parameter_iterator.item_input] = item
    return values


def dag_outputs(component: pb.ComponentSpec, outputs: Mapping[str, Values]) -> Values:
    """Return a DAG's outputs, selected from its tasks' as the spec says.

    Of a `dsl.OneOf` the first that was produced counts. What was not produced is left out.
    """
    selected = Values()
    for name, parameter in component.dag.outputs.parameters.items():
        if parameter.WhichOneof("kind") == "value_from_oneof":
            selectors = list(parameter.value_from_oneof.parameter_selectors)
        else:
            selectors = [parameter.value_from_parameter]
        for selector in selectors:
            produced = outputs.get(selector.producer_subtask, Values()).parameters
            if selector.output_parameter_key in produced:
                selected.parameters[name] = produced[selector.output_parameter_key]
                break
    for name, artifact in component.dag.outputs.artifacts.items():
        for source in artifact.artifact_selectors:
            made = outputs.get(source.producer_subtask, Values()).artifacts
            if source.output_artifact_key in made:
                selected.artifacts[name] = made[source.output_artifact_key]
                break
    return selected


def collected(iterations: list[Values]) -> Values:
    """Return a loop's outputs: parameters as a list per loop, artifacts as one flat list.

    Nested loops give nested lists of parameters and a flat list of artifacts
    (https://www.kubeflow.org/docs/components/pipelines/user-guides/core-functions/control-flow/).
    """
    gathered = Values()
    for iteration in iterations:
        for name, value in iteration.parameters.items():
            gathered.parameters.setdefault(name, []).append(value)
        for name, artifacts in iteration.artifacts.items():
            gathered.artifacts.setdefault(name, []).extend(artifacts)
    return gathered
