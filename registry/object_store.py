"""Files in an object store: named, written in blocks, read back, and made on a condition."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ..data.remote import open_filesystem, unreachable
from ..errors import PenstockError

_CHUNK = 8 << 20


@dataclass(frozen=True)
class ServingBucket:
    """A place for versions in an object store.

    Attributes:
        url: Where, without a slash at the end.
        filesystem: fsspec's.
        path: Where, for the file system.
    """

    url: str
    filesystem: Any
    path: str


def open_bucket(url: str) -> ServingBucket:
    """Open a place for versions by its URL, such as `s3://models/flights`.

    Raises:
        PenstockError: The protocol is unknown or lacks its library, or it names no bucket.
    """
    protocol, _, rest = url.strip().partition("://")
    if protocol == "file":
        raise PenstockError(f"{url} is a folder; give its path, without file://.")
    if not rest.strip("/"):
        raise PenstockError(f"{url!r} names no bucket; give one, such as s3://models/flights.")
    whole = f"{protocol}://{rest.rstrip('/')}"
    filesystem, path = open_filesystem(whole)
    return ServingBucket(whole, filesystem, path.rstrip("/"))


@contextmanager
def writing(bucket: ServingBucket) -> Iterator[None]:
    """Turn what an object store's library raises into a sentence.

    Raises:
        PenstockError: The store could not be written to or read.
    """
    try:
        yield
    except PenstockError:
        raise
    except Exception as error:  # every protocol's library raises errors of its own
        raise unreachable(bucket.url, error, "written") from error


def files(bucket: ServingBucket, folder: str) -> dict[str, int]:
    """Return names and sizes of the files below a folder, as the store has them now."""
    bucket.filesystem.invalidate_cache()
    found = bucket.filesystem.find(folder, detail=True)
    stem = f"{folder.strip('/')}/"  # memory:// has a slash in front of its names
    # Of a folder that goes away meanwhile, s3fs answers with its own name.
    return {
        name.split(stem, 1)[1]: int(info["size"]) for name, info in found.items() if stem in name
    }


def create(bucket: ServingBucket, place: str, content: bytes) -> bool:
    """Make a file if there is none of its name; tell whether it is there by us.

    Args:
        bucket: Where.
        place: The file.
        content: What nobody else writes, such as with a random id in it.

    Raises:
        PenstockError: The store writes over what is there.
    """
    try:
        bucket.filesystem.pipe_file(place, content, mode="create")
    except Exception:
        # It is there, or the answer got lost, or the store failed: looking tells.
        bucket.filesystem.invalidate_cache()
        if not bucket.filesystem.exists(place):
            raise
        return bool(bucket.filesystem.cat_file(place) == content)
    try:
        bucket.filesystem.pipe_file(place, content, mode="create")
    except Exception as error:
        if isinstance(error, FileExistsError) or "condition" in str(error).lower():
            return True
        raise
    raise PenstockError(
        f"The store of {bucket.url} writes over what is there although it is told not to, so two "
        "that push at once could take one number; give a store that honours If-None-Match, such "
        "as S3."
    )


def upload(bucket: ServingBucket, file: Path, place: str) -> None:
    """Write a file in blocks."""
    # In blocks: put_file of some protocols holds half a gigabyte in memory.
    with (
        file.open("rb") as source,
        bucket.filesystem.open(place, "wb", block_size=_CHUNK) as target,
    ):
        while chunk := source.read(_CHUNK):
            target.write(chunk)


def digest_of(bucket: ServingBucket, place: str) -> str:
    """Return `sha256:<hex>` of a file, as it is read back."""
    total = hashlib.sha256()
    with bucket.filesystem.open(place, "rb", block_size=_CHUNK) as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return f"sha256:{total.hexdigest()}"


def clear_old(bucket: ServingBucket, folder: str, age: timedelta) -> None:
    """Remove the files below a folder that were written longer ago than `age`."""
    end = datetime.now(timezone.utc) - age
    for name in files(bucket, folder):
        modified = bucket.filesystem.modified(f"{folder}/{name}")
        if modified.replace(tzinfo=modified.tzinfo or timezone.utc) < end:
            bucket.filesystem.rm_file(f"{folder}/{name}")
