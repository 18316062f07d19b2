"""Where a model comes from: what `model.json` records beside the settings."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("penstock", "tensorflow", "keras", "numpy", "pyarrow")


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a model."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware() -> dict[str, Any]:
    """Return processor, cores, memory in bytes and accelerators of this machine."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "accelerators": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in gpus
        ],
    }


def git_commit(file: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the commit that `file` is tracked in, and whether it has been changed since.

    Returns:
        `{"commit": <40 hex digits>, "changed": bool}`; None without git, outside a repository, or
        for a file that is not tracked.
    """
    path = Path(file).resolve()
    if not shutil.which("git") or not path.is_file():
        return None

    def git(*arguments: str) -> str | None:
        done = subprocess.run(
            ["git", "-C", str(path.parent), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", path.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "changed": bool(git("status", "--porcelain", "--", path.name))}


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
