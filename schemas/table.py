"""A schema as rows for people: a feature a row, in a few words each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .features import cut, environments, is_in, string_values, type_name, valency, walk_features

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

NAMED = 4
_MEASURES = {
    "infinity_norm": "L-infinity",
    "jensen_shannon_divergence": "Jensen-Shannon",
    "normalized_abs_difference": "normalized difference",
}


@dataclass(frozen=True)
class Row:
    """A feature in words.

    Attributes:
        feature: The path, its steps joined by dots.
        type: `INT`, `FLOAT`, `BYTES`, `STRUCT` or `TYPE_UNKNOWN`.
        presence: `required`, `>= 90% of rows`, `optional`.
        values: How many values a row has: `1`, `0 to 3`, `any number`.
        domain: What values are accepted.
        environments: Which it is in; `all` when it is in every one.
        comparators: What skew and drift are held to.
    """

    feature: str
    type: str
    presence: str
    values: str
    domain: str
    environments: str
    comparators: str


def feature_rows(schema: schema_pb2.Schema) -> list[Row]:
    """Return a row per feature, a struct before its fields."""
    known = environments(schema)
    return [
        Row(
            ".".join(path),
            type_name(feature),
            _presence(feature),
            _values(feature),
            _domain(schema, feature),
            _environments(schema, feature, known),
            _comparators(feature),
        )
        for path, feature in walk_features(schema)
    ]


def _presence(feature: Any) -> str:
    stage = type(feature).DESCRIPTOR.fields_by_name["lifecycle_stage"].enum_type
    name = stage.values_by_number[feature.lifecycle_stage].name
    note = f" ({name.lower()})" if feature.lifecycle_stage else ""
    share = feature.presence.min_fraction
    if share >= 1 or feature.group_presence.required:
        return f"required{note}"
    if share > 0:
        return f"in {100 * share:.4g}% of rows{note}"
    return (f"in {feature.presence.min_count} rows" if feature.presence.min_count > 1 else "") + (
        note.strip() if feature.presence.min_count > 1 else f"optional{note}"
    )


def _values(feature: Any) -> str:
    counts = valency(feature)
    if counts is None:
        return "any number"
    low, high = counts
    if high is None:
        return f"{low} or more" if low else "any number"
    return str(low) if low == high else f"{low} to {high}"


def _domain(schema: Any, feature: Any) -> str:
    words = string_values(schema, feature)
    if words is not None:
        more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
        return ", ".join(map(cut, words[:NAMED])) + more
    kind = feature.WhichOneof("domain_info")
    if kind in ("int_domain", "float_domain"):
        domain = getattr(feature, kind)
        low = f"{domain.min:,.10g}" if domain.HasField("min") else ""
        high = f"{domain.max:,.10g}" if domain.HasField("max") else ""
        told = {(True, True): f"{low} to {high}", (True, False): f"from {low}"}
        text = told.get((bool(low), bool(high)), f"up to {high}" if high else "")
        return " ".join(w for w in (text, "categories" if domain.is_categorical else "") if w)
    if kind == "bool_domain":
        domain = feature.bool_domain
        return f"{domain.false_value or '0'} or {domain.true_value or '1'}"
    if kind == "domain":
        return f"{feature.domain} (not defined)"
    return "" if kind in (None, "struct_domain") else kind.removesuffix("_domain").replace("_", " ")


def _environments(schema: Any, feature: Any, known: list[str]) -> str:
    found = [name for name in known if is_in(schema, feature, name)]
    return "all" if found == known else ", ".join(found) or "none"


def _comparators(feature: Any) -> str:
    told = []
    for kind in ("skew", "drift"):
        comparator = getattr(feature, f"{kind}_comparator")
        for name, called in _MEASURES.items():
            if comparator.HasField(name):
                told.append(f"{kind}: {called} <= {getattr(comparator, name).threshold:g}")
    return ", ".join(told)
