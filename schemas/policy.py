"""Policies: small files of settings, each held to its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jsonschema
import yaml

from ..errors import PenstockError


def checked_policy(
    content: Mapping[str, Any] | str | None, schema: str, what: str, such_as: str
) -> dict[str, Any]:
    """Return a policy as a dictionary, once it is what its JSON Schema says.

    Args:
        content: The policy as a mapping, or as YAML or JSON text; empty for none.
        schema: The name of the JSON Schema in this package.
        what: What it is, for the errors, such as `blessing policy`.
        such_as: One of its settings, for the errors, such as `mode: confident`.

    Raises:
        PenstockError: It is not one, with the place and what is expected there.
    """
    if isinstance(content, str):
        try:
            content = yaml.safe_load(content)
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise PenstockError(f"The {what} is not YAML: {said}.") from error
    found = {} if content is None else content
    if not isinstance(found, Mapping):
        raise PenstockError(
            f"The {what} is {type(found).__name__}; give keys and values, such as {such_as}."
        )
    shape = json.loads(resources.files(__package__).joinpath(schema).read_text(encoding="utf-8"))
    for wrong in jsonschema.Draft202012Validator(shape).iter_errors(dict(found)):
        where = "".join(f" at {part}" for part in wrong.path)
        known = ", ".join(wrong.schema.get("properties", {}))
        more = f"; it knows {known}" if wrong.validator == "additionalProperties" else ""
        raise PenstockError(f"The {what} is wrong{where}: {wrong.message}{more}.")
    return dict(found)
