"""From a product's name to the model that is in use."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from ...data.output import new_folder
from ...errors import PenstockError
from ...evaluation.blessing import FILE
from ...evaluation.champion import write_no_champion
from ...registry.champion import resolve
from ...registry.connection import open_registry
from ...registry.versions import Version, fetch_version


def resolve_champion(
    champion: str | os.PathLike[str],
    blessing: str | os.PathLike[str],
    registry: str,
    product: str,
    which: str = "champion",
    as_of: str = "",
) -> dict[str, Any]:
    """Write the model that is asked for and its blessing, or that there is none.

    Args:
        champion: The folder to write the model to, or `none.json`.
        blessing: The folder to write `blessing.json` to: what the registry noted of the version's.
        registry: A folder or the URI of an MLflow server.
        product: The product.
        which: `champion`, `previous`, `challenger` or `latest_blessed`.
        as_of: A time in ISO 8601 with a time zone; now when empty.

    Returns:
        Metadata: summary, none (whether there is none), version (0 if none), product, digest.

    Raises:
        PenstockError: A parameter is wrong, or the registry could not be asked, or its files are
            not what was registered. Nothing is written.
    """
    moment = _moment(as_of)
    opened = open_registry(registry)
    found = resolve(opened, product, which, moment)
    with new_folder(blessing) as noted, new_folder(champion) as folder:
        if found is None:
            reason = f"{product} has no {_words(which)}{_when(as_of)} in {registry}."
            write_no_champion(folder, reason)
            _write_blessing(noted / FILE, False, reason, None)
            return {"summary": reason, "none": True, "version": 0, "product": product, "digest": ""}
        fetch_version(opened, found, folder)
        if found.blessing is None:
            _write_blessing(noted / FILE, False, found.stands()[1], found.digest)
        else:
            forced = found.blessing.forced
            _write_blessing(
                noted / FILE,
                found.blessing.blessed,
                found.blessing.reason,
                found.digest,
                forced=forced.as_record() if forced else None,
                registered={"registry": registry, "product": product, "version": found.number},
            )
    return {
        "summary": f"{_sentence(found, which)}{_when(as_of)}",
        "none": False,
        "version": found.number,
        "product": product,
        "digest": found.digest,
    }


def _write_blessing(
    file: Path, blessed: bool, reason: str, model_digest: str | None, **more: Any
) -> None:
    record = {"blessed": blessed, "reason": reason, "model_digest": model_digest, **more}
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _moment(as_of: str) -> datetime | None:
    if not as_of.strip():
        return None
    try:
        # Python 3.10 does not read the Z that others write for UTC.
        moment = datetime.fromisoformat(as_of.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise PenstockError(
            f"as_of is {as_of!r}, which is no time in ISO 8601; give one such as "
            "2026-01-31T12:00:00+00:00."
        ) from error
    if moment.tzinfo is None:
        raise PenstockError(
            f"as_of is {as_of!r}, without a time zone; give one such as 2026-01-31T12:00:00+00:00."
        )
    return moment


def _words(which: str) -> str:
    return "blessed version" if which == "latest_blessed" else which


def _when(as_of: str) -> str:
    return f" as of {as_of.strip()}" if as_of.strip() else ""


def _sentence(found: Version, which: str) -> str:
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in found.metrics.items())
    return (
        f"Version {found.number} of {found.product} is the "
        f"{'latest blessed one' if which == 'latest_blessed' else which}"
        f"{f' ({metrics})' if metrics else ''}"
    )
