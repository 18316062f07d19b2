"""KFP's placeholders: `{{$...}}` in commands and constants, and the structs around them."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import PenstockError
from .spec import as_json

PLACEHOLDER = re.compile(r"\{\{\$(?P<path>(?:[^'{}]|'[^']*')*)\}\}")
_INPUT_PARAMETER = re.compile(r"\.inputs\.parameters\['([^']+)'\]")
_OUTPUT_PARAMETER = re.compile(r"\.outputs\.parameters\['([^']+)'\]\.output_file")
_ARTIFACT = re.compile(
    r"\.(inputs|outputs)\.artifacts\['([^']+)'\](?:\.(uri|path|name|metadata)(?:\['([^']+)'\])?)?"
)
_OUTPUT_FILE = (".outputs.output_file", ".outputMetadataUri")
JOB_PLACEHOLDERS = (
    ".pipeline_job_name",
    ".pipeline_job_resource_name",
    ".pipeline_job_uuid",
    ".pipeline_task_name",
    ".pipeline_task_uuid",
    ".pipeline_root",
    ".pipeline_job_create_time_utc",
    ".pipeline_job_schedule_time_utc",
)


def unknown_placeholders(value: Any) -> list[str]:
    """Return the placeholders in a JSON value, at any depth, that are not supported."""
    return [
        match[0]
        for text in _strings(value)
        for match in PLACEHOLDER.finditer(text)
        if not _is_known(match["path"])
    ]


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)


def _is_known(path: str) -> bool:
    return (
        path == ""
        or path in JOB_PLACEHOLDERS
        or path in _OUTPUT_FILE
        or any(p.fullmatch(path) for p in (_INPUT_PARAMETER, _OUTPUT_PARAMETER, _ARTIFACT))
    )


def resolve(value: Any, executor_input: Mapping[str, Any], job: Mapping[str, str]) -> Any:
    """Return a JSON value with the placeholders in its strings replaced.

    A string is gone through once, so that a replaced value that looks like a placeholder stays as
    it is. Values that are not strings are inserted as JSON, a missing one as `null`.

    Args:
        value: A constant of the pipeline or an element of a command.
        executor_input: KFP's ExecutorInput as a dictionary.
        job: Values of `JOB_PLACEHOLDERS`.
    """
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda m: _replacement(m[0], m["path"], executor_input, job), value)
    if isinstance(value, list):
        return [resolve(item, executor_input, job) for item in value]
    if isinstance(value, dict):
        return {
            resolve(key, executor_input, job): resolve(item, executor_input, job)
            for key, item in value.items()
        }
    return value


def _replacement(
    text: str, path: str, executor_input: Mapping[str, Any], job: Mapping[str, str]
) -> str:
    inputs = executor_input.get("inputs", {})
    outputs = executor_input.get("outputs", {})
    if path == "":
        return as_json(executor_input)
    if path in job:
        return job[path]
    if path in _OUTPUT_FILE:
        return str(outputs["outputFile"])
    if match := _INPUT_PARAMETER.fullmatch(path):
        value = inputs.get("parameterValues", {}).get(match[1])
    elif match := _OUTPUT_PARAMETER.fullmatch(path):
        value = outputs["parameters"][match[1]]["outputFile"]
    elif match := _ARTIFACT.fullmatch(path):
        side = inputs if match[1] == "inputs" else outputs
        value = _of_artifact(side.get("artifacts", {}).get(match[2]), match[3], match[4])
    else:
        return text
    return value if isinstance(value, str) else as_json(value)


def _of_artifact(entry: Any, attribute: str | None, key: str | None) -> Any:
    if entry is None:
        return None
    artifacts = entry["artifacts"]
    if attribute is None:
        return artifacts
    value = artifacts[0]["uri" if attribute == "path" else attribute]
    return value.get(key) if key is not None else value


def resolve_command(
    elements: Iterable[str], executor_input: Mapping[str, Any], job: Mapping[str, str]
) -> list[str]:
    """Return a container's command or arguments, placeholders and structs replaced.

    Raises:
        PenstockError: A struct is neither Concat nor IfPresent.
    """
    provided = {
        *executor_input.get("inputs", {}).get("parameterValues", {}),
        *executor_input.get("inputs", {}).get("artifacts", {}),
    }
    command: list[str] = []
    for element in elements:
        if element.startswith(('{"Concat": ', '{"IfPresent": ')):
            chosen = _struct(json.loads(element), provided)
        else:
            chosen = [element]
        command.extend(resolve(chosen, executor_input, job))
    return command


def _struct(element: Any, provided: set[str]) -> list[str]:
    if isinstance(element, str):
        return [element]
    if isinstance(element, list):
        return [part for item in element for part in _struct(item, provided)]
    if "Concat" in element:
        return ["".join(part for item in element["Concat"] for part in _struct(item, provided))]
    if "IfPresent" in element:
        test = element["IfPresent"]
        return (
            _struct(test["Then" if test["InputName"] in provided else "Else"], provided)
            if (test["InputName"] in provided or "Else" in test)
            else []
        )
    raise PenstockError(f"The command holds {as_json(element)}, which is not a KFP placeholder.")
