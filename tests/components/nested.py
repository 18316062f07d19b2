"""Nested values as TFDV takes them, for its numbers beside ours."""

from typing import Any


def as_lists(value: Any) -> Any:
    """A Python value as TFDV wants it: leaves in lists, flags as integers, text as bytes."""
    if isinstance(value, dict):
        return {name: as_lists(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_as_item(part) for part in value]
    return None if value is None else [_as_item(value)]


def _as_item(value: Any) -> Any:
    if isinstance(value, dict | list):
        return as_lists(value)
    if isinstance(value, bool):
        return int(value)
    return value.encode() if isinstance(value, str) else value
