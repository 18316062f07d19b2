"""The place through which a step and its workers elsewhere pass data, a model and a result."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..data.remote import is_url
from ..errors import PenstockError


class Exchange:
    """A folder on a volume that both sides mount, or in an object store.

    Names within it are relative, with `/` between their parts.

    Attributes:
        root: Its path or URL.
    """

    def __init__(self, root: str):
        """Find the file system of `root`.

        Raises:
            PenstockError: Its protocol is unknown, or lacks its library.
        """
        from fsspec.core import url_to_fs

        self.root = root.rstrip("/")
        try:
            self._files, self._path = url_to_fs(self.root)
        except (ValueError, ImportError) as error:
            raise PenstockError(
                f"{root} cannot be reached ({str(error).partition(chr(10))[0]}); check its "
                "protocol, and install what it needs, such as penstock[s3] for s3."
            ) from error
        # What another process wrote since is looked for anew.
        self._files.use_listings_cache = False

    @property
    def remote(self) -> bool:
        """Whether files must be copied to be read."""
        return is_url(self.root)

    def put(self, place: Path, name: str) -> None:
        """Copy a file or a folder there."""
        self._tried(self._put, place, f"{self._path}/{name}")

    def get(self, name: str, place: Path) -> None:
        """Copy a file or a folder from there to `place`, which is not there yet."""
        self._tried(self._get, f"{self._path}/{name}", place)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file or folder."""
        self._files.invalidate_cache()
        return bool(self._tried(self._files.exists, f"{self._path}/{name}"))

    def names(self) -> list[str]:
        """Return the names of all files."""
        self._files.invalidate_cache()
        prefix = len(self._path.rstrip("/")) + 1
        return sorted(found[prefix:] for found in self._tried(self._files.find, self._path))

    def read_text(self, name: str) -> str:
        """Return a text file's content."""
        return str(self._tried(self._files.cat_file, f"{self._path}/{name}").decode("utf-8"))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file; it is whole or not there."""
        path = f"{self._path}/{name}"
        if self.remote:
            self._tried(self._files.pipe_file, path, text.encode())
            return
        draft = Path(f"{path}.tmp")
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._files.invalidate_cache()
        if self._tried(self._files.exists, self._path):
            self._tried(self._files.rm, self._path, recursive=True)

    def _put(self, place: Path, path: str) -> None:
        files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
        for file in files:
            target = path if place.is_file() else f"{path}/{file.relative_to(place).as_posix()}"
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(file), target)

    def _get(self, path: str, place: Path) -> None:
        files = [path] if self._files.isfile(path) else self._files.find(path)
        for file in files:
            target = place if file == path else place / file[len(path) :].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.remote:
                self._files.get_file(file, str(target))
            else:
                shutil.copyfile(file, target)

    def _tried(self, call: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except Exception as error:
            # Every protocol's library raises errors of its own.
            reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
            raise PenstockError(
                f"{self.root} cannot be used ({reason}); check that it exists, that it may be "
                "written to, and that the credentials are in the environment."
            ) from error
