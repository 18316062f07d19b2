"""A schema as an Arrow schema, and as the Parquet file without rows that tells it to others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from .features import is_in, is_validated, type_name, valency

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

_TYPES = {"BYTES": pa.string(), "INT": pa.int64(), "FLOAT": pa.float64()}


def arrow_schema(schema: schema_pb2.Schema, environment: str = "") -> pa.Schema:
    """Return the columns that data of a schema have.

    BYTES are strings (images binary), INT int64, FLOAT float64, structs structs; features without
    a type, and structs without fields, are of Arrow's type null. A feature of one value, or of a
    valency that is not given, is flat; others are lists, as deep as the schema says. What must be
    there in every row is not nullable. Features that are deprecated or in trial are left out.

    Args:
        schema: The schema.
        environment: An environment, whose features alone are wanted; `""` for all.
    """
    return pa.schema(_fields(schema, schema.feature, environment))


def write_parquet(schema: pa.Schema, file: str | os.PathLike[str]) -> None:
    """Write a Parquet file of these columns without rows."""
    pq.write_table(schema.empty_table(), file)


def _fields(schema: Any, features: Any, environment: str) -> list[pa.Field]:
    return [
        pa.field(
            feature.name, kind := _kind(schema, feature, environment), _nullable(feature, kind)
        )
        for feature in features
        if is_validated(feature) and is_in(schema, feature, environment)
    ]


def _nullable(feature: Any, kind: pa.DataType) -> bool:
    must = feature.presence.min_fraction >= 1 or feature.group_presence.required
    return not must or pa.types.is_null(kind)


def _kind(schema: Any, feature: Any, environment: str) -> pa.DataType:
    name = type_name(feature)
    kind = _TYPES.get(name, pa.null())
    if feature.WhichOneof("domain_info") == "image_domain":
        kind = pa.binary()
    if name == "STRUCT":
        fields = _fields(schema, feature.struct_domain.feature, environment)
        kind = pa.struct(fields) if fields else pa.null()
    if valency(feature) not in (None, (1, 1)) or len(feature.shape.dim) > 1:
        for _ in range(len(feature.value_counts.value_count) or 1):
            kind = pa.list_(kind)
    return kind
