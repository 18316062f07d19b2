"""What flows between tasks: parameters as JSON values, artifacts as references."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError

Types = pb.ParameterType
TYPE_NAMES = {
    Types.NUMBER_DOUBLE: "a number",
    Types.NUMBER_INTEGER: "an integer",
    Types.STRING: "a string",
    Types.BOOLEAN: "true or false",
    Types.LIST: "a JSON list",
    Types.STRUCT: "a JSON object",
    Types.TASK_FINAL_STATUS: "a task's final status",
}


@dataclass(frozen=True)
class Artifact:
    """A reference to something a step made or an importer named.

    Attributes:
        name: The artifact's name.
        schema_title: KFP's type, such as `system.Dataset`.
        schema_version: The type's version.
        uri: Where it lies: a path, or a URL when the pipeline root is one.
        metadata: What the step said about it, JSON values.
        digest: `sha256:<hex>` of what lies there; None when nothing does, or it is not known.
        id: The metadata store's number; None as long as it does not know it.
    """

    name: str
    schema_title: str
    schema_version: str
    uri: str
    metadata: dict[str, Any] = field(default_factory=dict)
    digest: str | None = None
    id: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return KFP's RuntimeArtifact as a dictionary."""
        return {
            "name": self.name,
            "type": {"schemaTitle": self.schema_title, "schemaVersion": self.schema_version},
            "uri": self.uri,
            "metadata": self.metadata,
        }


@dataclass
class Values:
    """Inputs or outputs of a task, by name.

    Attributes:
        parameters: JSON values.
        artifacts: Lists; a plain artifact is a list of one.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[Artifact]] = field(default_factory=dict)


def typed(value: Any, parameter_type: int, where: str) -> Any:
    """Return `value` as the declared type, converted where KFP's backend converts.

    A value that is not a string becomes JSON text for a string parameter, and text is read as JSON
    for the other types. Integers stay integers, also inside lists and objects.

    Args:
        value: A JSON value.
        parameter_type: A `ParameterTypeEnum`.
        where: What to call the parameter in the error.

    Raises:
        PenstockError: The value does not fit the type.
    """
    convert = _CONVERSIONS.get(parameter_type)
    if convert is None:
        return value
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise PenstockError(
            f"{where} is {_short(value)}, but {TYPE_NAMES[parameter_type]} is expected."
        ) from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _integer(value: Any) -> int:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(value)
    return int(value)


def _double(value: Any) -> float:
    if isinstance(value, str):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower())
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _of(kind: type) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if isinstance(value, str):
            value = json.loads(value)
        if not isinstance(value, kind):
            raise ValueError(value)
        return value

    return convert


_CONVERSIONS: dict[int, Callable[[Any], Any]] = {
    Types.NUMBER_INTEGER: _integer,
    Types.NUMBER_DOUBLE: _double,
    Types.STRING: _string,
    Types.BOOLEAN: _boolean,
    Types.LIST: _of(list),
    Types.STRUCT: _of(dict),
}
