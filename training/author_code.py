"""The author's code as a pipeline's parameter: a file's text, or a wheel by its digest.

A parameter is part of a step's cache key, so changed code is never answered from the cache, on this
machine or on Kubeflow.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from ..data.digest import digest_bytes
from ..data.remote import copy_remote, is_url
from ..errors import PenstockError

# A step gets its parameters as one argument of a command, and Linux allows that 128 KiB.
LARGEST_FILE = 65_536

_EMBEDDED = re.compile(r"# penstock: the module ([\w.-]+\.py), as it was compiled in\n")
_WHEEL = re.compile(r"(?P<module>\w+(\.\w+)*) @ (?P<place>.+?)(#sha256=(?P<sha256>[0-9a-f]{64}))?$")


def author_file(file: str | os.PathLike[str]) -> str:
    """Return the text of a module's file as the parameter `module`, for where the file is not.

    Called when a pipeline is compiled. The module may import what is installed where the step
    runs, not files beside it; for several files there is `author_wheel`.

    Args:
        file: The `.py` file, up to 64 KiB.

    Returns:
        The text under a line that names the file.

    Raises:
        PenstockError: There is no such file, it is too large, or it is not Python.
    """
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise PenstockError(f"There is no Python file {path}; give the .py file of the module.")
    content = path.read_bytes()
    if len(content) > LARGEST_FILE:
        raise PenstockError(
            f"{path} has {len(content):,} bytes, and a parameter carries up to {LARGEST_FILE:,}; "
            "build a wheel and give it by author_wheel."
        )
    try:
        ast.parse(content)
        text = content.decode("utf-8")
    except (SyntaxError, ValueError) as error:
        raise PenstockError(f"{path} is not Python: {error}.") from error
    return f"# penstock: the module {path.name}, as it was compiled in\n{text}"


def author_wheel(wheel: str | os.PathLike[str], module: str, uri: str = "") -> str:
    """Return a module in a wheel as the parameter `module`.

    Called when a pipeline is compiled. What the wheel requires must be installed where the step
    runs, which the step checks before it does anything: the wheel is unpacked and put on Python's
    path, not installed.

    Args:
        wheel: The wheel's file, here; its digest becomes part of the parameter.
        module: The module's import path in it.
        uri: Where the step reads the same file: a path there, or a URL; `wheel` itself when empty.

    Returns:
        `<module> @ <uri>#sha256=<digest>`.

    Raises:
        PenstockError: There is no such wheel, or it has no such module.
    """
    path = Path(wheel)
    content = _read_wheel(path, module)
    sha256 = digest_bytes(content).partition(":")[2]
    return f"{module} @ {uri or path.resolve()}#sha256={sha256}"


def module_name(module: str) -> str:
    """Return what to call the module that a parameter gives: of a text, the file's name."""
    found = _EMBEDDED.match(module)
    return found.group(1) if found else module


def unpacked_file(module: str) -> Path | None:
    """Return where the file that `author_file` put into a parameter lies now; None for other text.

    The same text gives the same file, so that tracebacks and other processes can read it.
    """
    found = _EMBEDDED.match(module)
    if found is None:
        return None
    content = module[found.end() :].encode()
    folder = _own_folder() / digest_bytes(content).partition(":")[2][:16]
    folder.mkdir(exist_ok=True)
    file = folder / found.group(1)
    _write_whole(file, content)
    return file


def import_path(module: str) -> str | None:
    """Put the wheel that a parameter names on Python's path, and return the module's import path.

    Returns:
        The import path; None when `module` names no wheel.

    Raises:
        PenstockError: The wheel is not there, is another one than was compiled in, lacks the
            module, or requires what is not installed.
    """
    found = _WHEEL.fullmatch(module)
    if found is None:
        return None
    name, place, sha256 = found["module"], found["place"], found["sha256"]
    if sha256 is None:
        raise PenstockError(
            f"The module {name!r} is to come from the wheel {place}, without its digest, so that "
            "another wheel there would go unnoticed; let penstock.components.author_wheel write "
            "the parameter."
        )
    folder = _own_folder() / sha256[:16]
    if not folder.is_dir():
        _unpack(place, name, sha256, folder)
    _check_requirements(folder, place)
    _prefer(folder)
    return name


def _check_requirements(folder: Path, place: str) -> None:
    """Refuse an unpacked wheel that requires what is not installed, or in another version."""
    for wheel in metadata.distributions(path=[str(folder)]):
        lacking = [text for text in wheel.requires or () if not _is_met(text, wheel.name)]
        if lacking:
            raise PenstockError(
                f"The wheel {place.rpartition('/')[2]} requires {', '.join(lacking)}, which the "
                "step's environment does not have; install it in the step's image, where wheels "
                "are only unpacked."
            )


def _is_met(text: str, own: str) -> bool:
    """Return whether a line of a wheel's Requires-Dist is satisfied, or asks nothing here."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    if requirement.name == own or (
        requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
    ):
        return True
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(installed, prereleases=True)


def _unpack(place: str, module: str, sha256: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=_own_folder()) as draft:
        wheel = Path(place)
        if is_url(place):
            wheel = Path(draft) / Path(place).name
            copy_remote(place, wheel)
        content = _read_wheel(wheel, module)
        if digest_bytes(content) != f"sha256:{sha256}":
            raise PenstockError(
                f"The wheel at {place} is not the one that the pipeline was compiled with (its "
                f"digest is {digest_bytes(content)}); put that one there, or compile again."
            )
        unpacked = Path(draft) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise


def _read_wheel(wheel: Path, module: str) -> bytes:
    try:
        content = wheel.read_bytes()
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise PenstockError(
            f"There is no wheel at {wheel} ({type(error).__name__}); build one with "
            "`pip wheel --no-deps .` and give its path."
        ) from error
    stem = module.replace(".", "/")
    if f"{stem}.py" not in names and f"{stem}/__init__.py" not in names:
        modules = sorted(name for name in names if name.endswith(".py"))
        raise PenstockError(
            f"The wheel {wheel.name} has no module {module!r}; it has {', '.join(modules[:8])}."
        )
    return content


def _prefer(folder: Path) -> None:
    """Put `folder` first on Python's path, and forget what was imported from another wheel."""
    own = str(_own_folder())
    others = [p for p in sys.path if p.startswith(own) and p != str(folder)]
    sys.path[:] = [str(folder), *(p for p in sys.path if p not in (*others, str(folder)))]
    for name, loaded in list(sys.modules.items()):
        file = getattr(loaded, "__file__", None) or ""
        if file.startswith(own) and not file.startswith(f"{folder}{os.sep}"):
            del sys.modules[name]


def _own_folder() -> Path:
    """Return this user's folder for unpacked code; nobody else may write into it."""
    folder = Path(tempfile.gettempdir()) / f"penstock-code-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PenstockError(
            f"{folder} belongs to somebody else, who could put code of theirs there; remove it, or "
            "set TMPDIR to a folder of your own."
        )
    return folder


def _write_whole(file: Path, content: bytes) -> None:
    if file.is_file() and file.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
        draft.write(content)
    Path(draft.name).replace(file)
