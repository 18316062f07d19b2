"""Slices made by SQL: TFMA's `slice_keys_sql`, which its own library executes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

import pyarrow as pa

from ...errors import PenstockError

EXAMPLE = "SELECT STRUCT(origin) FROM example.origin"


def columns_in_sql(sql: str, columns: Mapping[str, str]) -> list[str]:
    """Return the columns of the Examples that `sql` names, in their order there."""
    words = set(re.findall(r"\w+", sql))
    return [name for name in columns if name in words]


def check_sql(sql: str, columns: Mapping[str, str]) -> None:
    """Check that `sql` is a query over the columns that it names.

    Args:
        sql: A SELECT over `example.<column>` that gives structs: a slice per row of the result.
        columns: The Examples' columns with Arrow's name for their types.

    Raises:
        PenstockError: It is not, with what the parser says; or this release of tfx_bsl was built
            without the engine that executes it.
    """
    try:
        from tfx_bsl.arrow import sql_util
    except ImportError as error:
        raise PenstockError(
            "eval_config sets slicing_specs.slice_keys_sql, which is refused: tfx_bsl "
            f"{metadata.version('tfx-bsl')} is built without TFMA's SQL engine; make the slices "
            "with feature_keys and feature_values, of a column that holds the expression."
        ) from error
    schema = pa.schema(
        [
            (name, pa.large_list(as_sql_sees(pa.type_for_alias(_plain(columns[name])))))
            for name in columns_in_sql(sql, columns)
        ]
    )
    # The query around it is TFMA's, in its extractors/sql_slice_key_extractor.py.
    query = f"SELECT ARRAY({sql}) as slice_key FROM Examples as example;"  # noqa: S608
    try:
        sql_util.RecordBatchSQLSliceQuery(query, schema)
    except Exception as error:
        said = str(error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"slice_keys_sql of eval_config cannot be executed ({said}); write it like "
            f"{EXAMPLE}, with columns of the examples: {', '.join(sorted(columns))}."
        ) from error


def as_sql_sees(kind: pa.DataType) -> pa.DataType:
    """Return the type in which TFMA's SQL gets a column: text, int64 or float32."""
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pa.int64()
    return pa.float32() if pa.types.is_floating(kind) else pa.large_binary()


def _plain(name: str) -> str:
    """Return an Arrow alias for a type's name; what has no alias is refused as text would be."""
    try:
        pa.type_for_alias(name)
    except ValueError:
        return "binary"
    return name
