"""Where finished shards outlive a step that is killed."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import PenstockError
from .inference import files_of

LOCK = "lock"


@contextmanager
def checkpoint(folder: str, key: str) -> Iterator[Path | None]:
    """Yield the place for finished shards, held by this process alone; None without a folder.

    When the block ends without an error, the place is gone: its shards are in the output. When it
    raises, or the process dies, they stay.

    Args:
        folder: Any number of different predictions may share it; nowhere when empty.
        key: What finished shards have in common: another key is another place.

    Raises:
        PenstockError: The folder cannot be written to, or another process is at work there.
    """
    if not folder.strip():
        yield None
        return
    place = Path(folder).expanduser() / key[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / LOCK).open("a")
    except OSError as error:
        raise PenstockError(
            f"checkpoint_dir {folder!r} cannot be written to ({error.strerror}); give a folder "
            "that can, on a file system that outlives the step."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PenstockError(
                f"Another process writes the same predictions to checkpoint_dir {folder!r}; wait "
                "until it has ended, or give another folder."
            ) from error
        yield place
        shutil.rmtree(place)


def forget_broken(answers: Path, place: Path) -> None:
    """Remove the answers about shards that are not as they say, as after a loss of power."""
    for file in answers.glob("*.json"):
        try:
            answer = json.loads(file.read_text(encoding="utf-8"))
            whole = all(
                (place / path).stat().st_size == size for path, size in files_of(answer).items()
            )
        except (ValueError, KeyError, OSError):
            whole = False
        if not whole:
            file.unlink()
