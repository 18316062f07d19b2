"""Outputs appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends without an error.

    The folder is made beside `path`, so the final rename stays on one file system. When the block
    raises, the folder is removed and whatever lay at `path` before is untouched. A killed process
    leaves only a hidden `.<name>.<random>.tmp` beside it.

    Args:
        path: Where the folder shall appear. What lies there already is replaced.

    Yields:
        The folder to write into.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    work.mkdir()
    try:
        yield work
        if target.exists():
            old = work.with_suffix(".old")
            target.rename(old)
            work.rename(target)
            shutil.rmtree(old)
        else:
            work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def link_file(source: Path, target: Path) -> None:
    """Have `target`, whose folder may be new, hold what `source` does: a link, or else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)
