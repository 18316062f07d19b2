"""Text to a tfma.EvalConfig: proto text, JSON or YAML."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from google.protobuf import json_format, text_format
from tensorflow_model_analysis.proto import config_pb2

from ...errors import PenstockError


def parse(text: str) -> config_pb2.EvalConfig:
    """Return the EvalConfig that `text` is, nothing filled in.

    Raises:
        PenstockError: It is empty, or none of the three.
    """
    if not text.strip():
        raise PenstockError("eval_config is empty; give a tfma.EvalConfig as proto text or JSON.")
    if text.lstrip().startswith("{"):
        return _from_json(text)
    config = config_pb2.EvalConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        content = _yaml(text)
        if content is not None:
            return _from_dict(content, "YAML")
        where = f" at line {error.GetLine()}, column {error.GetColumn()}" if error.GetLine() else ""
        said = str(error).removeprefix(f"{error.GetLine()}:{error.GetColumn()} : ")
        raise PenstockError(
            f"eval_config is not a tfma.EvalConfig in proto text{where}: {said.rstrip('.')}."
        ) from error
    return config


def _yaml(text: str) -> dict[str, Any] | None:
    """Return the mapping that `text` is in YAML; None where it does not look like YAML."""
    # Proto text writes a repeated message as `name {`, YAML as `name:` and nothing else.
    if not re.search(r"^\s*\w+:[ \t]*(#.*)?$", text, re.MULTILINE):
        return None
    try:
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise PenstockError(f"eval_config is not YAML{where}: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise PenstockError(f"eval_config is not YAML: {error}.") from error
    return content if isinstance(content, dict) else None


def _from_json(text: str) -> config_pb2.EvalConfig:
    try:
        return _from_dict(json.loads(text), "JSON")
    except json.JSONDecodeError as error:
        raise PenstockError(
            f"eval_config is not JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error


def _from_dict(content: dict[str, Any], language: str) -> config_pb2.EvalConfig:
    try:
        return json_format.ParseDict(content, config_pb2.EvalConfig())
    except json_format.ParseError as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise PenstockError(
            f"eval_config is not a tfma.EvalConfig in {language}: {said}."
        ) from error
