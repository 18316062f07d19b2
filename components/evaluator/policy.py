"""The blessing policy: how the thresholds of the EvalConfig decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import jsonschema
import yaml

from ... import schemas
from ...errors import PenstockError

SCHEMA = "blessing_policy.schema.json"


@dataclass(frozen=True)
class Policy:
    """A policy that has been checked; docs/evaluation.md says what each key does."""

    mode: str = "point"
    confidence: float = 0.95
    slices: str = "proven"
    min_slice_size: int = 0
    small_slices: str = "fail"
    first_model: str = "value_thresholds"

    @property
    def confident(self) -> bool:
        """Whether intervals decide."""
        return self.mode == "confident"

    def as_record(self) -> dict[str, Any]:
        """Return what blessing.json holds of it."""
        return asdict(self)


def read_policy(content: Mapping[str, Any] | str | None) -> Policy:
    """Check a policy.

    Args:
        content: The policy as a mapping, or as YAML or JSON text; empty for the defaults.

    Raises:
        PenstockError: It is not one, with the place and what is expected there.
    """
    if isinstance(content, str):
        try:
            content = yaml.safe_load(content)
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise PenstockError(f"The blessing policy is not YAML: {said}.") from error
    found = {} if content is None else content
    if not isinstance(found, Mapping):
        raise PenstockError(
            f"The blessing policy is {type(found).__name__}; give keys and values, such as "
            "mode: confident."
        )
    schema = json.loads(resources.files(schemas).joinpath(SCHEMA).read_text(encoding="utf-8"))
    for wrong in jsonschema.Draft202012Validator(schema).iter_errors(dict(found)):
        where = "".join(f" at {part}" for part in wrong.path)
        known = ", ".join(schema["properties"])
        more = f"; it knows {known}" if wrong.validator == "additionalProperties" else ""
        raise PenstockError(f"The blessing policy is wrong{where}: {wrong.message}{more}.")
    # Kubeflow hands numbers in dictionaries on as floats.
    whole = {"min_slice_size": int(found.get("min_slice_size", 0))}
    return Policy(**{**found, **whole})
