"""The policy: what each anomaly does, how many rows may offend, and rules of the author's own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

import jsonschema
import yaml

from ... import schemas
from ...drift.rules import DEFAULT_RULES, Rule
from ...errors import PenstockError
from .anomaly_types import ANOMALY_TYPES

WHERE = "The data policy"
SCHEMA = "data_policy.schema.json"


@dataclass(frozen=True)
class Ruling:
    """What an anomaly does: its severity, and the share of offending rows that is tolerated."""

    severity: str
    tolerate: float = 0.0


@dataclass(frozen=True)
class Override:
    """An exception for the anomalies that fit all three patterns; None changes nothing."""

    types: tuple[str, ...]
    features: tuple[str, ...]
    splits: tuple[str, ...]
    severity: str | None
    tolerate: float | None

    def fits(self, kind: str, feature: str | None, split: str) -> bool:
        """Return whether the exception is for this anomaly."""
        return (_fits(kind, self.types) and _fits(feature or "", self.features)) and _fits(
            split, self.splits
        )


@dataclass(frozen=True)
class CustomRule:
    """A rule of the author's: an SQL expression that must not be false.

    Attributes:
        name: What it is called.
        sql: The expression, over the columns of a row or of the table of statistics.
        description: What it is for.
        ruling: What breaking it does.
        features: Patterns of the features it is about; rules over statistics only.
        splits: Patterns of the splits it is about.
    """

    name: str
    sql: str
    description: str
    ruling: Ruling
    features: tuple[str, ...] = ("*",)
    splits: tuple[str, ...] = ("*",)

    def is_about(self, split: str) -> bool:
        """Return whether the rule is about a split."""
        return _fits(split, self.splits)


@dataclass(frozen=True)
class Policy:
    """A policy that has been checked; docs/validation.md says what each key does."""

    on_anomalies: str = "fail"
    severities: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    row_rules: tuple[CustomRule, ...] = ()
    statistics_rules: tuple[CustomRule, ...] = ()
    drift_rules: tuple[Rule, ...] = DEFAULT_RULES
    skew_rules: tuple[Rule, ...] = DEFAULT_RULES
    max_quarantined_share: float = 0.1
    sample_rows: int = 100

    def ruling(self, kind: str, feature: str | None, split: str) -> Ruling:
        """Return what an anomaly of type `kind` does.

        A type that this version does not know fails.
        """
        known = ANOMALY_TYPES.get(kind)
        severity = self.severities.get(kind, known.severity if known else "fail")
        tolerate = 0.0
        for override in self.overrides:
            if override.fits(kind, feature, split):
                severity = override.severity or severity
                tolerate = tolerate if override.tolerate is None else override.tolerate
        return Ruling(severity, tolerate)

    def needs_rows(self) -> str:
        """Return the key for whose sake the rows are needed; empty when statistics suffice."""
        if self.row_rules:
            return "row_rules"
        if "quarantine" in self.severities.values():
            return "severity quarantine"
        for override in self.overrides:
            if override.severity == "quarantine":
                return "severity quarantine"
            if override.tolerate:
                return "tolerate"
        return ""


def parse_policy(text: str) -> Policy:
    """Parse a policy's YAML; empty text is the default policy.

    Raises:
        PenstockError: It is no YAML, a key is given twice, unknown, or has a wrong value: the
            sentence names the line and the place in the file.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        reason = getattr(error, "problem", None) or "it does not parse"
        raise PenstockError(
            f"{WHERE} is not YAML{place}: {reason}; see docs/validation.md for what it holds."
        ) from error
    if tree is None or content is None:
        return Policy()
    try:
        _refuse_duplicate_keys(tree, ())
    except RecursionError:
        raise PenstockError(f"{WHERE} holds itself by an alias; write it out.") from None
    _check_shape(content, tree)
    _check_types(content, tree)
    return Policy(
        on_anomalies=content.get("on_anomalies", "fail"),
        severities=content.get("severities", {}),
        overrides=tuple(_override(each) for each in content.get("overrides", ())),
        row_rules=_custom_rules(content, tree, "row_rules"),
        statistics_rules=_custom_rules(content, tree, "statistics_rules"),
        drift_rules=_comparison_rules(content, tree, "drift_rules"),
        skew_rules=_comparison_rules(content, tree, "skew_rules"),
        max_quarantined_share=float(content.get("max_quarantined_share", 0.1)),
        sample_rows=content.get("sample_rows", 100),
    )


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _override(content: Mapping[str, Any]) -> Override:
    def patterns(key: str) -> tuple[str, ...]:
        return tuple(content.get(key, ("*",)))

    tolerate = content.get("tolerate")
    return Override(
        patterns("types"),
        patterns("features"),
        patterns("splits"),
        content.get("severity"),
        None if tolerate is None else float(tolerate),
    )


