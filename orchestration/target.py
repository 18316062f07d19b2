"""What `penstock run` and `penstock compile` are pointed at, and its compiled form."""

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from ..errors import PenstockError
from .parameters import preset, read_parameters
from .spec import Pipeline, documents, parse

COMPILED = (".yaml", ".yml", ".json")


def load(target: str) -> Pipeline:
    """Return the compiled pipeline that `target` names.

    Args:
        target: `module`, `module:function`, `path.py`, `path.py:function`, or the path of a
            compiled `.yaml`.

    Raises:
        PenstockError: Nothing is there, it cannot be imported, or it does not hold one pipeline.
    """
    if target.endswith(COMPILED):
        file = Path(target)
        try:
            return parse(file.read_text(), target)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise PenstockError(f"{target} cannot be read: {reason}.") from error
    return compile_target(target)


def compile_target(target: str, pairs: tuple[str, ...] = ()) -> Pipeline:
    """Compile the pipeline that `target` names.

    Args:
        target: `module`, `module:function`, `path.py`, `path.py:function`, or the path of a
            compiled `.yaml`, which is compiled already.
        pairs: `name=value` pairs that become the defaults of the pipeline's parameters.

    Raises:
        PenstockError: See `load`; or a pair names no parameter of the pipeline.
    """
    if target.endswith(COMPILED):
        compiled = load(target)
        return preset(compiled, read_parameters(compiled, pairs)) if pairs else compiled
    place, _, function = target.partition(":")
    with warnings.catch_warnings():
        # KFP announces its own coming changes on every import.
        warnings.simplefilter("ignore")
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
        pipeline = _choose(module, place, function)
        compiled = parse(_compiled_text(pipeline, {}), target)
        if pairs:
            given = read_parameters(compiled, pairs)
            compiled = parse(_compiled_text(pipeline, given), target)
    return compiled


def write(pipeline: Pipeline, path: Path, platform: Path | None = None) -> None:
    """Write a compiled pipeline, whole or not at all.

    Args:
        pipeline: What `compile_target` returned.
        path: Ends in `.yaml`, `.yml` or `.json`. The same pipeline gives the same bytes.
        platform: Where its platform's configuration goes; behind the pipeline, in the same file,
            when None.

    Raises:
        PenstockError: The ending is another, the place cannot be written, or there is no
            configuration to write to `platform`.
    """
    for file in (path, platform):
        if file is not None and file.suffix not in COMPILED:
            raise PenstockError(f"{file} must end in .yaml, .yml or .json.")
    if platform is None:
        _replace(path, _whole_text(pipeline, path))
        return
    document, config = documents(pipeline)
    if not config:
        raise PenstockError(
            f"{platform} would be empty: nothing of {pipeline.name} is configured for Kubernetes; "
            "leave out --kubernetes, or give --defaults."
        )
    _replace(platform, _text(config, platform))
    _replace(path, _text(document, path))


def _whole_text(pipeline: Pipeline, path: Path) -> str:
    if path.suffix != ".json":
        return pipeline.text
    document, config = documents(pipeline)
    if config:
        raise PenstockError(
            f"{path} cannot be JSON: the pipeline has a second document, its platform's "
            "configuration; write .yaml, or say with --kubernetes where the second goes."
        )
    return _text(document, path)


def _text(document: dict[str, Any], path: Path) -> str:
    if path.suffix == ".json":
        return json.dumps(document, indent=2, sort_keys=True) + "\n"
    return str(yaml.safe_dump(document, sort_keys=True))


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise PenstockError(f"{path} cannot be written: {error.strerror}.") from error


def _import_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise PenstockError(
                f"There is no module {name}; give a module that can be imported from here, or the "
                "path of a .py or a compiled .yaml."
            ) from error
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PenstockError(f"There is no file {path}.")
    folder = str(path.parent.absolute())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise PenstockError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _broken(place: str, error: Exception) -> PenstockError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = " ".join(str(error).split())
    return PenstockError(
        f"{place} cannot be imported: {type(error).__name__}: {reason} "
        f"({last.filename}, line {last.lineno})."
    )


def _choose(module: ModuleType, place: str, function: str) -> Any:
    from kfp.dsl.base_component import BaseComponent

    if function:
        pipeline = getattr(module, function, None)
        if isinstance(pipeline, BaseComponent):
            return pipeline
        found = _pipelines(module)
        known = f"it has {', '.join(found)}" if found else "it has none"
        what = "no" if pipeline is None else "something else than a pipeline called"
        raise PenstockError(f"{place} has {what} {function}; of pipelines {known}.")
    found = _pipelines(module)
    if not found and hasattr(module, "__path__"):
        inner = f"{module.__name__}.pipeline"
        if importlib.util.find_spec(inner) is not None:
            found = _pipelines(_import_module(inner))
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise PenstockError(f"{place} has no pipeline: decorate a function with @dsl.pipeline.")
    raise PenstockError(
        f"{place} has several pipelines: choose one of "
        + ", ".join(f"{place}:{name}" for name in found)
        + "."
    )


def _pipelines(module: ModuleType) -> dict[str, Any]:
    from kfp.dsl.graph_component import GraphComponent

    found: dict[str, Any] = {}
    for name in sorted(dir(module)):
        value = getattr(module, name)
        if isinstance(value, GraphComponent) and not any(value is v for v in found.values()):
            found[name] = value
    return found


def _compiled_text(pipeline: Any, defaults: Mapping[str, Any]) -> str:
    from kfp.compiler import Compiler

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        Compiler().compile(pipeline, str(file), pipeline_parameters=dict(defaults))
        return file.read_text()
