"""A pipeline root in an object store: where a run's artifacts are kept when not on this machine.

As Kubeflow's launcher does, a step works on local files; what it made is uploaded when it has
succeeded. The last object of an upload, `<artifact>.complete.json`, says that it is whole.
"""

import json
import re
from pathlib import Path

from ..data.remote_folders import (
    delete_remote,
    fingerprint,
    list_remote,
    read_remote_json,
    upload,
    write_remote,
)
from ..errors import PenstockError

STORE = re.compile(r"(s3|gs)://[^/]")
COMPLETE = ".complete.json"
COMPILED = "pipeline.yaml"


def in_store(uri: str) -> bool:
    """Return whether a URI is of an object store that steps get copies from: s3:// or gs://."""
    return STORE.match(uri) is not None


def check_root(url: str) -> str:
    """Return a pipeline root without a slash at its end.

    Raises:
        PenstockError: It is not the URL of a place in an object store.
    """
    if not in_store(url):
        raise PenstockError(
            f"--pipeline-root {url} is not in an object store; give a URL such as "
            "s3://bucket/folder or gs://bucket/folder, or leave it out to keep artifacts below "
            "--root."
        )
    return url.rstrip("/")


def publish(place: Path, url: str, digest: str) -> None:
    """Upload an artifact, and when it is all there say so.

    Args:
        place: The file or folder.
        url: Where it shall lie. What a killed attempt left there is deleted first.
        digest: Of its content.

    Raises:
        PenstockError: The store cannot be written to, or another process writes there.
    """
    unpublish(url)
    upload(place, url)
    files = list_remote(url)
    local = {"": place} if place.is_file() else _files(place)
    if {name: file.size for name, file in files.items()} != {
        name: path.stat().st_size for name, path in local.items()
    }:
        raise PenstockError(
            f"What lies at {url} is not what was uploaded; see that nothing else writes there, and "
            "run it again."
        )
    complete = {
        "digest": digest,
        "fingerprint": fingerprint(files),
        "files": {name: file.size for name, file in files.items()},
    }
    write_remote(url + COMPLETE, json.dumps(complete, indent=1).encode())


def unpublish(url: str) -> None:
    """Delete an artifact, first what says that it is whole. Nothing being there is no error.

    Raises:
        PenstockError: The store cannot be written to.
    """
    delete_remote(url + COMPLETE)
    delete_remote(url)


def stored_digest(url: str, found: str | None) -> str | None:
    """Return the content digest of an artifact, as its upload recorded it.

    Args:
        url: Where it lies.
        found: The fingerprint of what lies there now.

    Returns:
        None when it was never uploaded whole, or was written to since.

    Raises:
        PenstockError: The store cannot be read.
    """
    complete = read_remote_json(url + COMPLETE)
    if found is None or not isinstance(complete, dict) or complete.get("fingerprint") != found:
        return None
    digest = complete.get("digest")
    return digest if isinstance(digest, str) else None


class PipelineRoots:
    """Pipeline roots as clean-up sees them: `metadata.stores.ObjectStores`."""

    own: tuple[str, ...] = (COMPLETE,)
    kept: tuple[str, ...] = (COMPILED,)

    def sizes(self, url: str) -> dict[str, int]:
        """Return the bytes of the files below a URL by their names relative to it."""
        return {name: file.size for name, file in list_remote(url).items()}

    def delete(self, url: str) -> None:
        """Delete an artifact, or what is left of one."""
        unpublish(url)


def _files(folder: Path) -> dict[str, Path]:
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
