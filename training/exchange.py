"""The place through which a step and its workers elsewhere pass data, a model and a result."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.remote import is_url, open_filesystem
from ..data.remote_folders import (
    delete_remote,
    download,
    list_remote,
    read_remote,
    upload,
    write_remote,
)
from ..errors import PenstockError


class Exchange:
    """A folder on a volume that both sides mount, or in an object store.

    Names within it are relative, with `/` between their parts.

    Attributes:
        root: Its path or URL.
        remote: Whether it is in an object store, so that files must be copied to be read.
    """

    def __init__(self, root: str):
        """Find the file system of `root`.

        Raises:
            PenstockError: Its protocol is unknown, or lacks its library.
        """
        self.root = root.rstrip("/").removeprefix("file://")
        self.remote = is_url(self.root)
        if self.remote:
            open_filesystem(self.root)

    def put(self, place: Path, name: str) -> None:
        """Copy a file or a folder there."""
        if self.remote:
            upload(place, self._at(name))
            return
        with self._local():
            _copy(place, Path(self._at(name)))

    def get(self, name: str, place: Path) -> None:
        """Copy a file, or a folder's files, from there to `place`, beside what it has."""
        if not self.remote:
            with self._local():
                _copy(Path(self._at(name)), place)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=place.parent) as aside:
            download(self._at(name), Path(aside) / "whole")
            _copy(Path(aside) / "whole", place, os.replace)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file or folder."""
        return bool(list_remote(self._at(name))) if self.remote else Path(self._at(name)).exists()

    def names(self) -> list[str]:
        """Return the names of all files."""
        if self.remote:
            return list(list_remote(self.root))
        root = Path(self.root)
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())

    def read_text(self, name: str) -> str:
        """Return a text file's content."""
        if self.remote:
            return read_remote(self._at(name)).decode("utf-8")
        with self._local():
            return Path(self._at(name)).read_text(encoding="utf-8")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file; it is whole or not there."""
        if self.remote:
            write_remote(self._at(name), text.encode())
            return
        with self._local():
            draft = Path(f"{self._at(name)}.tmp")
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._at(name))

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if self.remote:
            delete_remote(self.root)
        elif Path(self.root).exists():
            with self._local():
                shutil.rmtree(self.root)

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def _local(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PenstockError(
                f"{self.root} cannot be used ({reason}); check that it exists and may be written "
                "to."
            ) from error


def _copy(source: Path, target: Path, copy: Callable[..., Any] = shutil.copyfile) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        copy(source, target)
    else:
        shutil.copytree(source, target, copy_function=copy, dirs_exist_ok=True)
