"""What the runs that are to be kept do not need, and how it is removed."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ..errors import PenstockError
from . import reading, recording
from .connected import Connected
from .models import ArtifactRow, AssociationRow, EventRow, RunRow
from .stores import Left, ObjectStores, find_left, inside
from .values import Artifact, ArtifactState, Run, RunState


@dataclass(frozen=True)
class Keep:
    """Which runs are kept: all that any of these says. A run that is at work is always kept.

    Attributes:
        last: So many of each pipeline, the newest.
        runs: These, by id.
        newer_than: All that started at this time or later.
        protected: Artifacts that are needed elsewhere, by digest or URI, such as the models that a
            registry's aliases point to.
    """

    last: int = 0
    runs: frozenset[str] = frozenset()
    newer_than: datetime | None = None
    protected: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Garbage:
    """What is not needed.

    Attributes:
        artifacts: Artifacts whose files can be deleted.
        folders: Folders of runs that are not kept and hold nothing that is needed.
        left: The same in object stores, and what killed uploads left there.
        outside: Artifacts that are not needed either, but no run made them below the root.
        kept: The runs that are kept, the newest first.
        dropped: The others.
    """

    artifacts: tuple[Artifact, ...]
    folders: tuple[Path, ...]
    left: tuple[Left, ...]
    outside: tuple[Artifact, ...]
    kept: tuple[Run, ...]
    dropped: tuple[Run, ...]

    def size(self, stores: ObjectStores | None = None) -> int:
        """Return how many bytes the files take; `stores` is what they were found with."""
        seen: set[tuple[int, int]] = set()
        uris = [artifact.uri for artifact in self.artifacts]
        local = [*(Path(uri) for uri in uris if uri.startswith("/")), *self.folders]
        remote = {left.url for left in self.left}
        remote |= {uri for uri in uris if "://" in uri and not inside(uri, remote)}
        far = sum(sum(stores.sizes(url).values()) for url in remote) if stores else 0
        return far + sum(_bytes(place, seen) for place in local)


def find_garbage(
    store: Connected, root: str | Path, keep: Keep, stores: ObjectStores | None = None
) -> Garbage:
    """Return what the runs to be kept do not need, and change nothing.

    An artifact is needed when a kept run made or used it, also when it came to that run from the
    cache; when it is protected; or when its files hold or belong to those of one that is needed.
    What does not lie in the folder of a run, such as imported data, is never garbage.

    Args:
        store: Which runs and artifacts there are.
        root: Only what lies below this folder can be garbage, and what runs that lie there keep
            in object stores.
        keep: Which runs are kept.
        stores: The object stores; None leaves alone what lies there.

    Raises:
        PenstockError: A run to be kept is unknown, or an object store cannot be read.
    """
    with store.reading() as session:
        return _find(session, _inside(root), keep, stores)


def delete_garbage(
    store: Connected, root: str | Path, keep: Keep, stores: ObjectStores | None = None
) -> Garbage:
    """Delete what `find_garbage` finds, and return it.

    First it is marked, in one transaction, so that no run begins to use it; then the files go;
    then it is recorded as deleted. After a kill at any moment the next call finishes the work.

    Raises:
        PenstockError: A run to be kept is unknown, or a file cannot be deleted.
    """
    below = _inside(root)
    with store.writing() as session:
        recording.linking(session, alone=True)
        garbage = _find(session, below, keep, stores)
        _mark(session, garbage.artifacts, ArtifactState.MARKED_FOR_DELETION)
    for artifact in garbage.artifacts:
        if stores and "://" in artifact.uri:
            stores.delete(artifact.uri)
        else:
            _delete(Path(artifact.uri))
        with store.writing() as session:
            _mark(session, [artifact], ArtifactState.DELETED)
    for folder in garbage.folders:
        if not _runs_again(store, folder=str(folder)):
            _delete(folder)
    for left in garbage.left:
        if stores and not _runs_again(store, run_id=left.run_id):
            stores.delete(left.url)
    return garbage


def _runs_again(store: Connected, **which: str) -> bool:
    with store.reading() as session:
        running = select(RunRow.run_id).filter_by(state=RunState.RUNNING.value, **which)
        return session.scalars(running).first() is not None


@dataclass
class _Places:
    """Paths that are needed, quick to ask about."""

    paths: set[Path] = field(default_factory=set)
    above: set[Path] = field(default_factory=set)

    def add(self, path: Path) -> None:
        self.paths.add(path)
        self.above.update(path.parents)

    def touch(self, path: Path) -> bool:
        return (
            path in self.paths or path in self.above or any(p in self.paths for p in path.parents)
        )


class _Real:
    """Paths without links, as os.path.realpath returns them; each folder is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, Path] = {"/": Path("/")}

    def __call__(self, place: str) -> Path:
        found = self._known.get(place)
        if found is None:
            above, name = os.path.split(place)
            plain = name not in ("", ".", "..") and not os.path.islink(place)  # noqa: PTH114
            found = self(above) / name if plain else Path(os.path.realpath(place))
            self._known[place] = found
        return found


