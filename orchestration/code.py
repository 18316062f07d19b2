"""What code a step runs: the modules its source imports, followed as far as they are the author's.

Nothing is imported to find out. The author's own modules and Penstock's count with their content,
installed libraries with their version.
"""

import ast
import functools
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from ..data.digest import digest_bytes, digest_path

OURS = "penstock"
# What `penstock.components.author_file` makes of a module's file.
EMBEDDED = "# penstock: the module "
AUTHORING = ("component", "container_component", "pipeline")
NO_DATA = (".py", ".pyc", ".md", ".so")
MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(:\w+)?")


def code_parts(source: str) -> dict[str, str]:
    """Return what the code of a step consists of.

    Args:
        source: Python source.

    Returns:
        `code <module>` to the digest of its file for each module of Penstock or of the author that
        is imported, also indirectly and inside functions; `data <package>` to that of the other
        files beside them, such as templates; `library <name>` to its version for each installed
        library.
    """
    parts: dict[str, str] = {}
    waiting = list(_imported(source, ""))
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        file = module_file(module)
        if file is None:
            library = module.partition(".")[0]
            if library not in sys.stdlib_module_names and not _is_ours(library):
                version = _version(library)
                if version:
                    parts[f"library {library}"] = version
            continue
        content, imports = _read(str(file), file.stat().st_mtime_ns, module)
        parts[f"code {module}"] = content
        if "." in module and file.name == "__init__.py":
            parts |= _package_data(module, file.parent)
        waiting.extend(imports)
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return parts


def _package_data(module: str, folder: Path) -> dict[str, str]:
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix not in NO_DATA and not file.name.startswith(".")
    ]
    if not files:
        return {}
    return {f"data {module}": digest_bytes("\n".join(map(digest_path, files)).encode())}


def named_code(value: str) -> dict[str, str]:
    """Return `code_parts` of a module that a parameter names, or nothing.

    Args:
        value: Perhaps `package.module`, `package.module:attribute` or `path/to/module.py`, or the
            text of a module.
    """
    if value.startswith(EMBEDDED):
        return code_parts(value)
    if value.endswith(".py") and Path(value).is_file():
        content = Path(value).read_text(errors="replace")
        return {f"code {value}": digest_bytes(content.encode()), **code_parts(content)}
    if MODULE_NAME.fullmatch(value):
        module = value.partition(":")[0]
        if module_file(module) is not None:
            return code_parts(f"import {module}")
    return {}


def module_file(module: str) -> Path | None:
    """Return the file of a module that is Penstock's or the author's; None for all others."""
    top, *rest = module.split(".")
    location = _first_party(top)
    if location is None:
        return None
    if location.suffix == ".py":
        return location if not rest else None
    path = location.joinpath(*rest)
    for file in (path.with_suffix(".py") if rest else None, path / "__init__.py"):
        if file is not None and file.is_file():
            return file
    return None


@functools.cache
def _first_party(top: str) -> Path | None:
    """Return the folder of a package, or the file of a module, outside installed libraries."""
    if top in sys.stdlib_module_names:
        return None
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    place = next(iter(found.submodule_search_locations or ()), None) or found.origin
    if place is None or found.origin in ("built-in", "frozen"):
        return None
    path = Path(place)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    if installed and not _is_ours(top):
        return None
    return path if path.is_dir() or path.suffix == ".py" else None


def _is_ours(top: str) -> bool:
    return top == OURS


@functools.cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        names = _distributions().get(library, [])
        return " ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@functools.cache
def _read(file: str, changed: int, module: str) -> tuple[str, tuple[str, ...]]:
    content = Path(file).read_bytes()
    package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
    return digest_bytes(content), tuple(_imported(content.decode(errors="replace"), package))


def _imported(source: str, package: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in _run_in_a_step(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*above, *([node.module] if node.module else [])])
            module = start if node.level else node.module or ""
            yield module
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                if module_file(inner) is not None:
                    yield inner


def _run_in_a_step(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module but for what only authoring runs.

    In a step `kfp.dsl` has no `component` and no `pipeline`: what is declared with them, and what
    is behind `if hasattr(dsl, "component")`, is not there.
    """
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef) and any(map(_declares, node.decorator_list)):
            continue
        yield node
        if isinstance(node, ast.If) and _asks_for_authoring(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _declares(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and ast.unparse(called) in {
        f"dsl.{name}" for name in AUTHORING
    }


def _asks_for_authoring(test: ast.expr) -> bool:
    return ast.unparse(test) in {f"hasattr(dsl, '{name}')" for name in AUTHORING}
