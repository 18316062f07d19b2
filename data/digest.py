"""Content digests of files and folders."""

import hashlib
import os
from collections.abc import Container, Mapping
from pathlib import Path, PurePosixPath


def digest_bytes(content: bytes) -> str:
    """Return `sha256:<hex>` of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_path(path: str | os.PathLike[str], leave_out: Container[str] = ()) -> str:
    """Return a digest of a file's bytes, or of a folder's relative names and their bytes.

    Names and times of the folder itself do not count, so a copy has the digest of its original.

    Args:
        path: A file or a folder. Links are followed.
        leave_out: Names of files below the folder that do not count, such as `a/b.txt`.

    Returns:
        `sha256:<hex>`.

    Raises:
        FileNotFoundError: Nothing lies at `path`.
    """
    root = Path(path)
    if root.is_file():
        return _digest_file(root)
    if not root.is_dir():
        raise FileNotFoundError(root)
    files = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    return digest_names({n: _digest_file(p) for n, p in files.items() if n not in leave_out})


def digest_names(digests: Mapping[str, str]) -> str:
    """Return the digest of a folder from those of its files, by their names, such as `a/b.txt`."""
    total = hashlib.sha256()
    for name in sorted(digests, key=PurePosixPath):
        total.update(f"{name}\0{digests[name]}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _digest_file(file: Path) -> str:
    with file.open("rb") as stream:
        total = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            total.update(chunk)
    return f"sha256:{total.hexdigest()}"
