"""Whole folders and single files in object stores, by URL: upload, download, list, delete.

An object store knows no folders and no rename: what belongs together appears file by file. A reader
can tell a whole folder from one that is still being written by a file that is uploaded last.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PenstockError
from .digest import digest_bytes
from .output import new_folder
from .remote import open_filesystem, unreachable

AT_ONCE = 8
# By default these would hold half a gigabyte of each large file in memory.
IN_PARTS = {
    "s3": {"chunksize": 8 << 20, "max_concurrency": 2},
    "gs": {"chunksize": 8 << 20},
}
# What object stores say of an object that changes with its content, the surest first.
VERSIONS = ("ETag", "md5Hash", "etag", "generation", "LastModified", "mtime", "created")


@dataclass(frozen=True)
class RemoteFile:
    """A file in an object store.

    Attributes:
        size: In bytes.
        version: What the store says of it that changes with its content, such as S3's ETag; empty
            when it says nothing of the kind.
    """

    size: int
    version: str


def list_remote(url: str) -> dict[str, RemoteFile]:
    """Return the files below a URL by their names relative to it, sorted; of a file, only `""`.

    Args:
        url: A folder or a file. Nothing being there gives an empty dictionary.

    Raises:
        PenstockError: The store cannot be read, or a name would lead out of the folder.
    """
    filesystem, path = open_filesystem(url)
    path = path.rstrip("/")
    # fsspec keeps listings for the life of the process: a file written since would not be seen.
    filesystem.invalidate_cache()
    try:
        found = filesystem.find(path, detail=True)
    except FileNotFoundError:
        found = {}
    except Exception as error:
        raise unreachable(url, error) from error
    files = {}
    for place, info in sorted(found.items()):
        name = place[len(path) + 1 :]
        if info["type"] != "file" or place.endswith("/"):
            continue
        if name and not _stays_inside(name):
            raise PenstockError(
                f"{url} holds an object named {name!r}, which would lie outside of a folder that "
                "it is downloaded to; rename or delete the object."
            )
        version = next((str(info[key]) for key in VERSIONS if info.get(key)), "")
        files[name] = RemoteFile(int(info["size"]), version)
    return files


def upload(place: Path, url: str, *, last: str = "") -> None:
    """Copy a file or a folder to a URL; what lies there before is deleted first.

    Args:
        place: The file or folder. Links are followed; empty folders are left out.
        url: Where it shall lie.
        last: The name, relative to the folder, of the file that is uploaded when all others are
            there: one that a reader waits for. Empty for no such file.

    Raises:
        PenstockError: The store cannot be written to.
        FileNotFoundError: `place` or `last` is not there.
    """
    names = _names(place)
    if last:
        names.remove(last) if last in names else _missing(place / last)
    delete_remote(url)
    filesystem, path = open_filesystem(url)

    options = IN_PARTS.get(url.partition("://")[0], {})

    def put(name: str) -> None:
        filesystem.put_file(str(place / name), _joined(path, name), **options)

    _side_by_side(put, names, url, "written")
    _side_by_side(put, [last] if last else [], url, "written")


def download(url: str, place: Path) -> None:
    """Copy the file or folder at a URL to `place`, whole or not at all.

    Args:
        url: A file or a folder.
        place: Where it shall lie. What lies there already is replaced.

    Raises:
        PenstockError: Nothing lies at the URL, or it cannot be read.
    """
    files = list_remote(url)
    if not files:
        raise PenstockError(f"Nothing lies at {url}; check its name, or make it first.")
    if set(files) == {""}:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            _get(url, files, part)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    else:
        with new_folder(place) as work:
            _get(url, files, work)


def _get(url: str, files: Mapping[str, RemoteFile], place: Path) -> None:
    filesystem, path = open_filesystem(url)
    for folder in {(place / name).parent for name in files}:
        folder.mkdir(parents=True, exist_ok=True)

    def get(name: str) -> None:
        filesystem.get_file(_joined(path, name), str(place / name))

    _side_by_side(get, files, url, "read")
    for name, expected in files.items():
        if (place / name).stat().st_size != expected.size:
            raise PenstockError(
                f"{_joined(url, name)} changed while it was read; try again once nothing writes "
                "to it."
            )


def delete_remote(url: str) -> None:
    """Delete the file or folder at a URL. Nothing being there is no error.

    Raises:
        PenstockError: The store cannot be written to.
    """
    files = list_remote(url)
    filesystem, path = open_filesystem(url)
    _side_by_side(lambda name: filesystem.rm_file(_joined(path, name)), files, url, "written")


def fingerprint(files: Mapping[str, RemoteFile]) -> str | None:
    """Return a digest of what a listing says; None when it does not say enough.

    Two listings of the same store with one fingerprint are of the same content. The same content
    may have several.
    """
    if not all(file.version for file in files.values()):
        return None
    listed = [[name, file.size, file.version] for name, file in sorted(files.items())]
    return digest_bytes(json.dumps(listed).encode())


def read_remote_json(url: str) -> Any:
    """Return what a JSON file holds; None when there is no such file, or it is not JSON.

    Raises:
        PenstockError: It cannot be read.
    """
    try:
        return json.loads(read_remote(url))
    except json.JSONDecodeError:
        return None
    except PenstockError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_remote(url: str) -> bytes:
    """Return one object's content.

    Raises:
        PenstockError: It is not there, or cannot be read.
    """
    filesystem, path = open_filesystem(url)
    try:
        return bytes(filesystem.cat_file(path))
    except Exception as error:
        raise unreachable(url, error) from error


def write_remote(url: str, content: bytes) -> None:
    """Write one object; it is whole or not there.

    Raises:
        PenstockError: The store cannot be written to.
    """
    filesystem, path = open_filesystem(url)
    try:
        filesystem.pipe_file(path, content)
    except Exception as error:
        raise unreachable(url, error, "written") from error


def _side_by_side(work: Callable[[str], None], names: Iterable[str], url: str, done: str) -> None:
    """Do something with each file; after an error no further one is begun.

    fsspec's own calls on lists take `[` and `*` in names for wildcards, and go on after an error.
    """
    try:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(work, names))
    except Exception as error:
        raise unreachable(url, error, done) from error


def _names(place: Path) -> list[str]:
    if place.is_file():
        return [""]
    if not place.is_dir():
        _missing(place)
    return sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())


def _missing(place: Path) -> None:
    raise FileNotFoundError(2, "there is nothing to upload", str(place))


def _joined(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}" if name else path.rstrip("/")


def _stays_inside(name: str) -> bool:
    return not name.startswith("/") and not {"", ".", ".."} & set(name.split("/"))
