"""The champion and the folder it is served from change together, under the folder's lock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..errors import PenstockError
from .connection import Registry, check_product
from .deployments import Entry, deployments, entries
from .promotion import earlier_champion, promote, roll_back
from .serving_folder import HIDDEN, locked, next_version, publish, serve_again, staged
from .versions import fetch_version, version


def promote_served(
    registry: Registry, product: str, number: int, destination: str | None, **how: Any
) -> Entry:
    """Make a version the champion, and the newest version of the folder it is served from.

    Args:
        registry: The registry.
        product: The product.
        number: The version.
        destination: The folder that TensorFlow Serving watches; where the champion is served from
            when None, if that is a folder; nowhere when empty.
        **how: As `promote` takes it, but for `where`.

    Raises:
        PenstockError: As by `promote`; or the folder cannot be written to. Nothing has changed.
    """
    found = version(registry, product, number)
    folder = _folder(registry, product, destination)
    if folder is None:
        return promote(registry, product, number, **how)
    written: list[Entry] = []

    def name_champion(where: Path) -> None:
        written.append(promote(registry, product, number, where=str(where), **how))

    with locked(folder):
        if serve_again(folder, found.digest, name_champion) is None:
            with tempfile.TemporaryDirectory() as work:
                fetch_version(registry, found, Path(work) / "model")
                content = Path(work) / "model" / "serving"
                with staged(folder, content, found.digest) as incoming:
                    name_champion(folder / str(next_version(folder)))
                    publish(folder, incoming, found.digest)
    return written[0]


def roll_back_served(
    registry: Registry,
    product: str,
    number: int | None = None,
    destination: str | None = None,
    **how: Any,
) -> Entry:
    """Make an earlier champion the champion again, and what is served: by links, in one rename.

    Args:
        registry: The registry.
        product: The product.
        number: Which version; the one before when None.
        destination: As in `promote_served`.
        **how: As `roll_back` takes it, but for `where`.

    Raises:
        PenstockError: As by `roll_back`; or the folder does not hold the version any more.
    """
    folder = _folder(registry, product, destination)
    if folder is None:
        return roll_back(registry, product, number, **how)
    with locked(folder):
        found, _ = earlier_champion(registry, product, number)
        written: list[Entry] = []

        def name_champion(where: Path) -> None:
            written.append(roll_back(registry, product, found.number, where=str(where), **how))

        if serve_again(folder, found.digest, name_champion) is None:
            raise PenstockError(
                f"{folder} does not hold version {found.number} of {product} any more; promote "
                "that version to it instead, which copies it from the registry."
            )
    return written[0]


def _folder(registry: Registry, product: str, destination: str | None) -> Path | None:
    """Return the folder of versions that is meant; None for none."""
    if destination is not None:
        return Path(destination).expanduser().absolute() if destination.strip() else None
    live = deployments(entries(registry, check_product(product)))
    if not live or not live[-1].entry.where.startswith("/"):
        return None
    folder = Path(live[-1].entry.where).parent
    return folder if (folder / HIDDEN).is_dir() else None
