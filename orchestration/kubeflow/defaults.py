"""Defaults for the steps of a pipeline: a YAML file that a platform team keeps beside it."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ... import schemas
from ...errors import PenstockError

if TYPE_CHECKING:
    from jsonschema import ValidationError

SCHEMA = "step_defaults.schema.json"
Settings = Mapping[str, Any]
WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class Defaults:
    """What the steps of a pipeline are given; `schemas/step_defaults.schema.json` describes it.

    Attributes:
        where: The file, for errors.
        all: The settings of every step.
        components: Those of a component's tasks, by the component's name with `-`.
        tasks: Those of one task, by its name.
    """

    where: str
    all: Settings = field(default_factory=dict)
    components: Mapping[str, Settings] = field(default_factory=dict)
    tasks: Mapping[str, Settings] = field(default_factory=dict)

    def of(self, component: str, task: str) -> dict[str, Any]:
        """Return the settings of one task: its own over its component's over all."""
        settings: dict[str, Any] = {}
        for more in (self.all, self.components.get(component, {}), self.tasks.get(task, {})):
            settings = _merged(settings, more)
        return settings

    def check_names(self, components: Iterable[str], tasks: Iterable[str], pipeline: str) -> None:
        """Raise a PenstockError when a name is none of the pipeline's steps."""
        for kind, named, known in (
            ("component", self.components, components),
            ("task", self.tasks, tasks),
        ):
            for name in named:
                if name not in known:
                    names = sorted(known)
                    raise PenstockError(
                        f"{self.where} names the {kind} {name}, which {pipeline} does not have; "
                        f"of {kind}s that run in a container it has {', '.join(names)}"
                        f"{_meant(name, names)}."
                    )


def read_defaults(path: Path) -> Defaults:
    """Read and check a file of defaults.

    Args:
        path: A YAML file; an empty one gives no defaults.

    Raises:
        PenstockError: It cannot be read, is not YAML, or holds something that is no default.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise PenstockError(f"{path} cannot be read: {reason}.") from error
    except yaml.YAMLError as error:
        raise PenstockError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if content is None:
        return Defaults(str(path))
    _check_shape(content, path)
    return Defaults(
        str(path),
        content.get("all", {}),
        {name.replace("_", "-"): more for name, more in content.get("components", {}).items()},
        content.get("tasks", {}),
    )


def _merged(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in more.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            inner = merged.get(key, {})
            merged[key] = _merged(inner, value)
        else:
            merged[key] = value
    return merged


def _check_shape(content: Any, path: Path) -> None:
    import jsonschema

    shape = json.loads(resources.files(schemas).joinpath(SCHEMA).read_text())
    errors = jsonschema.Draft202012Validator(shape).iter_errors(content)
    error = jsonschema.exceptions.best_match(errors)
    if error is not None:
        place = ".".join(str(part) for part in error.absolute_path)
        where = f"{path}, {place}," if place else f"{path}"
        raise PenstockError(f"{where} {_wrong(error)}.")


def _wrong(error: "ValidationError") -> str:
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        return (
            f"has the key {unknown}, and there is no such key: there are {', '.join(known)}"
            f"{_meant(str(unknown), known)}"
        )
    if error.validator == "minProperties":
        return "is empty: give all, components or tasks"
    if error.validator == "enum":
        known = [str(value) for value in error.validator_value if value is not None]
        return f"is {error.instance!r}: give one of {', '.join(known)}"
    if error.validator in ("type", "pattern"):
        kinds = [kind for kind in WORDS if kind in error.schema["type"]]
        wanted = " or ".join(WORDS[kind] for kind in kinds)
        if "pattern" in error.schema:
            wanted = error.schema["description"]
        return f"is {error.instance!r}: give {wanted}"
    return f"is {error.instance!r}, which is too little"


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {near[0]}?)" if near else ""
