"""What is wrong with a schema as such: contradictions, and lines that can never have an effect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .features import DOMAINS, dotted, is_categorical, is_in, type_name, walk_features

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

ERROR, WARNING = "error", "warning"
# A measure and what it is called; the largest value that each can take is 1.
COMPARATORS = {
    "infinity_norm": "the L-infinity norm",
    "jensen_shannon_divergence": "the Jensen-Shannon divergence",
    "normalized_abs_difference": "the normalized absolute difference",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        place: The feature's path joined by dots, `domain <name>`, or `schema`.
        rule: Which rule it breaks, such as `duplicate-feature`.
        severity: `error`, or `warning` for what may be meant.
        sentence: What is wrong and how to mend it.
    """

    place: str
    rule: str
    severity: str
    sentence: str

    def __str__(self) -> str:
        """Return the finding in one line."""
        return f"{self.severity}: {self.place}: {self.sentence} [{self.rule}]"


def check_schema(schema: schema_pb2.Schema, labels: Sequence[str] = ()) -> list[Finding]:
    """Return what is wrong with a schema, errors first, each group in the schema's order.

    Args:
        schema: The schema.
        labels: Features, by their paths, that a serving row does not have.
    """
    found = [finding for rule in _RULES for finding in rule(schema)]
    found += _labels(schema, labels)
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def _duplicates(schema: schema_pb2.Schema) -> Iterator[Finding]:
    counts = Counter(path for path, _ in walk_features(schema))
    counts.update((e.name,) for e in [*schema.sparse_feature, *schema.weighted_feature])
    for path, count in counts.items():
        if count > 1:
            yield Finding(
                dotted(path),
                "duplicate-feature",
                ERROR,
                f"There are {count} features of this name; keep one.",
            )
        if not path[-1]:
            sentence = "A feature has no name; name it, or take it out."
            yield Finding(dotted(path) or "schema", "no-name", ERROR, sentence)
    for name, count in Counter(domain.name for domain in schema.string_domain).items():
        if count > 1:
            sentence = f"There are {count} domains of this name; keep one."
            yield Finding(f"domain {name}", "duplicate-domain", ERROR, sentence)


def _domains(schema: schema_pb2.Schema) -> Iterator[Finding]:
    defined = {domain.name: domain for domain in schema.string_domain}
    used = set()
    for path, feature in walk_features(schema):
        place, kind = dotted(path), type_name(feature)
        domain = feature.WhichOneof("domain_info")
        if kind == "TYPE_UNKNOWN":
            sentence = "No type is given, so any is accepted; give BYTES, INT, FLOAT or STRUCT."
            yield Finding(place, "no-type", WARNING, sentence)
        elif domain and domain not in DOMAINS[kind]:
            yield Finding(
                place,
                "domain-of-another-type",
                ERROR,
                f"It is {kind} but has a {domain}, which TFDV rejects in every data set; give a "
                "domain of its type, or mend the type.",
            )
        if domain == "domain":
            used.add(feature.domain)
            if feature.domain not in defined:
                yield Finding(
                    place,
                    "undefined-domain",
                    ERROR,
                    f"The domain {feature.domain!r} is not defined; add string_domain {{ name: "
                    f'"{feature.domain}" ... }}, or take the reference out.',
                )
        flags = feature.bool_domain
        if flags.true_value and flags.true_value == flags.false_value:
            sentence = "true_value and false_value are the same; give two words."
            yield Finding(place, "one-boolean", ERROR, sentence)
        if domain == "float_domain" and feature.float_domain.is_categorical:
            yield Finding(
                place,
                "categorical-float",
                ERROR,
                "TFDV computes no statistics of categorical floats; make it INT or BYTES, or take "
                "is_categorical out.",
            )
        if domain == "string_domain":
            yield from _words(place, feature.string_domain)
    for name, defined_domain in defined.items():
        yield from _words(f"domain {name}", defined_domain)
        if name not in used:
            sentence = "No feature refers to it; take it out, or refer to it."
            yield Finding(f"domain {name}", "unused-domain", WARNING, sentence)


