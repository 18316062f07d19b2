"""A blessed model's way to where it is served from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...data.digest import digest_path
from ...data.output import new_folder
from ...errors import PenstockError
from .versions import add_version, locked, version_with, versions


def push(
    model: str | os.PathLike[str],
    blessing: str | os.PathLike[str],
    pushed_model: str | os.PathLike[str],
    destination: str,
) -> dict[str, Any]:
    """Push the model's SavedModel to `destination/<version>/` if it is blessed.

    Content that some version of the destination already holds is not pushed again. Pushing from
    several processes at once is safe: each content gets one version of its own.

    Args:
        model: The Model's folder.
        blessing: The Blessing's folder, of this very model.
        pushed_model: The folder to write `pushed.json` into, also for a refusal.
        destination: The folder that TensorFlow Serving watches (its `base_path`); a relative one
            starts at the working directory.

    Returns:
        The content of `pushed.json` and `summary`.

    Raises:
        PenstockError: The blessing is missing, unreadable or of another model; the model is
            missing; or the destination is no folder that can be written to. Nothing is pushed.
    """
    folder = _destination(destination)
    serving = Path(model) / "serving"
    if not (serving / "saved_model.pb").is_file():
        raise PenstockError(
            f"There is no SavedModel at {serving}; give the model that the trainer wrote."
        )
    blessed, why = _read_blessing(Path(blessing))
    digest = digest_path(serving)
    if blessed["model_digest"] != digest:
        raise PenstockError(
            f"The blessing at {blessing} is of another model ({blessed['model_digest']}) than the "
            f"one at {model} ({digest}); evaluate this model and push it with its own blessing."
        )
    if blessed["blessed"]:
        result = _push_blessed(serving, digest, folder)
    else:
        result = {
            "pushed": False,
            "reason": f"The model is not blessed: {why}",
            "destination": None,
            "version": None,
            "content_digest": None,
        }
    with new_folder(pushed_model) as work:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        (work / "pushed.json").write_text(text, encoding="utf-8")
    return {"summary": result["reason"], **result}


def _push_blessed(serving: Path, digest: str, destination: Path) -> dict[str, Any]:
    with locked(destination):
        version = version_with(destination, digest)
        if version is None:
            version = add_version(destination, serving, digest)
            reason = f"Pushed as version {version} to {destination / str(version)}."
        else:
            reason = f"{destination} holds this model already, as version {version}."
            newest = versions(destination)[-1]
            if newest > version:
                reason += f" Version {newest} is newer and is what TensorFlow Serving loads."
    return {
        "pushed": True,
        "reason": reason,
        "destination": str(destination / str(version)),
        "version": version,
        "content_digest": digest,
    }


def _destination(destination: str) -> Path:
    if not destination.strip():
        raise PenstockError(
            "destination is empty; give the folder that TensorFlow Serving watches."
        )
    if "://" in destination:
        raise PenstockError(
            f"The destination {destination!r} is a URL, and this version pushes to local folders "
            "only; give the path of one, such as a mounted volume."
        )
    folder = Path(destination).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise PenstockError(f"The destination {folder} is a file; give a folder.")
    return folder


def _read_blessing(blessing: Path) -> tuple[dict[str, Any], str]:
    file = blessing / "blessing.json"
    if not file.is_file():
        raise PenstockError(
            f"There is no blessing at {blessing}: {file.name} is missing; give the one that the "
            "evaluator wrote for this model."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not (
            isinstance(content["blessed"], bool)
            and isinstance(content["reason"], str)
            and isinstance(content["model_digest"], str)
        ):
            raise ValueError("a field has the wrong type")
    except (ValueError, KeyError, TypeError) as error:
        raise PenstockError(
            f"{file} is not a blessing ({type(error).__name__}: {error}); give the one that the "
            "evaluator wrote for this model."
        ) from error
    return content, content["reason"]
