"""The champion as a Model artifact, which may say that there is none yet.

An artifact input of a pipeline is always there, also before a product's first model. So a folder
that holds `none.json` in place of a model is the answer "none yet".
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import PenstockError

NONE = "none.json"


def write_no_champion(folder: Path, reason: str) -> None:
    """Write the answer "none yet" into the new folder `folder`.

    Args:
        folder: The Model artifact's folder.
        reason: Why there is none, for people.
    """
    text = json.dumps({"none": True, "reason": reason}, indent=2, ensure_ascii=False) + "\n"
    (folder / NONE).write_text(text, encoding="utf-8")


def read_champion(path: str | os.PathLike[str] | None) -> Path | None:
    """Return the champion's folder; None where there is none yet.

    Args:
        path: A Model artifact's folder, or None where nothing was connected.

    Raises:
        PenstockError: There is neither a model nor the answer that there is none.
    """
    if path is None:
        return None
    folder = Path(path)
    if (folder / NONE).is_file():
        return None
    if not (folder / "serving").is_dir():
        raise PenstockError(
            f"The champion at {folder} holds neither a model in serving/ nor {NONE}, which says "
            "that there is none yet; give a Model artifact, or leave the champion out."
        )
    return folder