def _words(place: str, domain: Any) -> Iterator[Finding]:
    if not domain.value:
        sentence = "It lists no words, so none is accepted; list them, or take the domain out."
        yield Finding(place, "empty-domain", ERROR, sentence)
    twice = [word for word, count in Counter(domain.value).items() if count > 1]
    if twice:
        sentence = f"The word {twice[0]!r} is listed twice; keep one."
        yield Finding(place, "duplicate-word", WARNING, sentence)


def _bounds(schema: schema_pb2.Schema) -> Iterator[Finding]:
    for path, feature in walk_features(schema):
        place = dotted(path)
        for field in ("int_domain", "float_domain", "value_count", "unique_constraints"):
            if feature.HasField(field):
                # 0 is no maximum there; in a range it is a number.
                open_end = field in ("value_count", "unique_constraints")
                yield from _interval(place, field, getattr(feature, field), open_end)
        for count in feature.value_counts.value_count:
            yield from _interval(place, "value_counts.value_count", count, True)
        for dim in feature.shape.dim:
            if dim.HasField("size") and dim.size < 1:
                sentence = f"shape has a dim of size {dim.size}; give at least 1."
                yield Finding(place, "shape-out-of-range", ERROR, sentence)
        yield from _share(place, "presence.min_fraction", feature.presence.min_fraction)
        mass = feature.distribution_constraints.min_domain_mass
        yield from _share(place, "distribution_constraints.min_domain_mass", mass)
        if feature.presence.min_count < 0:
            sentence = f"presence.min_count is {feature.presence.min_count}; give at least 0."
            yield Finding(place, "presence-out-of-range", ERROR, sentence)
    constraints = schema.dataset_constraints
    low, high = constraints.min_examples_count, constraints.max_examples_count
    if 0 < high < low:
        sentence = f"min_examples_count {low} is above max_examples_count {high}; mend them."
        yield Finding("schema", "min-above-max", ERROR, sentence)


def _interval(place: str, field: str, bounds: Any, open_end: bool) -> Iterator[Finding]:
    for name in ("min", "max"):
        value = getattr(bounds, name)
        if isinstance(value, float) and math.isnan(value):
            sentence = f"{field}.{name} is NaN, which bounds nothing; give a number."
            yield Finding(place, "bound-not-a-number", ERROR, sentence)
        if open_end and value < 0:
            sentence = f"{field}.{name} is {value}; a number of values is at least 0."
            yield Finding(place, "count-out-of-range", ERROR, sentence)
    both = bounds.HasField("min") and bounds.HasField("max")
    if both and bounds.min > bounds.max and not (open_end and bounds.max == 0):
        sentence = f"{field} has min {bounds.min:g} above max {bounds.max:g}; swap or mend them."
        yield Finding(place, "min-above-max", ERROR, sentence)


def _share(place: str, field: str, value: float) -> Iterator[Finding]:
    if not 0 <= value <= 1:
        sentence = f"{field} is {value:g}; give a share from 0 to 1."
        yield Finding(place, "share-out-of-range", ERROR, sentence)


def _environments(schema: schema_pb2.Schema) -> Iterator[Finding]:
    default = list(schema.default_environment)
    everywhere = {e for _, feature in walk_features(schema) for e in feature.in_environment}
    outside: dict[str, str] = {}
    for path, feature in walk_features(schema):
        place = dotted(path)
        for name in feature.not_in_environment:
            if name in feature.in_environment:
                sentence = f"It is both in and not in the environment {name!r}; keep one."
                yield Finding(place, "environment-contradiction", ERROR, sentence)
            elif name not in default and name not in everywhere:
                yield Finding(
                    place,
                    "unreachable-environment",
                    ERROR,
                    f"not_in_environment names {name!r}, which no feature is in: validating there "
                    f'would check nothing; add default_environment: "{name}".',
                )
        for name in feature.in_environment:
            if name not in default:
                outside.setdefault(name, place)
        if (
            default
            and not feature.in_environment
            and not ({*default} - {*feature.not_in_environment})
        ):
            sentence = "It is in no environment, so it is never validated; leave it in one."
            yield Finding(place, "unreachable-feature", ERROR, sentence)
    for name, place in outside.items():
        left = [f.name for f in schema.feature if not is_in(schema, f, name)]
        if left:
            yield Finding(
                place,
                "environment-of-few",
                WARNING,
                f"in_environment names {name!r}, which {len(left)} other features are not in, such "
                f'as {left[0]!r}; add default_environment: "{name}" when it is meant for all.',
            )


