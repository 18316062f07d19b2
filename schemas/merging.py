"""Two schemas made one: what only one says is taken, contradictions are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import PenstockError
from .features import cut
from .text import is_repeated

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

# `wider` accepts all that either schema accepts, `narrower` only what both do.
RULES = ("first", "second", "wider", "narrower")
_NAMED = ("feature", "sparse_feature", "weighted_feature", "string_domain", "int_domain")
_DOMAINS = ("string_domain", "int_domain", "float_domain")


@dataclass(frozen=True)
class Conflict:
    """Two schemas that contradict each other in one place.

    Attributes:
        place: Where: the feature's path or `domain <name>`, and the field, joined by dots.
        first: What the first schema says.
        second: What the second says.
        rule: The rule that decided; `""` when none does.
    """

    place: str
    first: str
    second: str
    rule: str

    def __str__(self) -> str:
        """Return both sides in one line."""
        return f"{self.place}: {self.first} or {self.second}"


@dataclass
class _Merge:
    rule: str
    choices: Mapping[str, str]
    conflicts: list[Conflict] = field(default_factory=list)

    def decide(self, place: str, one: Any, two: Any, widths: tuple[Any, Any] | None) -> Any:
        """Return what a rule makes of a contradiction; the first's say when none decides.

        Args:
            place: Where it is.
            one: What the first says.
            two: What the second says.
            widths: The wider and the narrower of what both say; None when there is no such thing.
        """
        rule = self.choices.get(place, self.rule)
        made = {"first": one, "second": two}
        if widths is not None:
            made |= {"wider": widths[0], "narrower": widths[1]}
        decided = rule if rule in made else ""
        self.conflicts.append(Conflict(place, _told(one, two), _told(two, one), decided))
        return made.get(decided, one)


def merge_schemas(
    first: schema_pb2.Schema,
    second: schema_pb2.Schema,
    rule: str = "",
    choices: Mapping[str, str] | None = None,
) -> tuple[schema_pb2.Schema, list[Conflict]]:
    """Merge two schemas.

    What one says and the other does not is taken. Features and domains are matched by name, in the
    first schema's order. A contradiction is decided by `choices`, else by `rule`: `first`,
    `second`, `wider` (the wider range, all words of both, the lower presence) or `narrower`. A
    contradiction of types or kinds of domain has no wider side, so only `first` and `second`
    decide it.

    Args:
        first: A schema.
        second: Another.
        rule: Decides what `choices` does not; `""` decides nothing.
        choices: Rules by the places of contradictions, such as `{"carrier.type": "second"}`.

    Returns:
        The merged schema, in which undecided places are as in `first`, and all contradictions;
        those with the rule `""` are undecided.

    Raises:
        PenstockError: A rule is unknown, or a choice is of a place without a contradiction.
    """
    for given in (rule, *(choices or {}).values()):
        if given and given not in RULES:
            raise PenstockError(f"There is no rule {given!r}; there are {', '.join(RULES)}.")
    merge = _Merge(rule, choices or {})
    merged = _message(merge, "", first, second)
    places = {conflict.place for conflict in merge.conflicts}
    for place in choices or {}:
        if place not in places:
            known = ", ".join(sorted(places)) or "none"
            raise PenstockError(
                f"The choice {place!r} is of no contradiction between the schemas; there are "
                f"{known}."
            )
    return merged, merge.conflicts


def _message(merge: _Merge, place: str, one: Any, two: Any) -> Any:
    """Return two messages merged field by field."""
    result = type(one)()
    result.CopyFrom(one)
    decided: set[str] = set()
    for group in one.DESCRIPTOR.oneofs:
        mine, other = one.WhichOneof(group.name), two.WhichOneof(group.name)
        if mine and other and mine != other:
            _choose_kind(merge, _join(place, group.name), result, one, two, mine, other)
            decided.update(f.name for f in group.fields)
    for descriptor in one.DESCRIPTOR.fields:
        name = descriptor.name
        if name in decided or not _given(two, descriptor):
            continue
        mine, other = getattr(one, name), getattr(two, name)
        if not _given(one, descriptor):
            _set(result, descriptor, other)
        elif mine != other:
            if descriptor.message_type is None:
                made = _leaf(merge, _join(place, name), descriptor, mine, other)
            elif not is_repeated(descriptor):
                above = place if name == "struct_domain" else _join(place, name)
                made = _message(merge, above, mine, other)
            elif name in _NAMED or name in _DOMAINS:
                made = _by_name(merge, place, name, mine, other)
            else:
                made = merge.decide(_join(place, name), mine, other, None)
            _set(result, descriptor, made)
    return result


def _choose_kind(
    merge: _Merge, place: str, result: Any, one: Any, two: Any, mine: str, other: str
) -> None:
    """Decide between two fields of which a message has only one."""
    sides = [(mine, getattr(one, mine)), (other, getattr(two, other))]
    texts = [name if not _brief(value) else f"{name} {_brief(value)}" for name, value in sides]
    if merge.decide(place, texts[0], texts[1], None) == texts[1]:
        _set(result, two.DESCRIPTOR.fields_by_name[other], sides[1][1])


def _by_name(
    merge: _Merge, place: str, kind: str, mine: Sequence[Any], other: Sequence[Any]
) -> list[Any]:
    """Return named elements of both, merged where both have one of the name."""
    theirs = {element.name: element for element in other}
    word = "domain " if kind in _DOMAINS else ""
    made = []
    for element in mine:
        if element.name in theirs:
            inside = _join(place, f"{word}{element.name}")
            made.append(_message(merge, inside, element, theirs.pop(element.name)))
        else:
            made.append(element)
    return [*made, *theirs.values()]


def _leaf(merge: _Merge, place: str, descriptor: Any, mine: Any, other: Any) -> Any:
    name = descriptor.name
    if descriptor.enum_type is not None:
        words = descriptor.enum_type.values_by_number
        made = merge.decide(place, words[mine].name, words[other].name, None)
        return descriptor.enum_type.values_by_name[made].number
    if hasattr(mine, "append"):
        ordered = list(mine) == sorted(mine) and list(other) == sorted(other)
        all_words = list(dict.fromkeys([*mine, *other]))
        widths = (
            sorted(all_words) if ordered else all_words,
            [element for element in mine if element in other],
        )
        return merge.decide(place, list(mine), list(other), widths)
    if name.startswith(("min", "max")) or name == "threshold" or name.startswith("disallow"):
        low, high = sorted((mine, other))
        wide_is_low = name.startswith(("min", "disallow"))
        return merge.decide(place, mine, other, (low, high) if wide_is_low else (high, low))
    return merge.decide(place, mine, other, None)


def _given(message: Any, descriptor: Any) -> bool:
    if is_repeated(descriptor):
        return bool(len(getattr(message, descriptor.name)))
    return bool(message.HasField(descriptor.name))


def _set(message: Any, descriptor: Any, value: Any) -> None:
    if is_repeated(descriptor):
        made = type(message)()
        getattr(made, descriptor.name).MergeFrom(value)
        message.ClearField(descriptor.name)
        message.MergeFrom(made)
    elif descriptor.message_type is not None:
        getattr(message, descriptor.name).CopyFrom(value)
    else:
        setattr(message, descriptor.name, value)


def _told(value: Any, other: Any) -> str:
    """Return a value in words; of a list, what the other does not have."""
    if not isinstance(value, list):
        return _brief(value)
    more = [element for element in value if element not in other]
    return f"also {_brief(more)}" if more else "nothing more"


def _brief(value: Any) -> str:
    return cut(" ".join(str(value).split()), 80)


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
