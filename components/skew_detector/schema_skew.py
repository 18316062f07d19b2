"""Skew of the columns themselves: missing or extra features, types, valency, domains, presence."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from ...drift.distribution import Categorical, missing_rate
from ...schemas.features import dotted, is_in, is_validated, string_values, walk_features
from .findings import Finding
from .sides import Known

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

NAMED = 3


def columns_skew(
    training: Known, serving: Known, severity: str, absent: Collection[str]
) -> Iterator[Finding]:
    """Yield how the columns of serving are not training's.

    Args:
        training: One side.
        serving: The other.
        severity: `fail` or `warn`.
        absent: Features that serving does not have by the schema.
    """
    for name in [n for n in training.features if n not in serving.features and n not in absent]:
        sentence = f"{name} is in training and not in serving."
        yield Finding("schema", name, "MISSING", severity, sentence)
    for name in [n for n in serving.features if n not in training.features and n not in absent]:
        # No model reads it, so it harms nothing.
        sentence = f"{name} is in serving and not in training."
        yield Finding("schema", name, "EXTRA", "warn", sentence)
    for name, one in training.features.items():
        other = serving.features.get(name)
        if other is None or name in absent or not one.type or not other.type:
            continue
        if one.type != other.type:
            sentence = f"{name} is {one.type} in training and {other.type} in serving."
            yield Finding("schema", name, "TYPE", severity, sentence)
        elif one.listed != other.listed:
            words = {True: "several values", False: "one value"}
            yield Finding(
                "schema",
                name,
                "VALENCY",
                severity,
                f"{name} has {words[one.listed]} a row in training and {words[other.listed]} in "
                "serving.",
            )


def contract_skew(
    schema: schema_pb2.Schema,
    serving: Known,
    environment: str,
    severity: str,
    exclude: Collection[str],
) -> Iterator[Finding]:
    """Yield how serving breaks the schema: values out of domains, and missing ones."""
    for path, feature in walk_features(schema):
        name = dotted(path)
        distribution = serving.distributions.get(name)
        if (
            path[0] in exclude
            or not is_validated(feature)
            or not is_in(schema, feature, environment)
        ):
            continue
        if distribution is None:
            continue
        yield from _words(schema, feature, name, distribution, severity)
        yield from _range(feature, name, serving.ranges.get(name), severity)
        missing, allowed = missing_rate(distribution), 1 - feature.presence.min_fraction
        if missing > allowed + 1e-9:
            yield Finding(
                "schema",
                name,
                "PRESENCE",
                severity,
                f"{name} is missing in {missing:.3%} of serving, and the schema allows "
                f"{allowed:.3%}.",
                missing,
                allowed,
            )


def _words(
    schema: Any, feature: Any, name: str, distribution: Any, severity: str
) -> Iterator[Finding]:
    words = string_values(schema, feature)
    if words is not None and isinstance(distribution, Categorical) and distribution.n:
        strange = {w: n for w, n in distribution.counts.items() if w not in set(words)}
        share = sum(strange.values()) / distribution.n
        mass = feature.distribution_constraints.min_domain_mass
        if strange and share > 1 - mass:
            first = sorted(strange, key=lambda word: -strange[word])[:NAMED]
            yield Finding(
                "schema",
                name,
                "DOMAIN",
                severity,
                f"{name} has words that the schema does not list in {share:.3%} of serving: "
                f"{', '.join(map(repr, first))}.",
                share,
                1 - mass,
            )


def _range(
    feature: Any, name: str, ends: tuple[float, float] | None, severity: str
) -> Iterator[Finding]:
    kind = feature.WhichOneof("domain_info")
    if ends is None or kind not in ("int_domain", "float_domain"):
        return
    domain = getattr(feature, kind)
    below = domain.HasField("min") and ends[0] < domain.min
    above = domain.HasField("max") and ends[1] > domain.max
    if below or above:
        limit = f"at least {domain.min:g}" if below else f"at most {domain.max:g}"
        value = ends[0] if below else ends[1]
        yield Finding(
            "schema",
            name,
            "DOMAIN",
            severity,
            f"{name} reaches {value:g} in serving, and the schema allows {limit}.",
            value,
            float(domain.min if below else domain.max),
        )
