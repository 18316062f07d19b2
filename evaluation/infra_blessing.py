"""The record of what infra_validator found: whether the exported model can be served."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .verdict_file import Verdict, read_verdict

FILE = "infra_blessing.json"
PAGE = "infra_blessing.html"
WARMUP_FILE = "tf_serving_warmup_requests"
WARMUP = f"warmup/{WARMUP_FILE}"


@dataclass(frozen=True)
class InfraBlessing(Verdict):
    """What infra_blessing.json says; `model_digest` is that of the model's `serving/`."""

    model_digest: str


def read_infra_blessing(folder: str | os.PathLike[str]) -> InfraBlessing:
    """Read an InfraBlessing artifact.

    Args:
        folder: The artifact's folder, with `infra_blessing.json`.

    Raises:
        PenstockError: There is none, or it is not one.
    """
    found = read_verdict(
        folder, FILE, what="infra blessing", writer="infra_validator", of_model=True
    )
    assert found.model_digest is not None  # of_model has seen to it
    return InfraBlessing(found.blessed, found.reason, found.model_digest, found.record)


def warmup_file(folder: str | os.PathLike[str]) -> Path | None:
    """Return the warm-up requests of an InfraBlessing artifact; None where none were made.

    They belong into `assets.extra/tf_serving_warmup_requests` of the served SavedModel, where
    TensorFlow Serving plays them before it lets a version answer.
    """
    file = Path(folder) / WARMUP
    return file if file.is_file() else None