def _custom_rules(content: Mapping[str, Any], tree: yaml.Node, key: str) -> tuple[CustomRule, ...]:
    rules: dict[str, CustomRule] = {}
    for place, each in enumerate(content.get(key, ())):
        if each["name"] in rules:
            raise _wrong(
                tree,
                (key, place, "name"),
                f"{each['name']!r} is the name of a rule before it",
                "give each rule a name of its own",
            )
        rules[each["name"]] = CustomRule(
            each["name"],
            each["sql"],
            each.get("description", ""),
            Ruling(each.get("severity", "fail"), float(each.get("tolerate", 0))),
            tuple(each.get("features", ("*",))),
            tuple(each.get("splits", ("*",))),
        )
    return tuple(rules.values())


def _comparison_rules(content: Mapping[str, Any], tree: yaml.Node, key: str) -> tuple[Rule, ...]:
    if key not in content:
        return DEFAULT_RULES
    rules = []
    for place, each in enumerate(content[key]):
        try:
            rules.append(Rule(**each))
        except PenstockError as error:
            raise PenstockError(f"{_place(tree, (key, place))}: {error}") from error
    return tuple(rules)


def _check_shape(content: Any, tree: yaml.Node) -> None:
    shape = json.loads(resources.files(schemas).joinpath(SCHEMA).read_text())
    validator = jsonschema.Draft202012Validator(shape)
    error = jsonschema.exceptions.best_match(validator.iter_errors(content))
    if error is None:
        return
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        raise _wrong(
            tree,
            (*path, unknown),
            "there is no such key",
            f"there are {', '.join(known)}" + _meant(str(unknown), known),
        )
    if error.validator == "required":
        lacking = next(key for key in error.validator_value if key not in error.instance)
        raise _wrong(tree, path, f"{lacking} is missing", f"add {lacking}")
    if error.validator == "anyOf":
        raise _wrong(tree, path, "it changes nothing", "give a severity, or a share to tolerate")
    raise _wrong(tree, path, f"{error.instance!r} does not fit", _expected(error))


def _expected(error: jsonschema.ValidationError) -> str:
    """Return what the JSON Schema wants at an error's place, in words."""
    rule, value = error.validator, error.validator_value
    if rule == "enum":
        return f"give one of {', '.join(map(str, value))}" + _meant(str(error.instance), value)
    if rule == "type":
        words = {"object": "a mapping", "array": "a list", "string": "text", "number": "a number"}
        return f"give {words.get(value, 'a whole number')}"
    limits = [
        f"{word} {error.schema[key]:g}"
        for key, word in (
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("exclusiveMinimum", "above"),
            ("exclusiveMaximum", "below"),
        )
        if key in error.schema
    ]
    if rule in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        return f"give a number {' and '.join(limits)}"
    if rule == "pattern":
        return "give letters, digits, - and _, at most 60"
    return "give at least one" if rule == "minItems" else "give text that is not empty"


def _check_types(content: Mapping[str, Any], tree: yaml.Node) -> None:
    """Check names of anomaly types, and that rows can be named where they are to go."""
    named: list[tuple[tuple[Any, ...], str, str | None]] = [
        (("severities", kind), kind, severity)
        for kind, severity in content.get("severities", {}).items()
    ]
    for place, each in enumerate(content.get("overrides", ())):
        for number, pattern in enumerate(each.get("types", ())):
            path = ("overrides", place, "types", number)
            if not set(pattern) & set("*?["):
                named.append((path, pattern, each.get("severity")))
            elif not any(fnmatchcase(kind, pattern) for kind in ANOMALY_TYPES):
                raise _wrong(
                    tree, path, f"no anomaly type fits {pattern!r}", "see docs/validation.md"
                )
    for path, kind, severity in named:
        if kind not in ANOMALY_TYPES:
            raise _wrong(
                tree,
                path,
                f"there is no anomaly type {kind!r}",
                f"docs/validation.md lists them{_meant(str(kind), ANOMALY_TYPES)}",
            )
        if severity == "quarantine" and not ANOMALY_TYPES[kind].rows:
            raise _wrong(
                tree,
                path,
                f"{kind} is not about single rows, so none can go to quarantine",
                "give ignore, warn or fail",
            )


def _refuse_duplicate_keys(node: yaml.Node, path: tuple[Any, ...]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise PenstockError(
                    f"{WHERE}, line {key.start_mark.line + 1}, {_dotted((*path, key.value))}: the "
                    "key is given twice; give it once."
                )
            seen.add(key.value)
            _refuse_duplicate_keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _refuse_duplicate_keys(value, (*path, place))


def _wrong(tree: yaml.Node, path: Sequence[Any], what: str, mend: str) -> PenstockError:
    return PenstockError(f"{_place(tree, path)}: {what}; {mend}.")


def _place(tree: yaml.Node, path: Sequence[Any]) -> str:
    """Return where in the policy something stands, such as `line 3, overrides[0].severity`."""
    node, line = tree, tree.start_mark.line
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode):
            node = node.value[step]
            line = node.start_mark.line
    where = f", {_dotted(path)}" if path else ""
    return f"{WHERE}, line {line + 1}{where}"


def _dotted(path: Sequence[Any]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text


def _meant(word: str, known: Iterable[Any]) -> str:
    close = difflib.get_close_matches(word, [str(name) for name in known], 1)
    return f" (did you mean {close[0]}?)" if close else ""
