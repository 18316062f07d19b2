"""Files by URL, through fsspec: s3, gs, http and what else it knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import PenstockError


def is_url(text: str) -> bool:
    """Tell whether `text` begins with a protocol, such as `s3://`."""
    return "://" in text


def hide_password(url: str) -> str:
    """Return a database's URL with `***` in place of its password."""
    return re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", url)


def remote_matches(wildcards: str) -> list[str]:
    """Return the URLs of the files that a URL with `*`, `?` and `**` matches, sorted.

    Raises:
        PenstockError: The protocol is unknown or lacks its library, or the store cannot be read.
    """
    protocol = wildcards.partition("://")[0]
    filesystem, path = open_filesystem(wildcards)
    # fsspec keeps listings for the life of the process: a file written since would not be seen.
    filesystem.invalidate_cache()
    try:
        found = filesystem.glob(path, detail=True)
    except Exception as error:
        raise unreachable(wildcards, error) from error
    return sorted(
        f"{protocol}://{name.lstrip('/')}" if protocol != "file" else f"file://{name}"
        for name, info in found.items()
        if info["type"] == "file" and not Path(name).name.startswith(".")
    )


def copy_remote(url: str, place: Path) -> None:
    """Copy the file at `url` to `place`.

    Raises:
        PenstockError: It cannot be read.
    """
    filesystem, path = open_filesystem(url)
    try:
        filesystem.get_file(path, str(place))
    except Exception as error:
        raise unreachable(url, error) from error


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's filesystem for a URL, and the path in it that the URL names.

    Raises:
        PenstockError: The protocol is unknown or lacks its library.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except (ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"{url} cannot be reached ({reason}); check the protocol, and install what it needs, "
            "such as penstock[s3] for s3."
        ) from error


def unreachable(url: str, error: Exception, done: str = "read") -> PenstockError:
    """Return the error that says why a URL could not be `read` or `written`."""
    # Every protocol's library raises errors of its own.
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return PenstockError(
        f"{url} cannot be {done} ({reason}); check that it exists, that its server answers, and "
        "that the credentials are in the environment."
    )
