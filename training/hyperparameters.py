"""The HyperParameters artifact: what a tuner found best, which a trainer takes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import PenstockError

FORMAT = 1
HYPERPARAMETERS = "hyperparameters.json"


def write_hyperparameters(path: Path, content: Mapping[str, Any]) -> None:
    """Write `hyperparameters.json` into the folder `path`; docs/formats.md says what it holds."""
    text = json.dumps({"format": FORMAT, **content}, indent=2, ensure_ascii=False) + "\n"
    (path / HYPERPARAMETERS).write_text(text, encoding="utf-8")


def read_hyperparameters(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the hyperparameters in the folder `path`.

    Raises:
        PenstockError: There are none, or this version of Penstock does not read them.
    """
    file = Path(path) / HYPERPARAMETERS
    if not file.is_file():
        raise PenstockError(
            f"There are no hyperparameters at {path}: {HYPERPARAMETERS} is missing; give the "
            "folder that tuner wrote."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known, found = content["format"] == FORMAT, dict(content["hyperparameters"])
    except (ValueError, KeyError, TypeError) as error:
        raise PenstockError(
            f"{file} does not hold hyperparameters ({type(error).__name__}: {error}); run tuner "
            "again."
        ) from error
    if not known:
        raise PenstockError(
            f"{file} has format {content['format']}, this version of Penstock reads {FORMAT}; run "
            "tuner again."
        )
    return found
