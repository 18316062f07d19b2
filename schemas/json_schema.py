"""A schema as JSON Schema: what one row must be like, as a JSON object.

A feature is a property. A feature of one value is that value, others are arrays (nested lists too),
a struct is an object. BYTES are strings, INT integers (booleans count as such, as in TFDV), FLOAT
numbers. What only a whole data set can break is not said: shares of presence below 1, a domain that
tolerates other words, distributions, numbers of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .features import is_in, is_validated, string_values, type_name, valency

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(schema: schema_pb2.Schema, environment: str = "") -> dict[str, Any]:
    """Return the JSON Schema of a row.

    Args:
        schema: The schema.
        environment: An environment whose rows are described; what is not in it may be there or not,
            and is not looked at. `""` for all features.
    """
    return {"$schema": DRAFT, **_object(schema, schema.feature, environment)}


def _object(schema: Any, features: Any, environment: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for feature in features:
        if not is_validated(feature) or not is_in(schema, feature, environment):
            properties[feature.name] = True
            continue
        must = feature.presence.min_fraction >= 1 or feature.group_presence.required
        properties[feature.name] = _feature(schema, feature, environment, must)
        if must:
            required.append(feature.name)
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        found["required"] = required
    return found | {"additionalProperties": False}


def _feature(schema: Any, feature: Any, environment: str, must: bool) -> dict[str, Any]:
    value = _value(schema, feature, environment)
    counts = valency(feature)
    found: dict[str, Any]
    if counts is None:
        found = {"anyOf": [value, {"type": "array", "items": value}]}
    elif counts == (1, 1) and len(feature.shape.dim) < 2:
        found = value
    else:
        inner = [(int(c.min), int(c.max) or None) for c in feature.value_counts.value_count[1:]]
        found = value
        for low, high in reversed([counts, *inner]):
            found = {"type": "array", "items": found}
            found |= {"minItems": low} if low else {}
            found |= {"maxItems": high} if high is not None else {}
    return found if must else {"anyOf": [found, {"type": "null"}]}


def _value(schema: Any, feature: Any, environment: str) -> dict[str, Any]:
    kind = type_name(feature)
    if kind == "STRUCT":
        if not feature.struct_domain.feature:
            return {"type": "object"}
        return _object(schema, feature.struct_domain.feature, environment)
    if kind == "BYTES":
        return _string(schema, feature)
    if kind == "TYPE_UNKNOWN":
        return {}
    if feature.WhichOneof("domain_info") == "bool_domain":
        return {"enum": [0, 1, False, True]} if kind == "INT" else {"enum": [0, 1]}
    found: dict[str, Any] = {"type": ["integer", "boolean"] if kind == "INT" else "number"}
    domain = feature.int_domain if kind == "INT" else feature.float_domain
    if domain.HasField("min"):
        found["minimum"] = domain.min
    if domain.HasField("max"):
        found["maximum"] = domain.max
    return found


def _string(schema: Any, feature: Any) -> dict[str, Any]:
    words = string_values(schema, feature)
    whole = (
        not feature.HasField("distribution_constraints")
        or feature.distribution_constraints.min_domain_mass >= 1
    )
    if words and whole:
        return {"type": "string", "enum": list(words)}
    domain = feature.bool_domain
    if domain.true_value or domain.false_value:
        return {"type": "string", "enum": [w for w in (domain.true_value, domain.false_value) if w]}
    return {"type": "string"}
