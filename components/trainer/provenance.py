"""Where a model comes from: what `model.json` records beside the settings."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.digest import digest_bytes, digest_path

if TYPE_CHECKING:
    from .worker import Work

LIBRARIES = ("penstock", "tensorflow", "keras", "numpy", "pyarrow")
OF_KIND = {
    "sklearn": ("scikit-learn", "skops"),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
}


def code_digest(file: str | os.PathLike[str]) -> str:
    """Return the digest of the module and the Python files beside it, if it is in a package.

    Args:
        file: The module's file. One that is not in a package stands for itself.
    """
    path = Path(file)
    if not (path.parent / "__init__.py").is_file():
        return digest_path(path)
    beside = sorted(path.parent.glob("*.py"))
    return digest_bytes("".join(f"{f.name} {digest_path(f)}\n" for f in beside).encode())


def library_versions(kind: str = "saved_model") -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a model of this kind."""
    versions = {"python": platform.python_version()}
    for name in (*LIBRARIES, *OF_KIND.get(kind, ())):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def training_digest(work: Work, workers: int, module: str) -> str:
    """Return a digest, in hex, of all that a training's course follows from.

    Checkpoints of one training are of no use to another, even one that differs in its seed alone.
    """
    content = asdict(work)
    for name in ("model_dir", "folder", "checkpoints"):
        del content[name]
    for name in ("examples", "transform_graph", "statistics", "base_model", "schema"):
        content[name] = digest_path(content[name]) if content[name] else ""
    content |= {"workers": workers, "module": digest_path(module)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
