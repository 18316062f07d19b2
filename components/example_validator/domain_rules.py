"""What a feature's domain asks of single values, as SQL conditions on a value called {v}.

A missing value makes a condition unknown, and so breaks none. Numbers are compared as TFDV does:
integers exactly, others in single precision, with NaN in every range; text that stands for numbers
as absl::SimpleAtoi and SimpleAtof read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

INTEGER_TEXT = r"\s*[+-]?[0-9]+\s*"
NUMBER_TEXT = r"\s*[+-]?(nan|inf|infinity|([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?)\s*"

# The anomaly type, the condition that a value must satisfy, and what is wrong with one that does
# not: the end of a sentence that begins with "3 rows have".
ValueRule = tuple[str, str, str]


def domain_rules(feature: Any, schema: schema_pb2.Schema, kind: pa.DataType) -> Iterator[ValueRule]:
    """Yield what a feature's domain asks of values of an Arrow type."""
    which = feature.WhichOneof("domain_info")
    if which == "int_domain":
        yield from _int_domain(feature.int_domain, kind)
    elif which == "float_domain":
        yield from _float_domain(feature.float_domain, kind)
    elif which == "bool_domain":
        yield from _bool_domain(feature.bool_domain, kind)
    elif which == "string_domain":
        yield from _string_domain(feature.string_domain.value, kind)
    elif which == "domain":
        for domain in schema.string_domain:
            if domain.name == feature.domain:
                yield from _string_domain(domain.value, kind)
    elif which == "image_domain" and is_text(kind) and feature.image_domain.max_image_byte_size:
        size = feature.image_domain.max_image_byte_size
        length = "octet_length({v})" if is_bytes(kind) else "strlen({v})"
        yield "MAX_IMAGE_BYTE_SIZE_EXCEEDED", f"{length} <= {size}", f"more than {size} bytes"


def type_rules(wanted: int, kind: pa.DataType) -> Iterator[ValueRule]:
    """Yield what tells the values that cannot be taken for the schema's type from the others."""
    name, word = "UNEXPECTED_DATA_TYPE", schema_pb2.FeatureType.Name(wanted)
    if wanted == schema_pb2.INT and pa.types.is_floating(kind):
        yield name, "{v} = trunc({v})", f"a value that is no {word}"
    elif wanted in (schema_pb2.INT, schema_pb2.FLOAT) and is_text(kind):
        pattern = INTEGER_TEXT if wanted == schema_pb2.INT else NUMBER_TEXT
        yield name, _matches(pattern, kind), f"a value that is no {word}"


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are text or bytes."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_bytes(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _text(kind: pa.DataType) -> str:
    """Return a value as text; unknown where bytes are not UTF-8."""
    return "try(decode({v}))" if is_bytes(kind) else "{v}"


def _matches(pattern: str, kind: pa.DataType) -> str:
    return f"coalesce(regexp_full_match({_text(kind)}, '{pattern}', 'i'), {{v}} IS NULL)"


def _int_domain(domain: Any, kind: pa.DataType) -> Iterator[ValueRule]:
    value = "{v}"
    if is_text(kind):
        wrong = "text that is no integer"
        yield "INT_TYPE_NOT_INT_STRING", _matches(INTEGER_TEXT, kind), wrong
        value = f"try_cast({_text(kind)} AS HUGEINT)"
    elif pa.types.is_boolean(kind):
        value = "CAST({v} AS INTEGER)"
    elif not pa.types.is_integer(kind):
        return
    if domain.HasField("min"):
        low = domain.min
        yield "INT_TYPE_SMALL_INT", f"{value} >= {low}", f"a value below {low}"
    if domain.HasField("max"):
        high = domain.max
        yield "INT_TYPE_BIG_INT", f"{value} <= {high}", f"a value above {high}"


def _float_domain(domain: Any, kind: pa.DataType) -> Iterator[ValueRule]:
    value = "CAST({v} AS FLOAT)"
    if is_text(kind):
        wrong = "text that is no number"
        yield "FLOAT_TYPE_STRING_NOT_FLOAT", _matches(NUMBER_TEXT, kind), wrong
        value = f"try_cast({_text(kind)} AS FLOAT)"
    elif not pa.types.is_floating(kind):
        return
    for name, field, op, word in (
        ("FLOAT_TYPE_SMALL_FLOAT", "min", ">=", "below"),
        ("FLOAT_TYPE_BIG_FLOAT", "max", "<=", "above"),
    ):
        if domain.HasField(field):
            limit = np.float32(getattr(domain, field))
            condition = f"isnan({value}) OR {value} {op} CAST('{limit}' AS FLOAT)"
            yield name, condition, f"a value {word} {limit:g}"
    if domain.disallow_nan:
        yield "FLOAT_TYPE_HAS_NAN", f"NOT isnan({value})", "NaN"
    if domain.disallow_inf:
        yield "FLOAT_TYPE_HAS_INF", f"NOT isinf({value})", "an infinite value"


def _bool_domain(domain: Any, kind: pa.DataType) -> Iterator[ValueRule]:
    if pa.types.is_integer(kind):
        yield "BOOL_TYPE_SMALL_INT", "{v} >= 0", "a value below 0"
        yield "BOOL_TYPE_BIG_INT", "{v} <= 1", "a value above 1"
    elif pa.types.is_floating(kind):
        yield "BOOL_TYPE_UNEXPECTED_FLOAT", "{v} = 0 OR {v} = 1", "a value other than 0 and 1"
    elif is_text(kind):
        words = [word for word in (domain.true_value, domain.false_value) if word]
        wrong = f"text other than {' and '.join(map(repr, words)) or 'none'}"
        yield "BOOL_TYPE_UNEXPECTED_STRING", _is_one_of(words, kind), wrong


def _string_domain(values: Sequence[str], kind: pa.DataType) -> Iterator[ValueRule]:
    if is_bytes(kind):
        valid = "{v} IS NULL OR try(decode({v})) IS NOT NULL"
        yield "ENUM_TYPE_INVALID_UTF8", valid, "bytes that are not UTF-8"
    if is_text(kind):
        wrong = "a value that is not in the domain"
        yield "ENUM_TYPE_UNEXPECTED_STRING_VALUES", _is_one_of(values, kind), wrong


def _is_one_of(values: Sequence[str], kind: pa.DataType) -> str:
    if not values:
        return "{v} IS NULL"
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in dict.fromkeys(values))
    return f"{_text(kind)} IN ({listed.replace('{', '{{').replace('}', '}}')})"