def _comparators(schema: schema_pb2.Schema) -> Iterator[Finding]:
    for path, feature in walk_features(schema):
        for field in ("skew_comparator", "drift_comparator"):
            if not feature.HasField(field):
                continue
            comparator = getattr(feature, field)
            chosen = [name for name in COMPARATORS if comparator.HasField(name)]
            if not chosen:
                sentence = f"{field} has no measure; give {', '.join(COMPARATORS)}, or take it out."
                yield Finding(dotted(path), "empty-comparator", ERROR, sentence)
            for name in chosen:
                value = getattr(comparator, name)
                yield from _comparator(dotted(path), feature, field, name, value)


def _comparator(place: str, feature: Any, field: str, name: str, value: Any) -> Iterator[Finding]:
    kind, words = type_name(feature), is_categorical(feature)
    image = feature.WhichOneof("domain_info") == "image_domain"
    called = COMPARATORS[name]
    if kind == "STRUCT" or image:
        what = "bytes of images" if image else "structs"
        sentence = f"{field} takes {called}, but TFDV counts no values of {what}; take it out."
        yield Finding(place, "comparator-of-another-type", ERROR, sentence)
    elif name != "jensen_shannon_divergence" and kind in ("INT", "FLOAT") and not words:
        rule = "l-infinity-on-numbers" if name == "infinity_norm" else "comparator-of-another-type"
        yield Finding(
            place,
            rule,
            ERROR,
            f"{field} takes {called} of numbers, for which TFDV always reports 0; take "
            "jensen_shannon_divergence, or declare categories by int_domain { is_categorical: "
            "true }.",
        )
    if not value.HasField("threshold"):
        sentence = f"{field}.{name} has no threshold; give one above 0 and below 1."
        yield Finding(place, "no-threshold", ERROR, sentence)
    elif not 0 <= value.threshold < 1:
        yield Finding(
            place,
            "threshold-out-of-range",
            ERROR,
            f"{field}.{name} has the threshold {value.threshold:g}, but the measure lies between 0 "
            "and 1; give one above 0 and below 1.",
        )


def _references(schema: schema_pb2.Schema) -> Iterator[Finding]:
    names = {dotted(path) for path, _ in walk_features(schema)}
    for sparse in schema.sparse_feature:
        parts = [*(index.name for index in sparse.index_feature), sparse.value_feature.name]
        yield from _undefined(sparse.name, "sparse_feature", parts, names)
    for weighted in schema.weighted_feature:
        parts = [".".join(weighted.feature.step), ".".join(weighted.weight_feature.step)]
        yield from _undefined(weighted.name, "weighted_feature", parts, names)
    for path, feature in walk_features(schema):
        if feature.HasField("unique_constraints") and not is_categorical(feature):
            yield Finding(
                dotted(path),
                "unique-of-numbers",
                ERROR,
                "unique_constraints needs values that are counted one by one, and numbers are "
                "not; take it out, or declare categories.",
            )


def _undefined(place: str, kind: str, parts: Sequence[str], names: set[str]) -> Iterator[Finding]:
    for part in parts:
        if part not in names:
            sentence = f"The {kind} refers to {part!r}, which is no feature of the schema; mend it."
            yield Finding(place, "undefined-feature", ERROR, sentence)


def _labels(schema: schema_pb2.Schema, labels: Sequence[str]) -> Iterator[Finding]:
    features = {dotted(path): feature for path, feature in walk_features(schema)}
    for label in labels:
        feature = features.get(label)
        if feature is None:
            sentence = f"The label {label!r} is no feature of the schema; mend the name."
            yield Finding(label, "no-label", ERROR, sentence)
        elif "SERVING" not in schema.default_environment:
            sentence = (
                'There is no environment for serving rows; add default_environment: "SERVING".'
            )
            yield Finding(label, "no-serving-environment", ERROR, sentence)
        elif is_in(schema, feature, "SERVING"):
            yield Finding(
                label,
                "label-in-serving",
                ERROR,
                "The label is expected in serving rows, which cannot have it; add "
                'not_in_environment: "SERVING".',
            )


_RULES: tuple[Callable[[Any], Iterator[Finding]], ...] = (
    _duplicates,
    _domains,
    _bounds,
    _environments,
    _comparators,
    _references,
)
