"""What differs between two schemas: change by change in words, and as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .features import cut, dotted, walk_features
from .text import blocks, elements, is_repeated

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

# So many words of a domain are named, then how many more there are.
NAMED = 8
CONTEXT = 3


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        place: The feature's path joined by dots, `domain <name>`, or `schema`.
        kind: `added`, `removed` or `changed`.
        what: The difference in words, such as `int_domain.max: 12 -> 13`.
    """

    place: str
    kind: str
    what: str

    def __str__(self) -> str:
        """Return place and difference in one line."""
        return f"{self.place}: {self.what}"


def find_changes(old: schema_pb2.Schema, new: schema_pb2.Schema) -> list[Change]:
    """Return what differs, feature by feature in the new schema's order, then the domains."""
    changes: list[Change] = []
    before, after = (dict(walk_features(schema)) for schema in (old, new))
    for path, feature in after.items():
        if path not in before:
            # The fields of a new struct are told with it.
            if path[:-1] not in after or path[:-1] in before:
                kind = _brief(feature)
                changes.append(Change(dotted(path), "added", f"new feature{kind}"))
        else:
            changes += _of(dotted(path), before[path], feature)
    for path in before:
        if path not in after and (path[:-1] not in before or path[:-1] in after):
            changes.append(Change(dotted(path), "removed", "removed"))
    for field in ("sparse_feature", "weighted_feature", *_DOMAINS):
        changes += _named(field, getattr(old, field), getattr(new, field))
    return [*changes, *_of("schema", old, new)]


_DOMAINS = ("string_domain", "int_domain", "float_domain")


def _brief(feature: Any) -> str:
    kinds = type(feature).DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
    return f" of type {kinds[feature.type].name}" if feature.type else ""


def _named(field: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Change]:
    word = "domain" if field in _DOMAINS else field
    before, after = ({e.name: e for e in elements} for elements in (old, new))
    for name, element in after.items():
        if name not in before:
            values = len(getattr(element, "value", ()))
            what = f"new, {values} value{'s'[: values != 1]}" if values else "new"
            yield Change(f"{word} {name}", "added", what)
        else:
            yield from _of(f"{word} {name}", before[name], element)
    for name in before:
        if name not in after:
            yield Change(f"{word} {name}", "removed", "removed")


def _of(place: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield how two messages differ, leaf by leaf."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    for name in dict.fromkeys([*after, *before]):
        one, two = before.get(name), after.get(name)
        if one == two:
            continue
        if isinstance(one, list) or isinstance(two, list):
            yield Change(place, "changed", _list_change(name, one or [], two or []))
        elif one is None:
            yield Change(place, "changed", f"{name}: {two} added")
        elif two is None:
            yield Change(place, "changed", f"{name}: {one} removed")
        else:
            yield Change(place, "changed", f"{name}: {one} -> {two}")


def _leaves(message: Any, above: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each leaf; features and named domains are told elsewhere."""
    for descriptor, value in message.ListFields():
        name = f"{above}{descriptor.name}"
        kind = descriptor.message_type
        if kind is None:
            yield name, _words(descriptor, value)
        elif is_repeated(descriptor):
            if kind.name.endswith("Feature") or descriptor.name in _DOMAINS:
                continue
            told = (" ".join(str(one).split()) for one in elements(message, descriptor))
            yield name, ", ".join(told)
        elif value.ListFields():
            yield from _leaves(value, f"{name}.")
        else:
            yield name, "{}"


def _words(descriptor: Any, value: Any) -> Any:
    if is_repeated(descriptor):
        return [_word(descriptor, element) for element in value]
    return _word(descriptor, value)


def _word(descriptor: Any, value: Any) -> str:
    if descriptor.enum_type is not None:
        return str(descriptor.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _list_change(name: str, old: Sequence[str], new: Sequence[str]) -> str:
    more = [element for element in new if element not in set(old)]
    less = [element for element in old if element not in set(new)]
    told = [f"{verb} {_list(words)}" for verb, words in (("gains", more), ("loses", less)) if words]
    return f"{name} {' and '.join(told) or 'is in another order'}"


def _list(words: Sequence[str]) -> str:
    rest = len(words) - NAMED
    return ", ".join(map(cut, words[:NAMED])) + (f" and {rest:,} more" if rest > 0 else "")


def unified_diff(old: str, new: str, old_name: str, new_name: str) -> str:
    """Return a unified diff, which `patch` and `git apply` take; `""` when nothing differs.

    Lines are compared together with the feature or domain that they belong to, so that of many
    equal lines (`type: INT`) the right ones are taken for each other.
    """
    if old == new:
        return ""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(
        None,
        list(zip(blocks(old), before, strict=True)),
        list(zip(blocks(new), after, strict=True)),
        autojunk=False,
    )
    lines = [f"--- {old_name}\n", f"+++ {new_name}\n"]
    for group in matcher.get_grouped_opcodes(CONTEXT):
        (_, i, _, k, _), (_, _, j, _, m) = group[0], group[-1]
        lines.append(f"@@ -{_span(i, j)} +{_span(k, m)} @@\n")
        for tag, start, stop, begin, end in group:
            if tag == "equal":
                lines += [f" {line}" for line in before[start:stop]]
                continue
            lines += [f"-{line}" for line in before[start:stop]]
            lines += [f"+{line}" for line in after[begin:end]]
    missing = "\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else f"{line}\n{missing}" for line in lines)


def _span(start: int, stop: int) -> str:
    """Return a range of lines as GNU diff writes it: from 1, the line before when empty."""
    length = stop - start
    return f"{start + (length > 0)}" + (f",{length}" if length != 1 else "")
