"""The champion and where it is served from change together: a folder, a bucket or a cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..data.remote import is_url
from ..errors import PenstockError
from . import serving_bucket
from .agreement import settle_bucket, settle_service
from .connection import Registry, check_product
from .deployments import Entry, deployments, entries
from .inference_service import VERSION, Service, read_where
from .kserve import apply, manifest_of, version_at
from .object_store import ServingBucket, open_bucket
from .promotion import earlier_champion, promote, roll_back, withdraw
from .serving_folder import HIDDEN, locked, next_version, publish, serve_again, staged
from .versions import Version, fetch_version, version

Place = Path | ServingBucket | Service
Name = Callable[[str], Entry]


def promote_served(
    registry: Registry, product: str, number: int, destination: str | None, **how: Any
) -> Entry:
    """Make a version the champion, and what is served.

    Args:
        registry: The registry.
        product: The product.
        number: The version.
        destination: The folder or the URL that TensorFlow Serving watches; where the champion is
            served from when None; nowhere when empty.
        **how: As `promote` takes it, but for `where`.

    Raises:
        PenstockError: As by `promote`; or where it is served from cannot be written to. Nothing has
            changed.
    """
    found = version(registry, product, number)

    def name(where: str) -> Entry:
        return promote(registry, product, number, where=where, **how)

    place = place_of(registry, product, destination)
    with locked(place) if isinstance(place, Path) else nullcontext():
        return _switch(registry, found, place, name, fetched=True)


def roll_back_served(
    registry: Registry,
    product: str,
    number: int | None = None,
    destination: str | None = None,
    **how: Any,
) -> Entry:
    """Make an earlier champion the champion again, and what is served: nothing is copied from here.

    A folder links it under a new number, an object store copies it by itself, and an
    InferenceService is pointed to it.

    Args:
        registry: The registry.
        product: The product.
        number: Which version; the one before when None.
        destination: As in `promote_served`.
        **how: As `roll_back` takes it, but for `where`.

    Raises:
        PenstockError: As by `roll_back`; or the version is not there any more.
    """
    place = place_of(registry, product, destination)
    with locked(place) if isinstance(place, Path) else nullcontext():
        found, _ = earlier_champion(registry, product, number)

        def name(where: str) -> Entry:
            return roll_back(registry, product, found.number, where=where, **how)

        return _switch(registry, found, place, name, fetched=False)


def withdraw_served(registry: Registry, product: str, **how: Any) -> Entry:
    """End the trial of the challenger; an InferenceService gives all traffic to the champion.

    Raises:
        PenstockError: As by `withdraw`; or the cluster refuses.
    """
    entry = withdraw(registry, product, **how)
    place = place_of(registry, product, None)
    if isinstance(place, Service):
        settle_service(registry, product, place)
    return entry


def place_of(registry: Registry, product: str, destination: str | None) -> Place | None:
    """Return where a product is served from: what is asked for, or the champion's; None for none.

    Raises:
        PenstockError: The URL's protocol is unknown or lacks its library.
    """
    if destination is not None:
        text = destination.strip()
        if is_url(text):
            return open_bucket(text)
        return Path(text).expanduser().absolute() if text else None
    live = deployments(entries(registry, check_product(product)))
    where = live[-1].entry.where if live else ""
    if (service := read_where(where)) is not None:
        return service
    if is_url(where):
        return open_bucket(where.rpartition("/")[0])
    folder = Path(where).parent
    return folder if where.startswith("/") and (folder / HIDDEN).is_dir() else None


def _switch(
    registry: Registry, found: Version, place: Place | None, name: Name, *, fetched: bool
) -> Entry:
    """Have the place serve a version, naming it champion when only the switch is left to do."""
    if place is None:
        return name("")
    written: list[Entry] = []

    def before(where: str | Path) -> None:
        written.append(name(str(where)))

    @contextmanager
    def content() -> Iterator[Path]:
        if not fetched:
            raise PenstockError(
                f"{_words(place)} does not hold version {found.number} of {found.product} any "
                "more; promote that version to it instead, which copies it from the registry."
            )
        with tempfile.TemporaryDirectory() as work:
            fetch_version(registry, found, Path(work) / "model")
            yield Path(work) / "model" / "serving"

    if isinstance(place, Path):
        if serve_again(place, found.digest, before) is None:
            with content() as files, staged(place, files, found.digest) as incoming:
                before(place / str(next_version(place)))
                publish(place, incoming, found.digest)
    elif isinstance(place, ServingBucket):
        if serving_bucket.serve_again(place, found.digest, before) is None:
            with content() as files:
                serving_bucket.publish(place, files, found.digest, before=before)
        settle_bucket(registry, found.product, place, by=written[0].by)
    else:
        if version_at(place, found) is None:
            with content() as files:
                serving_bucket.publish(open_bucket(place.url), files, found.digest, for_kserve=True)
        wanted = manifest_of(place, found)
        # Whether the cluster takes it shows before anybody is told that it is champion.
        apply(wanted, dry_run=True)
        before(place.where(int(wanted["metadata"]["annotations"][VERSION])))
        settle_service(registry, found.product, place)
    return written[0]


def _words(place: Place) -> str:
    return str(place) if isinstance(place, Path) else place.url
