"""One step: the ExecutorInput KFP's executor is given, and what it leaves behind."""

import ast
import itertools
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from .values import Artifact, Types, Values, typed

LOG = "log.txt"
EXECUTOR_OUTPUT = "executor_output.json"


@dataclass(frozen=True)
class PythonSource:
    """A Python component, as its compiled command carries it.

    Attributes:
        source: The module KFP writes to `ephemeral_component.py`.
        function: The function in it to call.
        packages: Requirements that its command would install first; KFP's own is left out.
    """

    source: str
    function: str
    packages: tuple[str, ...]


def python_source(
    container: pb.PipelineDeploymentConfig.PipelineContainerSpec,
) -> PythonSource | None:
    """Return the Python component that a container's command embeds, or None."""
    command = list(container.command)
    arguments = list(container.args)
    for at, element in enumerate(command[:-1]):
        if "kfp.dsl.executor_main" in element and "ephemeral_component.py" in element:
            pairs = itertools.pairwise(arguments)
            function = next((name for flag, name in pairs if flag == "--function_to_execute"), "")
            return PythonSource(command[at + 1], function, _packages(command[:at]))
    return None


def _packages(command: list[str]) -> tuple[str, ...]:
    found = []
    for script in command:
        for install in re.findall(r"-m pip install (.*?)(?:&&|$)", script, re.DOTALL):
            words = iter(shlex.split(install))
            for word in words:
                if word in ("--index-url", "--extra-index-url", "--trusted-host"):
                    next(words)
                elif not word.startswith(("-", "kfp==", "typing-extensions>=")):
                    found.append(word)
    return tuple(found)


def defined_function(source: PythonSource) -> bool:
    """Return whether the source is Python and defines the function."""
    try:
        module = ast.parse(source.source)
    except SyntaxError:
        return False
    return any(
        isinstance(node, ast.FunctionDef) and node.name == source.function for node in module.body
    )


def executor_input(component: pb.ComponentSpec, inputs: Values, folder: Path) -> dict[str, Any]:
    """Return KFP's ExecutorInput as a dictionary; outputs lie in `folder`, named as declared."""
    outputs = component.output_definitions
    return {
        "inputs": {
            "parameterValues": dict(inputs.parameters),
            "artifacts": {
                name: {"artifacts": [artifact.as_dict() for artifact in artifacts]}
                for name, artifacts in inputs.artifacts.items()
            },
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": str(folder / name)} for name in sorted(outputs.parameters)
            },
            "artifacts": {
                name: {
                    "artifacts": [
                        Artifact(
                            name,
                            declared.artifact_type.schema_title,
                            declared.artifact_type.schema_version,
                            str(folder / name),
                        ).as_dict()
                    ]
                }
                for name, declared in sorted(outputs.artifacts.items())
            },
            "outputFile": str(folder / EXECUTOR_OUTPUT),
        },
    }


def read_outputs(component: pb.ComponentSpec, given: Mapping[str, Any], where: str) -> Values:
    """Return what a finished step produced.

    Parameters come from the executor's output file, and those it does not name from the files the
    step wrote itself (`dsl.OutputPath`): text of a string parameter is taken as it is, of any other
    type as JSON. As on Kubeflow, a declared parameter must be there.

    Args:
        component: Whose outputs they are.
        given: The ExecutorInput the step ran with.
        where: The step, for errors.

    Raises:
        PenstockError: A parameter is missing or not of its declared type.
    """
    outputs = Values()
    produced: dict[str, Any] = {}
    output_file = Path(given["outputs"]["outputFile"])
    if output_file.exists():
        produced = json.loads(output_file.read_text())
    declared = component.output_definitions
    for name, definition in declared.parameters.items():
        value = produced.get("parameterValues", {}).get(name)
        file = Path(given["outputs"]["parameters"][name]["outputFile"])
        if value is None and file.is_file():
            value = file.read_text()
            if definition.parameter_type == Types.BOOLEAN:
                value = value.strip()
        if value is None:
            raise PenstockError(
                f"{where} ended without its output {name}: return it, or write it to its path."
            )
        outputs.parameters[name] = typed(
            value, definition.parameter_type, f"Output {name} of {where}"
        )
    for name, artifact_definition in declared.artifacts.items():
        listed = produced.get("artifacts", {}).get(name, given["outputs"]["artifacts"][name])
        kind = artifact_definition.artifact_type
        outputs.artifacts[name] = [
            Artifact(
                item.get("name") or name,
                kind.schema_title,
                kind.schema_version,
                item.get("uri", ""),
                item.get("metadata", {}),
            )
            for item in listed["artifacts"]
        ]
    return outputs
