"""The features of a schema, those within structs too, and the environments that each is in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

Path = tuple[str, ...]

# TFDV leaves features in these stages out of validation.
UNVALIDATED = ("PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY", "DISABLED")

# The domains that TFDV accepts for a type; any for features without one.
DOMAINS = {
    "BYTES": {
        *("domain", "string_domain", "bool_domain", "int_domain", "float_domain", "url_domain"),
        *("natural_language_domain", "image_domain", "mid_domain", "time_domain"),
        "time_of_day_domain",
    },
    "INT": {
        *("int_domain", "bool_domain", "natural_language_domain", "time_domain"),
        "time_of_day_domain",
    },
    "FLOAT": {"float_domain", "bool_domain"},
    "STRUCT": {"struct_domain"},
}


def walk_features(
    schema: schema_pb2.Schema,
) -> Iterator[tuple[Path, schema_pb2.Feature]]:
    """Yield each feature with the steps of its path, a struct before its fields."""
    yield from _walk(schema.feature, ())


def _walk(features: Any, above: Path) -> Iterator[tuple[Path, Any]]:
    for feature in features:
        path = (*above, feature.name)
        yield path, feature
        if feature.HasField("struct_domain"):
            yield from _walk(feature.struct_domain.feature, path)


def cut(text: str, characters: int = 40) -> str:
    """Return a text that people can read: its beginning, when it is longer than so many."""
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def dotted(path: Path) -> str:
    """Return a path as people write it, its steps joined by dots."""
    return ".".join(path)


def environments(schema: schema_pb2.Schema) -> list[str]:
    """Return every environment that the schema names, the default ones first."""
    found = dict.fromkeys(schema.default_environment)
    for _, feature in walk_features(schema):
        found.update(dict.fromkeys([*feature.in_environment, *feature.not_in_environment]))
    return list(found)


def is_in(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
    """Return whether a feature is expected in an environment, by TFDV's rule.

    That is: it names the environment in `in_environment`; or the environment is a default one and
    the feature does not name it in `not_in_environment`. Every feature is in `""`.
    """
    if not environment or environment in feature.in_environment:
        return True
    return (
        environment in schema.default_environment and environment not in feature.not_in_environment
    )


def is_validated(feature: schema_pb2.Feature) -> bool:
    """Return whether TFDV holds data to the feature: it is neither deprecated nor in trial."""
    stage = type(feature).DESCRIPTOR.fields_by_name["lifecycle_stage"].enum_type
    name = stage.values_by_number[feature.lifecycle_stage].name
    return not feature.deprecated and name not in UNVALIDATED


def is_categorical(feature: schema_pb2.Feature) -> bool:
    """Return whether TFDV counts a feature's values one by one, as words rather than numbers."""
    kind = type_name(feature)
    domain = feature.WhichOneof("domain_info")
    if kind == "BYTES":
        return bool(domain != "image_domain")
    return kind == "INT" and (
        (domain == "int_domain" and feature.int_domain.is_categorical)
        or domain in ("bool_domain", "natural_language_domain")
    )


def type_name(feature: schema_pb2.Feature) -> str:
    """Return a feature's type by name: `BYTES`, `INT`, `FLOAT`, `STRUCT` or `TYPE_UNKNOWN`."""
    kinds = type(feature).DESCRIPTOR.fields_by_name["type"].enum_type
    return str(kinds.values_by_number[feature.type].name)


def string_values(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> tuple[str, ...] | None:
    """Return the words that a feature's domain lists, its own or one that it refers to.

    None without such a domain, or when the one referred to is not defined.
    """
    if feature.WhichOneof("domain_info") == "string_domain":
        return tuple(feature.string_domain.value)
    if feature.WhichOneof("domain_info") == "domain":
        for domain in schema.string_domain:
            if domain.name == feature.domain:
                return tuple(domain.value)
    return None


def valency(feature: schema_pb2.Feature) -> tuple[int, int | None] | None:
    """Return the least and the most values of a row; None when the schema does not say.

    The most is None when there is no limit. Of nested lists, it is the valency of the outermost.
    """
    kind = feature.WhichOneof("shape_type")
    if kind == "shape":
        size = 1
        for dim in feature.shape.dim:
            size *= dim.size
        return size, size
    if kind is None or (kind == "value_counts" and not feature.value_counts.value_count):
        return None
    count = feature.value_count if kind == "value_count" else feature.value_counts.value_count[0]
    # In TFDV a maximum of 0 is no maximum.
    return int(count.min), int(count.max) or None
