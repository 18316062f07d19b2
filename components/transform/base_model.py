"""What a model to start from has fitted already, so that its weights go on meaning the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...errors import PenstockError
from ...models.transform_graph import DESCRIPTION
from .features import Feature
from .fit import State


def declaration_of(feature: Feature) -> dict[str, Any]:
    """Return what `transform.json` says of a declaration."""
    settings = {field.name: getattr(feature, field.name) for field in fields(feature)}
    return {"type": type(feature).__name__, **settings}


def states_of(
    base_model: str | os.PathLike[str], features: Mapping[str, Feature]
) -> dict[str, State]:
    """Return the states of a Model's features that are declared as they were.

    Args:
        base_model: The Model artifact's folder.
        features: The declarations now.

    Returns:
        States by name, for some of the features; what was declared otherwise, or not at all, is
        not among them.

    Raises:
        PenstockError: The model does not say how its features were made.
    """
    file = Path(base_model) / "transform" / DESCRIPTION
    try:
        before = json.loads(file.read_text(encoding="utf-8"))["features"]
        return {
            name: State("base_model", dict(before[name]["state"]))
            for name, feature in features.items()
            if name in before and before[name]["declaration"] == _as_json(feature)
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PenstockError(
            f"The base model at {base_model} does not say how its features were made: {file} is "
            f"missing or unreadable ({type(error).__name__}); give a model that the trainer wrote, "
            "or leave base_model out."
        ) from error


def _as_json(feature: Feature) -> Any:
    return json.loads(json.dumps(declaration_of(feature)))
