"""What every gate's verdict says, read from the JSON that the gate wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PenstockError


@dataclass(frozen=True)
class Verdict:
    """A gate's verdict on one model.

    Attributes:
        blessed: Whether the model passed.
        reason: Why, in words.
        model_digest: Of the model's `serving/`; None where no model was given.
        record: All of the file.
    """

    blessed: bool
    reason: str
    model_digest: str | None
    record: Mapping[str, Any]


def read_verdict(
    folder: str | os.PathLike[str], name: str, *, what: str, writer: str, of_model: bool = False
) -> Verdict:
    """Read the verdict that a gate wrote.

    Args:
        folder: The artifact's folder.
        name: The file in it.
        what: What it is, for the errors, such as `blessing`.
        writer: The component that writes it.
        of_model: Whether it must be of a model, so that `model_digest` is never None.

    Raises:
        PenstockError: There is none, or it is not one.
    """
    file = Path(folder) / name
    if not file.is_file():
        raise PenstockError(
            f"There is no {what} at {folder}: {name} is missing; give the one that the {writer} "
            "wrote for this model."
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        blessed, reason, digest = record["blessed"], record["reason"], record["model_digest"]
        if not isinstance(blessed, bool) or not isinstance(reason, str):
            raise TypeError("blessed must be true or false, reason text")
        if not isinstance(digest, str) and (of_model or digest is not None):
            raise TypeError("model_digest must be text" + ("" if of_model else " or null"))
        return Verdict(blessed, reason, digest, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        article = "an" if what[0] in "aeiou" else "a"
        raise PenstockError(
            f"{file} is not {article} {what} ({type(error).__name__}: {error}); give the one that "
            f"the {writer} wrote for this model."
        ) from error