def _find(session: Session, root: Path, keep: Keep, stores: ObjectStores | None) -> Garbage:
    kept, dropped = _divide(reading.runs(session), keep)
    needed_ids = _used(session, [run.id for run in kept])
    needed, real = _Places(), _Real()
    made_in = {real(run.folder) for run in (*kept, *dropped)}
    made_in = {folder for folder in made_in if root in folder.parents}
    runs = (*kept, *dropped) if stores else ()
    shared = [run for run in runs if run.artifacts and root in real(run.folder).parents]
    made_in |= {Path(run.artifacts) for run in shared}
    unneeded: dict[int, Path] = {}
    outside: list[int] = []
    uris: list[str] = []
    gone = ArtifactState.DELETED.value
    columns = (ArtifactRow.id, ArtifactRow.uri, ArtifactRow.digest)
    for row in session.execute(select(*columns).where(ArtifactRow.state != gone)):
        uris.append(row.uri)
        # A URL as a path: what it lies in is found alike.
        place = real(row.uri) if row.uri.startswith("/") else Path(row.uri)
        if row.id in needed_ids or {row.digest, row.uri} & keep.protected:
            needed.add(place)
        else:
            unneeded[row.id] = place
    deletable = []
    for artifact_id, place in unneeded.items():
        if made_in.isdisjoint(place.parents):
            outside.append(artifact_id)
        elif not needed.touch(place):
            deletable.append(artifact_id)
    for run in kept:
        needed.add(real(run.folder))
    removable = [
        Path(run.folder)
        for run in dropped
        if root in real(run.folder).parents
        and not needed.touch(real(run.folder))
        and Path(run.folder).is_dir()
    ]
    unused = {run.id for run in dropped if not needed.touch(Path(run.artifacts))}
    known = reading.artifacts(session, [*deletable, *outside])
    return Garbage(
        artifacts=tuple(known[id] for id in deletable),
        folders=tuple(removable),
        left=tuple(find_left(shared, unused, uris, stores)) if stores else (),
        outside=tuple(known[id] for id in outside),
        kept=tuple(kept),
        dropped=tuple(dropped),
    )


def _divide(runs: list[Run], keep: Keep) -> tuple[list[Run], list[Run]]:
    if unknown := keep.runs - {run.id for run in runs}:
        raise PenstockError(
            f"The metadata store knows no run {min(unknown)}; see `penstock runs list`."
        )
    so_far: dict[str, int] = defaultdict(int)
    kept: list[Run] = []
    dropped: list[Run] = []
    for run in runs:  # the newest first
        so_far[run.pipeline] += 1
        stays = (
            so_far[run.pipeline] <= keep.last
            or run.id in keep.runs
            or (keep.newer_than is not None and run.started >= keep.newer_than)
            or (run.state is RunState.RUNNING and not run.lost)
        )
        (kept if stays else dropped).append(run)
    return kept, dropped


def _used(session: Session, run_ids: list[str]) -> set[int]:
    return {
        artifact_id
        for start in range(0, len(run_ids), reading.CHUNK)
        for artifact_id in session.scalars(
            select(EventRow.artifact_id)
            .join(AssociationRow, AssociationRow.execution_id == EventRow.execution_id)
            .join(RunRow, RunRow.context_id == AssociationRow.context_id)
            .where(RunRow.run_id.in_(run_ids[start : start + reading.CHUNK]))
            .distinct()
        )
    }


def _mark(session: Session, artifacts: Iterable[Artifact], state: ArtifactState) -> None:
    for chunk in reading.chunks(artifact.id for artifact in artifacts if artifact.id is not None):
        session.execute(
            update(ArtifactRow)
            .where(ArtifactRow.id.in_(chunk))
            .values(state=state.value, last_update_time_since_epoch=reading.now_ms(session))
        )


def _inside(root: str | Path) -> Path:
    folder = Path(root)
    if not folder.is_dir():
        raise PenstockError(f"There is no folder {root}; say where runs lie with --root.")
    return folder.resolve()


def _delete(place: Path) -> None:
    """Delete a file or a folder. One that is not there is no error: an earlier try got so far."""
    try:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise PenstockError(
            f"{error.filename or place} cannot be deleted: {error.strerror}; put that right and "
            "run `penstock gc` again to finish."
        ) from error


def _bytes(place: Path, seen: set[tuple[int, int]]) -> int:
    """Return the bytes of the files at a place that were not seen before."""
    total = 0
    for file in _files(place):
        stat = file.lstat()
        if (stat.st_dev, stat.st_ino) not in seen:
            seen.add((stat.st_dev, stat.st_ino))
            total += stat.st_size
    return total


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir() and not place.is_symlink():
        yield from (path for path in place.rglob("*") if not path.is_dir())
    elif place.exists():
        yield place
