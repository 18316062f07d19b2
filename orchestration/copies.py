"""Copies on this machine of artifacts that lie in object stores, by content, within a bound."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.digest import digest_bytes, digest_path
from ..data.remote_folders import download, fingerprint, list_remote
from ..errors import PenstockError
from .pipeline_root import in_store, stored_digest
from .values import Artifact, Values

KNOWN = "known"
EMPTY = digest_bytes(b"")


@dataclass(frozen=True)
class Copies:
    """A folder of copies. Several threads and processes may use it at once.

    Each copy lies in a folder of its own under the artifact's name. That folder is locked while a
    step uses the copy; those that no step uses go, the one used longest ago first, when all
    together take more than `limit`.

    Attributes:
        folder: Where they lie.
        limit: How many bytes they may take.
    """

    folder: Path
    limit: int

    def digest(self, uri: str) -> str | None:
        """Return the content digest of what lies at a path or a URL of an object store.

        What was not uploaded by a run is downloaded once to be digested.

        Returns:
            None when nothing lies there, or it is a URI of another kind.

        Raises:
            PenstockError: The store cannot be read.
            OSError: A local file cannot be read.
        """
        if not in_store(uri):
            path = Path(uri)
            return digest_path(path) if path.is_absolute() and path.exists() else None
        files = list_remote(uri)
        found = fingerprint(files)
        # A folder without files is known by what its upload recorded alone.
        return stored_digest(uri, found) or (self._known(uri, found) if files else None)

    def damage(self, artifact: Artifact) -> str:
        """Return what is wrong with an artifact recorded earlier; empty when nothing is."""
        now = self.digest(artifact.uri)
        if now == artifact.digest:
            return ""
        return f"{artifact.uri} is gone" if now is None else f"{artifact.uri} was altered"

    @contextmanager
    def held(self, inputs: Values) -> Iterator[Values]:
        """Yield the same inputs with local paths in place of the URLs of object stores.

        Raises:
            PenstockError: An input cannot be downloaded, or is not what was recorded.
        """
        remote = {
            artifact.uri: artifact
            for artifacts in inputs.artifacts.values()
            for artifact in artifacts
            if in_store(artifact.uri)
        }
        with ExitStack() as locks:
            # In one order everywhere, so that two steps never wait for each other.
            local = {uri: self._hold(remote[uri], locks) for uri in sorted(remote)}
            yield Values(
                inputs.parameters,
                {
                    name: [replace(a, uri=str(local.get(a.uri, a.uri))) for a in artifacts]
                    for name, artifacts in inputs.artifacts.items()
                },
            )

    def keep(self, place: Path, uri: str, digest: str) -> None:
        """Take a file or folder that was uploaded to `uri` as its copy; it is moved."""
        home = self._home(uri, digest)
        with _locked(home, fcntl.LOCK_EX):
            copy = home / Path(uri).name
            if not copy.exists():
                shutil.move(place, copy)
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        self._bound()

    def _home(self, uri: str, digest: str) -> Path:
        return self.folder / digest_bytes(f"{digest}/{Path(uri).name}".encode())[7:39]

    def _hold(self, artifact: Artifact, locks: ExitStack) -> Path:
        if artifact.digest is None:
            raise PenstockError(f"Nothing lies at {artifact.uri}; make it, or correct its URI.")
        home = self._home(artifact.uri, artifact.digest)
        copy = home / Path(artifact.uri).name
        while True:
            lock = locks.enter_context(_locked(home, fcntl.LOCK_SH))
            if copy.exists() and digest_path(copy) == artifact.digest:
                os.utime(home)
                self._bound()
                return copy
            fcntl.flock(lock, fcntl.LOCK_UN)
            with _locked(home, fcntl.LOCK_EX):
                self._fill(artifact, copy)

    def _fill(self, artifact: Artifact, copy: Path) -> None:
        if copy.exists() and digest_path(copy) == artifact.digest:
            return
        # Parts of a download that was killed, or a copy that a step wrote to.
        for left in copy.parent.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if artifact.digest == EMPTY and not list_remote(artifact.uri):
            copy.mkdir()
            return
        download(artifact.uri, copy)
        if digest_path(copy) != artifact.digest:
            raise PenstockError(
                f"{artifact.uri} was altered since it was recorded; put back what was there, or "
                "run the step again that made it."
            )

    def _known(self, uri: str, found: str | None) -> str:
        """Return the digest of what nobody told the digest of; by fingerprint if there is one."""
        note = self.folder / KNOWN / (found or "none").removeprefix("sha256:")
        if found and note.exists():
            return note.read_text()
        part = self.folder / f".{uuid.uuid4().hex}" / Path(uri).name
        try:
            download(uri, part)
            digest = digest_path(part)
            self.keep(part, uri, digest)
        finally:
            shutil.rmtree(part.parent, ignore_errors=True)
        if found:
            note.parent.mkdir(parents=True, exist_ok=True)
            draft = note.with_name(uuid.uuid4().hex)
            draft.write_text(digest)
            draft.replace(note)
        return digest

    def _bound(self) -> None:
        """Remove copies that no step uses until the others are within the limit."""
        homes = []
        for home in self.folder.iterdir():
            if home.name != KNOWN and not home.name.startswith("."):
                with suppress(FileNotFoundError):  # another process removes it
                    homes.append((home.stat().st_mtime, home, _bytes(home)))
        total = sum(size for _, _, size in homes)
        for _, home, size in sorted(homes):
            if total <= self.limit:
                return
            try:
                with _locked(home, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    gone = self.folder / f".{uuid.uuid4().hex}"
                    home.rename(gone)
            except BlockingIOError:
                continue
            shutil.rmtree(gone)
            total -= size


@contextmanager
def _locked(home: Path, how: int) -> Iterator[int]:
    """Hold a lock on a folder, which is made if need be, and is still there once it is locked."""
    while True:
        home.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(home, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, how)
            try:
                same = os.path.samestat(os.fstat(lock), home.stat())
            except FileNotFoundError:
                same = False
            if same:
                yield lock
                return
        finally:
            os.close(lock)


def _bytes(place: Path) -> int:
    return sum(file.lstat().st_size for file in place.rglob("*") if not file.is_dir())
