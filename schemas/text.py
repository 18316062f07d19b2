"""A schema as text that people keep: written in our layout, or changed without losing theirs.

A reviewed schema has comments, an order and a layout of its own. `rewrite` changes only the lines
that must change, so that a diff shows what is proposed and nothing else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor

WIDTH = 100
# What a feature is comes before how often it is there.
FIRST = ("name", "type")

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<mark>[{}<>\[\]:,;])|(?P<word>[^\s{}<>\[\]:,;"'\#]+)""",
    re.DOTALL,
)
_CLOSING = {"{": "}", "<": ">", "[": "]"}


class Unusual(Exception):
    """The text is written in a way that cannot be changed in place; it is written anew instead."""


def write(schema: Any) -> str:
    """Return a schema as text: a feature or domain a block, what is in it a line each."""
    return _render(schema, 0)


def rewrite(text: str, target: Any) -> str:
    """Return `text` changed so that it says `target`, its comments, order and layout kept.

    Args:
        text: A schema in text form.
        target: The message that the result must parse to.

    Returns:
        The changed text; what `write` makes of the target when the text is written so unusually
        (a list in brackets, a field in several pieces) that it cannot be changed in place.
    """
    old = text_format.Parse(text, type(target)())
    try:
        edits: list[tuple[int, int, str]] = []
        entries, _ = _entries(text, _tokens(text), 0, None)
        end = len(text)
        _change(text, entries, end, 0, old, target, edits)
        for start, stop, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
            text = text[:start] + new + text[stop:]
        if text_format.Parse(text, type(target)()) == target:
            return text
    except (Unusual, text_format.ParseError):
        pass
    return write(target)


def blocks(text: str) -> list[str]:
    """Return for each line of a schema which feature or domain it belongs to, `""` for none."""
    found = [""] * len(text.splitlines(keepends=True))
    try:
        entries, _ = _entries(text, _tokens(text), 0, None)
    except Unusual:
        return found
    for entry in entries:
        names = [child for child in entry.children or () if child.name == "name"]
        label = f"{entry.name} {text[slice(*names[0].value)] if names else ''}"
        first, last = text.count("\n", 0, entry.start), text.count("\n", 0, entry.end)
        found[first : last + 1] = [label] * (last + 1 - first)
    return found


@dataclass
class _Entry:
    """A field in the text: where it and its value stand; the fields of its message."""

    name: str
    start: int
    end: int
    value: tuple[int, int] = (0, 0)
    children: list[_Entry] | None = None
    listed: bool = field(default=False)


def _tokens(text: str) -> list[tuple[str, int, int]]:
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unusual(text[place : place + 20])
        if match.lastgroup != "skip":
            found.append((match.group(), match.start(), match.end()))
        place = match.end()
    return found


def _entries(
    text: str, tokens: Sequence[tuple[str, int, int]], place: int, closing: str | None
) -> tuple[list[_Entry], int]:
    """Return the fields from token `place` on, and the token after the one that closes them."""
    found: list[_Entry] = []
    while place < len(tokens) and tokens[place][0] != closing:
        word, start, _ = tokens[place]
        if word in _CLOSING or word in ":,;":
            raise Unusual(word)
        entry, place = _Entry(word, start, start), place + 1
        if place < len(tokens) and tokens[place][0] == ":":
            place += 1
        if place >= len(tokens):
            raise Unusual(word)
        opening = tokens[place][0]
        begin = tokens[place][1]
        if opening in ("{", "<"):
            entry.children, place = _entries(text, tokens, place + 1, _CLOSING[opening])
        elif opening == "[":
            entry.listed, place = True, _after_list(tokens, place)
        else:
            place += 1
            while place < len(tokens) and opening[0] in "\"'" and tokens[place][0][0] in "\"'":
                place += 1
        entry.value = (begin, tokens[place - 1][2])
        if place < len(tokens) and tokens[place][0] in ",;":
            place += 1
        entry.end = tokens[place - 1][2]
        found.append(entry)
    if closing is not None and place >= len(tokens):
        raise Unusual(closing)
    return found, place + (closing is not None)


def _after_list(tokens: Sequence[tuple[str, int, int]], place: int) -> int:
    depth = 0
    while place < len(tokens):
        depth += (tokens[place][0] in _CLOSING) - (tokens[place][0] in _CLOSING.values())
        place += 1
        if not depth:
            return place
    raise Unusual("[")


def _change(
    text: str,
    entries: Sequence[_Entry],
    end: int,
    depth: int,
    old: Any,
    new: Any,
    edits: list[tuple[int, int, str]],
) -> None:
    """Collect the edits that turn the fields of `old` into those of `new`; `end` closes them."""
    for name, descriptor in new.DESCRIPTOR.fields_by_name.items():
        mine = [entry for entry in entries if entry.name == name]
        before, after = elements(old, descriptor), elements(new, descriptor)
        if before == after:
            continue
        if len(mine) != len(before) or any(entry.listed for entry in mine):
            raise Unusual(name)
        keys, wanted = _keys(before, descriptor), _keys(after, descriptor)
        common = [key for key in keys if key in wanted]
        if common != [key for key in wanted if key in keys]:
            # Another order: everything anew.
            keys = [(number, "old") for number in range(len(keys))]
        places = dict(zip(keys, zip(mine, before, strict=True), strict=True))
        for key, (entry, _) in places.items():
            if key not in wanted:
                edits.append(_removal(text, entry))
        last = mine[-1].end if not common and mine else None
        pending: list[str] = []
        first = None
        for key, element in zip(wanted, after, strict=True):
            if key not in places:
                pending.append(_field(descriptor, element, depth))
                continue
            entry, was = places[key]
            if pending:
                first = entry if last is None else first
                edits.append(_insertion(text, pending, last, entry, end, entries))
                pending = []
            if was != element and entry.children is not None:
                inner = entry.value[1] - 1
                _change(text, entry.children, inner, depth + 1, was, element, edits)
            elif was != element:
                edits.append((*entry.value, _scalar(descriptor, element)))
            last = entry.end
        if pending:
            edits.append(_insertion(text, pending, last, None, end, entries))


