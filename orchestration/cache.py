"""The cache key: what a step's outputs follow from, and never a name, a place or a time.

Each ingredient has a name, so that a miss can be explained by those that changed.
"""

import glob
import json
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..data.digest import digest_bytes, digest_path
from .code import code_parts, named_code
from .pipeline_root import in_store
from .step import PythonSource
from .values import Artifact, Values

MOST_FILES = 10_000
MOST_BYTES = 4 * 1024**3
NOTHING = "nothing there"


class NotCacheable(Exception):
    """Says why the outputs of a step cannot be known from its inputs."""


def key_parts(
    component: pb.ComponentSpec,
    container: pb.PipelineDeploymentConfig.PipelineContainerSpec,
    source: PythonSource | None,
    given: Values,
    environment: Mapping[str, str],
) -> dict[str, str]:
    """Return the ingredients of a step's cache key by name.

    They are the component's interface; its source, or image and command; the code it imports and
    the code that its parameters name, with the versions of libraries; its parameters, with the
    content of local files they name; its input artifacts' content and metadata; its environment.

    Args:
        component: The component's interface.
        container: Its container.
        source: Its Python source, None for a container.
        given: The step's inputs; artifacts carry their digests.
        environment: Variables set for the step.

    Raises:
        NotCacheable: An input's content is unknown.
    """
    interface = json_format.MessageToDict(component)
    interface.pop("executorLabel", None)
    parts = {"interface": _digest(interface)}
    if source is None:
        parts["image"] = container.image
        parts["command"] = _digest([list(container.command), list(container.args)])
    else:
        parts["source"] = digest_bytes(f"{source.function}\n{source.source}".encode())
        parts["python"] = ".".join(platform.python_version_tuple()[:2])
        parts |= code_parts(source.source)
    for name, value in given.parameters.items():
        parts[f"parameter {name}"] = json.dumps(value, sort_keys=True)
        for text in _texts(value):
            parts |= named_code(text)
            parts |= _named_files(text)
    for name, artifacts in given.artifacts.items():
        parts[f"input {name}"] = _digest([_content(artifact) for artifact in artifacts])
    for name, setting in environment.items():
        parts[f"environment {name}"] = setting
    return parts


def cache_key(parts: Mapping[str, str]) -> str:
    """Return the key that stands for `parts`."""
    return _digest(dict(parts))


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between the ingredients of two keys, a phrase each."""
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if old is None:
            found.append(f"{name} is new")
        elif new is None:
            found.append(f"{name} is gone")
        elif str(new).startswith("sha256:"):
            found.append(f"{name} changed")
        else:
            found.append(f"{name}: {_short(old)} -> {_short(new)}")
    return found


def _content(artifact: Artifact) -> list[Any]:
    if "://" in artifact.uri and not in_store(artifact.uri):
        raise NotCacheable(f"what lies at {artifact.uri} is not known here")
    return [artifact.schema_title, artifact.digest or NOTHING, artifact.metadata]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _named_files(text: str) -> dict[str, str]:
    """Return the content of local files that a parameter's text names, with or without wildcards.

    A placeholder such as `{SPAN}` in a pattern stands for anything.
    """
    if "/" not in text or "\n" in text or "\0" in text or "://" in text or len(text) > 4096:
        return {}
    pattern = re.sub(r"\{\w+\}", "*", text)
    if glob.has_magic(pattern):
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute or relative
    else:
        found = [pattern] if Path(pattern).exists() else []
    files = sorted({file for name in found for file in _files(Path(name), text)})
    if not files:
        return {}
    content = [[str(file), digest_path(file)] for file in files]
    return {f"files {text}": _digest(content)}


def _files(path: Path, text: str) -> list[Path]:
    files: list[Path] = []
    size = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            files.append(file)
            size += file.stat().st_size
            if len(files) > MOST_FILES or size > MOST_BYTES:
                raise NotCacheable(f"{text} names too many files to compare their content")
    return files


def _digest(value: Any) -> str:
    return digest_bytes(json.dumps(value, sort_keys=True).encode())


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 50 else f"{text[:47]}..."
