"""Model versions in a folder as TensorFlow Serving expects them: `<destination>/<number>/`.

TensorFlow Serving takes folders whose names are whole numbers and ignores the rest, so everything
of ours lies in the hidden folder `.penstock`: the lock, the copy while it is being made, and for
each version a record of its content digest.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...data.digest import digest_path
from ...errors import PenstockError

HIDDEN = ".penstock"


@contextmanager
def locked(destination: Path) -> Iterator[None]:
    """Hold the destination's lock, which the kernel gives back when its holder dies.

    Raises:
        PenstockError: The destination cannot be made or written to.
    """
    try:
        (destination / HIDDEN).mkdir(parents=True, exist_ok=True)
        lock = (destination / HIDDEN / "lock").open("a")
    except OSError as error:
        raise PenstockError(
            f"The destination {destination} cannot be written to ({error.strerror}); give a "
            "folder that can."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def versions(destination: Path) -> list[int]:
    """Return the numbers of the versions that TensorFlow Serving would see, ascending."""
    return sorted(
        int(entry.name)
        for entry in destination.iterdir()
        if _is_number(entry.name) and entry.is_dir()
    )


def version_with(destination: Path, digest: str) -> int | None:
    """Return the newest version whose content has `digest`; None if there is none.

    The records save reading every version; the one found is read, so that a version that was
    changed after it was pushed does not count. To be called with the lock held.
    """
    for version in reversed(versions(destination)):
        recorded = _recorded(destination, version)
        if recorded not in (digest, None):
            continue
        found = digest_path(destination / str(version))
        if recorded is None:
            _record(destination, version, found)
        if found == digest:
            return version
    return None


def add_version(destination: Path, content: Path, digest: str) -> int:
    """Copy the folder `content` to the next version number; it appears whole or not at all.

    To be called with the lock held. The number is above every one that was ever used here.

    Raises:
        PenstockError: The copy could not be written, or is not equal to `content`.
    """
    incoming = destination / HIDDEN / "incoming"
    # The lock is ours, so what lies there was left by a process that died.
    shutil.rmtree(incoming, ignore_errors=True)
    work = incoming / uuid.uuid4().hex
    try:
        incoming.mkdir()
        shutil.copytree(content, work)
        _flush(work)
        if digest_path(work) != digest:
            raise PenstockError(
                f"The copy of {content} on its way to {destination} differs from the original; "
                "check the disk and push again."
            )
        return _appear(destination, work, digest)
    except (OSError, shutil.Error) as error:
        raise PenstockError(
            f"The model could not be copied to {destination} ({_reason(error)}); nothing was "
            "pushed, so mend that and push again."
        ) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _appear(destination: Path, work: Path, digest: str) -> int:
    """Rename `work` to the first free number above all used ones and return it."""
    version = max([0, *versions(destination), *_recorded_versions(destination)]) + 1
    while os.path.lexists(destination / str(version)):
        version += 1
    # Recorded first: a full disk must not strike after the version is visible.
    _record(destination, version, digest)
    work.rename(destination / str(version))
    _flush_entry(destination)
    return version


def _recorded_versions(destination: Path) -> list[int]:
    records = destination / HIDDEN / "versions"
    if not records.is_dir():
        return []
    return [int(file.stem) for file in records.glob("*.json") if _is_number(file.stem)]


def _recorded(destination: Path, version: int) -> str | None:
    file = destination / HIDDEN / "versions" / f"{version}.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["content_digest"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # A pusher that died before it wrote the record, or a version made by another tool.
        return None


def _record(destination: Path, version: int, digest: str) -> None:
    records = destination / HIDDEN / "versions"
    records.mkdir(exist_ok=True)
    work = records / f".{version}.tmp"
    work.write_text(json.dumps({"version": version, "content_digest": digest}) + "\n")
    work.replace(records / f"{version}.json")


def _flush(folder: Path) -> None:
    """Have the disk hold every file and folder below, so that a power cut tears nothing."""
    for root, _, files in os.walk(folder):
        for name in files:
            _flush_entry(Path(root) / name)
        _flush_entry(Path(root))


def _flush_entry(path: Path) -> None:
    entry = os.open(path, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and name == str(int(name))


def _reason(error: OSError) -> str:
    # shutil.Error holds a list of (source, target, reason) in place of an errno.
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return str(error.args[0][0][2])
    return error.strerror or str(error)
