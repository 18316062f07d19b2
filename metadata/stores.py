"""What runs left in object stores that no artifact of theirs accounts for."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from .values import Run, RunState


class ObjectStores(Protocol):
    """What clean-up needs of object stores.

    Attributes:
        own: Endings of names that uploads write beside an artifact.
        kept: Names of files that runs write beside their artifacts.
    """

    own: tuple[str, ...]
    kept: tuple[str, ...]

    def sizes(self, url: str) -> dict[str, int]:
        """Return the bytes of the files below a URL by their names relative to it."""

    def delete(self, url: str) -> None:
        """Delete a file or folder, with what uploads write beside it; none being there is fine."""


@dataclass(frozen=True)
class Left:
    """A file or folder in an object store that nothing needs.

    Attributes:
        run_id: The run that left it.
        url: Where it lies.
    """

    run_id: str
    url: str


def find_left(
    runs: Collection[Run], unused: Collection[str], uris: Collection[str], stores: ObjectStores
) -> Iterator[Left]:
    """Yield what can be deleted of runs' folders in object stores, but for their artifacts.

    Args:
        runs: Those that keep their artifacts in object stores.
        unused: Ids of those of whom nothing is needed: their folders go whole.
        uris: Of all artifacts that have not been deleted.
        stores: The object stores.
    """
    known = set(uris)
    for run in runs:
        if run.id in unused:
            if stores.sizes(run.artifacts):
                yield Left(run.id, run.artifacts)
        elif run.state is not RunState.RUNNING or run.lost:
            for name in stores.sizes(run.artifacts):
                url = f"{run.artifacts}/{name}"
                bare = next((url.removesuffix(e) for e in stores.own if url.endswith(e)), url)
                if name not in stores.kept and not inside(bare, known):
                    yield Left(run.id, url)


def inside(url: str, folders: Collection[str]) -> bool:
    """Return whether a URL is one of `folders`, or lies in one."""
    while url:
        if url in folders:
            return True
        url = url.rpartition("/")[0]
    return False