def elements(message: Any, descriptor: FieldDescriptor) -> list[Any]:
    """Return what a message has of a field, none, one or several; of a map, its entries."""
    value = getattr(message, descriptor.name)
    if _is_map(descriptor):
        made = descriptor.message_type._concrete_class
        return [made(key=key, value=value[key]) for key in sorted(value)]
    if is_repeated(descriptor):
        return list(value)
    return [value] if message.HasField(descriptor.name) else []


def is_repeated(descriptor: FieldDescriptor) -> bool:
    """Return whether a message may have a field several times."""
    # The newer protobuf has a property where the older has a label.
    if hasattr(descriptor, "is_repeated"):
        return bool(descriptor.is_repeated)
    return bool(descriptor.label == FieldDescriptor.LABEL_REPEATED)


def _is_map(descriptor: FieldDescriptor) -> bool:
    kind = descriptor.message_type
    return bool(kind is not None and kind.GetOptions().map_entry)


def _keys(found: Sequence[Any], descriptor: FieldDescriptor) -> list[Any]:
    """Return what tells elements apart: their names, their values, or else their places."""
    if not is_repeated(descriptor):
        return [""] * len(found)
    kind = descriptor.message_type
    if kind is None:
        keys = list(found)
    elif "name" in kind.fields_by_name and kind.name != "Dim":
        keys = [element.name for element in found]
    elif _is_map(descriptor):
        keys = [element.key for element in found]
    else:
        return list(range(len(found)))
    return keys if len(set(keys)) == len(keys) else list(range(len(keys)))


def _removal(text: str, entry: _Entry) -> tuple[int, int, str]:
    """Return the edit that takes a field out, with its line when nothing else is on it."""
    line = text.rfind("\n", 0, entry.start) + 1
    stop = text.find("\n", entry.end)
    stop = len(text) if stop < 0 else stop + 1
    after = text[entry.end : stop].strip()
    if not text[line : entry.start].strip() and (not after or after.startswith("#")):
        return line, stop, ""
    spaces = re.compile(r"[ \t]*").match(text, entry.end)
    return entry.start, spaces.end() if spaces else entry.end, ""


def _insertion(
    text: str,
    fields: Sequence[str],
    after: int | None,
    before: _Entry | None,
    end: int,
    entries: Sequence[_Entry],
) -> tuple[int, int, str]:
    """Return the edit that puts fields after a place, before a field, or at the end."""
    block = "".join(fields)
    if after is None and before is not None:
        line = text.rfind("\n", 0, before.start) + 1
        if not text[line : before.start].strip():
            return line, line, block
        return before.start, before.start, " ".join(block.split("\n"))
    if after is None and entries:
        after = max(entry.end for entry in entries)
    if after is None:
        if end == len(text):
            return end, end, block if not text or text.endswith("\n") else f"\n{block}"
        return end, end, " " + " ".join(part.strip() for part in block.split("\n"))
    stop = text.find("\n", after)
    rest = text[after : len(text) if stop < 0 else stop].strip()
    if (not rest or rest.startswith("#")) and (stop >= 0 or end == len(text)):
        return (end, end, f"\n{block}") if stop < 0 else (stop + 1, stop + 1, block)
    return after, after, " " + " ".join(part.strip() for part in block.split("\n")).rstrip()


def _field(descriptor: FieldDescriptor, element: Any, depth: int) -> str:
    """Return a field as whole lines."""
    pad = "  " * depth
    if descriptor.message_type is None:
        return f"{pad}{descriptor.name}: {_scalar(descriptor, element)}\n"
    if depth:
        short = text_format.MessageToString(element, as_one_line=True, as_utf8=True)
        line = f"{pad}{descriptor.name} {{ {short}{' ' * bool(short)}}}"
        if len(line) <= WIDTH:
            return line + "\n"
    return f"{pad}{descriptor.name} {{\n{_render(element, depth + 1)}{pad}}}\n"


def _scalar(descriptor: FieldDescriptor, value: Any) -> str:
    out = io.StringIO()
    text_format.PrintFieldValue(descriptor, value, out, as_utf8=True)
    return out.getvalue()


def _render(message: Any, depth: int) -> str:
    fields = list(message.DESCRIPTOR.fields)
    fields.sort(key=lambda f: (FIRST.index(f.name) if f.name in FIRST else len(FIRST), f.number))
    if not depth:
        order = ("default_environment", "dataset_constraints", "feature")
        fields.sort(key=lambda f: order.index(f.name) if f.name in order else len(order))
    return "".join(
        _field(descriptor, element, depth)
        for descriptor in fields
        for element in elements(message, descriptor)
    )
