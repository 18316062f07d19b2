"""Compiles the modules that are not compiled yet, inside an image: compile.py FOLDER [WHERE].

WHERE is the folder that they will lie in; without it they stay in FOLDER. The same sources make the
same bytes, for the layers of two builds to be equal:

- a module is known by its digest, as the files of a layer have no true dates, and the digest is not
  checked when it is imported, as an image does not change;
- processes are given fixed shares in a fixed order, since how Python writes down an object depends
  on what the process compiled before.
"""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYTHON = "/opt/penstock/bin/python"
SHARE = 500


def compile_modules(folder: Path, where: Path) -> None:
    """Compile what lies in `folder` as if it lay in `where`."""
    # ensurepip compiles pip by date, which says nothing in a layer.
    for cached in folder.glob("lib/python3*/site-packages/pip/**/*.pyc"):
        if int.from_bytes(cached.read_bytes()[4:8], "little") == 0:
            cached.unlink()
    sources = sorted(str(path) for path in folder.rglob("*.py") if path.is_file())
    waiting = [
        path for path in sources if not Path(importlib.util.cache_from_source(path)).exists()
    ]
    shares = [waiting[at : at + SHARE] for at in range(0, len(waiting), SHARE)]
    command = [PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", str(where), "-i", "-"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}

    def compile_share(share: list[str]) -> None:
        # Templates and examples of libraries that are not Python fail: nobody imports them.
        subprocess.run(
            command,
            input="\n".join(share),
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            check=False,
        )

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(compile_share, shares))


if __name__ == "__main__":
    compile_modules(Path(sys.argv[1]), Path(sys.argv[-1]))
