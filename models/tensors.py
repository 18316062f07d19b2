"""Columns as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError


def input_arrays(
    rows: pa.RecordBatch | pa.Table, inputs: Mapping[str, str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns that a model reads.

    Args:
        rows: One value a row in each column.
        inputs: The columns and the types they are taken as: `string`, or numpy's name.

    Returns:
        `{column: [rows]}`: strings as objects of `bytes` with `b""` for a missing value, numbers
        with NaN.

    Raises:
        PenstockError: A column is not there, is of a type that does not become that of the model,
            or is missing in some row where the model's type cannot say so.
    """
    return {name: _array(_column(rows, name), kind, name) for name, kind in inputs.items()}


def check_columns(inputs: Mapping[str, str], columns: Mapping[str, str] | list[str]) -> None:
    """Check that rows with `columns` have every input.

    Raises:
        PenstockError: They lack one.
    """
    for name in inputs:
        if name not in columns:
            raise PenstockError(
                f"The model takes the feature {name!r}, which the examples do not have; give it "
                "examples with the columns that it was trained on."
            )


def _column(rows: pa.RecordBatch | pa.Table, name: str) -> pa.Array:
    check_columns({name: ""}, rows.schema.names)
    column = rows.column(rows.schema.get_field_index(name))
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _array(column: pa.Array, kind: str, name: str) -> np.ndarray[Any, Any]:
    if isinstance(column, pa.ChunkedArray):  # what combine_chunks gives for a column of no chunks
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
    try:
        if kind == "string":
            encoded = pc.fill_null(column.cast(pa.binary()), b"").dictionary_encode()
            distinct = np.empty(len(encoded.dictionary), object)
            distinct[:] = encoded.dictionary.to_pylist()
            strings: np.ndarray[Any, Any] = distinct[encoded.indices.to_numpy()]
            return strings
        if np.issubdtype(np.dtype(kind), np.floating):
            return np.asarray(
                column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False), kind
            )
        if column.null_count:
            raise PenstockError(
                f"The model takes {name!r} as {kind}, which cannot say that a value is missing, "
                "and it is missing in some rows; export it as float32."
            )
        return np.asarray(column.to_numpy(zero_copy_only=False)).astype(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise PenstockError(
            f"The model takes {name!r} as {kind}, but the examples have it as {column.type}."
        ) from error
