"""Content digests of files and folders."""

import hashlib
import os
from pathlib import Path


def digest_bytes(content: bytes) -> str:
    """Return `sha256:<hex>` of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_path(path: str | os.PathLike[str]) -> str:
    """Return a digest of a file's bytes, or of a folder's relative names and their bytes.

    Names and times of the folder itself do not count, so a copy has the digest of its original.

    Args:
        path: A file or a folder. Links are followed.

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
    total = hashlib.sha256()
    for file in sorted(p for p in root.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(root).as_posix()}\0{_digest_file(file)}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _digest_file(file: Path) -> str:
    with file.open("rb") as stream:
        total = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            total.update(chunk)
    return f"sha256:{total.hexdigest()}"
