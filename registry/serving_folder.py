"""Model versions in a folder as TensorFlow Serving expects them: `<destination>/<number>/`.

TensorFlow Serving takes folders whose names are whole numbers and ignores the rest, so everything
of ours lies in the hidden folder `.penstock`: the lock, the copy while it is being made, and for
each version a record of its content digest. Warm-up requests that are put into a version do not
count into it: the content is the model.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.digest import digest_path
from ..errors import PenstockError
from ..evaluation.infra_blessing import WARMUP_FILE

HIDDEN = ".penstock"
# Where TensorFlow Serving looks for requests to play before a version answers.
WARMUP = f"assets.extra/{WARMUP_FILE}"


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
        if holds(destination / str(version), digest):
            if recorded is None:
                _record(destination, version, digest)
            return version
    return None


def holds(folder: Path, digest: str) -> bool:
    """Tell whether the content of a version has `digest`, with warm-up requests of ours or not."""
    added = (folder / WARMUP).is_file() and digest_path(folder, leave_out={WARMUP}) == digest
    return added or digest_path(folder) == digest


@contextmanager
def staged(
    destination: Path,
    content: Path,
    digest: str,
    *,
    warmup: Path | None = None,
    linked: bool = False,
) -> Iterator[Path]:
    """Copy the folder `content` aside, flush it and verify it; `publish` makes it a version.

    To be called with the lock held. What is not published is gone when the block ends.

    Args:
        destination: The folder of versions.
        content: What to copy.
        digest: Of the content, which the copy must have.
        warmup: Warm-up requests to put in, for TensorFlow Serving to play before the version
            answers; what the content has of its own stays.
        linked: Link the files instead of copying them: for content of the same destination, where
            it takes no time and no space.

    Raises:
        PenstockError: The copy could not be written, or is not equal to `content`.
    """
    incoming = destination / HIDDEN / "incoming"
    # The lock is ours, so what lies there was left by a process that died.
    shutil.rmtree(incoming, ignore_errors=True)
    work = incoming / uuid.uuid4().hex
    try:
        try:
            incoming.mkdir()
            shutil.copytree(content, work, copy_function=os.link if linked else shutil.copy2)
            copied = holds(work, digest)
            if warmup is not None and not (work / WARMUP).exists():
                (work / WARMUP).parent.mkdir(exist_ok=True)
                shutil.copyfile(warmup, work / WARMUP)
            _flush(work)
        except (OSError, shutil.Error) as error:
            raise _not_pushed(destination, error) from error
        if not copied:
            raise PenstockError(
                f"The copy of {content} on its way to {destination} differs from the original; "
                "check the disk and push again."
            )
        yield work
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def next_version(destination: Path) -> int:
    """Return the number above all that were ever used; to be called with the lock held."""
    number = max([0, *versions(destination), *_recorded_versions(destination)]) + 1
    while os.path.lexists(destination / str(number)):
        number += 1
    return number


def publish(destination: Path, work: Path, digest: str) -> int:
    """Make what was staged the next version, in one rename, and return its number.

    Raises:
        PenstockError: The disk takes no more; there is no new version.
    """
    number = next_version(destination)
    try:
        # Recorded first: a full disk must not strike after the version is visible.
        _record(destination, number, digest)
        work.rename(destination / str(number))
        _flush_entry(destination)
    except OSError as error:
        raise _not_pushed(destination, error) from error
    return number


def serve_again(destination: Path, digest: str, before: Callable[[Path], None]) -> int | None:
    """Make an earlier version the newest again, by links under a new number.

    TensorFlow Serving loads the highest number, so going back means a higher one with the earlier
    content. To be called with the lock held.

    Args:
        destination: The folder of versions.
        digest: Of the content to serve.
        before: Called with the version's folder when only the rename is left to do; what it raises
            stops the switch.

    Returns:
        The version that is newest now; None if no version has this content.
    """
    there = version_with(destination, digest)
    if there is None:
        return None
    if there == versions(destination)[-1]:
        before(destination / str(there))
        return there
    with staged(destination, destination / str(there), digest, linked=True) as work:
        before(destination / str(next_version(destination)))
        return publish(destination, work, digest)


def remove_old(destination: Path, keep: int, needed: Container[str] = ()) -> list[int]:
    """Remove all versions but the newest; to be called with the lock held.

    Args:
        destination: The folder of versions.
        keep: So many stay, at least 1.
        needed: Digests of content that stays too, such as what a registry's aliases point to.

    Returns:
        The numbers of the removed ones.
    """
    removed = []
    for number in versions(destination)[:-keep]:
        digest = _recorded(destination, number)
        if digest is None or digest in needed:
            continue
        # Out of sight in one rename, so that nobody loads half a version.
        gone = destination / HIDDEN / f"removed-{uuid.uuid4().hex}"
        (destination / str(number)).rename(gone)
        shutil.rmtree(gone)
        removed.append(number)
    return removed


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


def _not_pushed(destination: Path, error: OSError) -> PenstockError:
    # shutil.Error holds a list of (source, target, reason) in place of an errno.
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        reason = str(error.args[0][0][2])
    else:
        reason = error.strerror or str(error)
    return PenstockError(
        f"The model could not be copied to {destination} ({reason}); nothing was pushed, so mend "
        "that and push again."
    )
