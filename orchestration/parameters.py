"""The parameters a person gives to a pipeline, typed by the pipeline's own declaration."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import PenstockError
from .spec import Pipeline, documents, render
from .values import TYPE_NAMES, Types, typed


def read_parameters(pipeline: Pipeline, pairs: Iterable[str]) -> dict[str, Any]:
    """Return the parameters that `name=value` pairs give, as the types the pipeline declares.

    Text is taken as it is for strings; lists and objects are JSON; booleans are `true` or `false`.

    Raises:
        PenstockError: A pair has no `=`, names no parameter of the pipeline, or does not fit.
    """
    declared = pipeline.spec.root.input_definitions.parameters
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise PenstockError(f"--param {pair} has no value: write --param {pair}=VALUE.")
        if name in given:
            raise PenstockError(f"--param {name} is given twice; give it once.")
        _known(pipeline, name)
        given[name] = _read(text, declared[name].parameter_type, name)
    return given


def check_parameters(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given`, each value checked against its declared type.

    Raises:
        PenstockError: A parameter is unknown, does not fit, or a required one is missing.
    """
    declared = pipeline.spec.root.input_definitions
    checked = {}
    for name, value in given.items():
        _known(pipeline, name)
        checked[name] = typed(
            value, declared.parameters[name].parameter_type, f"Parameter {name} of {pipeline.name}"
        )
    missing = [
        name
        for name, definition in sorted(declared.parameters.items())
        if name not in checked
        and not definition.is_optional
        and not definition.HasField("default_value")
    ]
    if missing:
        raise PenstockError(
            f"Pipeline {pipeline.name} needs {_names(missing)}: add "
            + " ".join(f"--param {name}=..." for name in missing)
            + "."
        )
    artifacts = [n for n, a in sorted(declared.artifacts.items()) if not a.is_optional]
    if artifacts:
        raise PenstockError(
            f"Pipeline {pipeline.name} takes the artifact {_names(artifacts)}, which cannot be "
            "given from outside; give its URI as a parameter and use dsl.importer."
        )
    return checked


def preset(pipeline: Pipeline, given: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline with these values as its parameters' defaults; see `read_parameters`."""
    document, platform = documents(pipeline)
    for name, value in given.items():
        definition = document["root"]["inputDefinitions"]["parameters"][name]
        definition |= {"defaultValue": value, "isOptional": True}
    return render(pipeline, document, platform)


def _known(pipeline: Pipeline, name: str) -> None:
    declared = pipeline.spec.root.input_definitions.parameters
    if name not in declared:
        known = f"it takes {_names(sorted(declared))}" if declared else "it takes none"
        raise PenstockError(f"Pipeline {pipeline.name} has no parameter {name}; {known}.")


def _read(text: str, parameter_type: int, name: str) -> Any:
    expected = TYPE_NAMES.get(parameter_type, "a value")
    wrong = PenstockError(f"Parameter {name} is {text!r}, but {expected} is expected.")
    try:
        if parameter_type == Types.NUMBER_INTEGER:
            return int(text)
        if parameter_type == Types.NUMBER_DOUBLE:
            number = float(text)
            if not math.isfinite(number):
                raise wrong
            return number
        if parameter_type == Types.BOOLEAN:
            return {"true": True, "false": False}[text.lower()]
        if parameter_type in (Types.LIST, Types.STRUCT):
            value = json.loads(text)
            if not isinstance(value, list if parameter_type == Types.LIST else dict):
                raise wrong
            return value
    except (ValueError, KeyError) as error:
        raise wrong from error
    return text


def _names(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
