"""The author's module: features and training code, by import path, file, text or wheel."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from ..data.digest import digest_path
from ..errors import PenstockError
from .author_code import import_path, unpacked_file


def load_author_module(module: str) -> ModuleType:
    """Import the author's module.

    A file is imported under a name made from its content, so that it is read anew whenever it has
    changed, and needs to be nowhere on Python's path. It should therefore import only what is
    installed, not files beside it.

    Args:
        module: An import path such as `penstock.pipelines.flights.model`, the path of a `.py`
            file, or what `author_file` or `author_wheel` gave.

    Returns:
        The imported module.

    Raises:
        PenstockError: There is no such module or file, or it raises when imported.
    """
    if not module:
        raise PenstockError(
            "The parameter module is empty; give the import path or the .py file of the module "
            "that defines FEATURES and run_fn."
        )
    embedded = unpacked_file(module)
    if embedded is not None or module.endswith(".py"):
        return _load_file(embedded or Path(module))
    module = import_path(module) or module
    try:
        return importlib.import_module(module)
    except PenstockError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise PenstockError(
                f"There is no module {module!r}: Python finds no {error.name!r}; install it where "
                "the step runs, or give the path of a .py file."
            ) from error
        raise _import_failed(module, error) from error
    except Exception as error:
        raise _import_failed(module, error) from error


def author_attribute(module: ModuleType, name: str, what: str) -> Any:
    """Return `module.<name>`.

    Args:
        module: An author's module.
        name: The attribute, such as `FEATURES`.
        what: What it should be, in a phrase for the error's sentence.

    Raises:
        PenstockError: The module does not define it.
    """
    if not hasattr(module, name):
        raise PenstockError(f"{module_source(module)} defines no {name}; it must define {what}.")
    return getattr(module, name)


def module_source(module: ModuleType) -> str:
    """Return the file that `module` was read from, or its name when it has none."""
    return getattr(module, "__file__", None) or module.__name__


def where_raised(error: BaseException, module: ModuleType | str) -> str:
    """Return `file:line` of the innermost frame of the author's file, or of any file.

    The traceback itself goes to standard error, which is the step's log.
    """
    traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    source = module if isinstance(module, str) else module_source(module)
    own = [frame for frame in frames if frame.filename == source] or list(frames)
    return f"{own[-1].filename}:{own[-1].lineno}" if own else source


def _load_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise PenstockError(
            f"There is no file {file} where the step runs; give the parameter module an import "
            "path that is installed there, or penstock.components.author_file(...) of the file."
        )
    source = str(file.resolve())
    name = f"penstock_author_{file.stem}_{digest_path(file).split(':')[1][:12]}"
    spec = importlib.util.spec_from_file_location(name, source)
    if spec is None or spec.loader is None:
        raise PenstockError(f"{file} is not a Python file that can be imported.")
    loaded = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a class's module up by its name.
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except PenstockError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise _import_failed(source, error) from error
    return loaded


def _import_failed(module: str, error: Exception) -> PenstockError:
    return PenstockError(
        f"The author's module {module} fails when imported, with {type(error).__name__}: {error} "
        f"(at {where_raised(error, module)})."
    )
