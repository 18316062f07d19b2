"""Rows of Examples to predictions, in large batches: what every step does that asks a model."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa

from ..errors import PenstockError
from .loading import load_model
from .model import Model, Predictions

BATCH_ROWS = 65_536


@lru_cache(maxsize=4)
def loaded_model(path: str, digest: str, signature: str = "", output: str | None = "") -> Model:
    """Load a model once in a process; see `load_model`.

    Args:
        path: The Model's folder.
        digest: Of what lies there, so that another model at the same place is loaded anew.
        signature: As for `load_model`.
        output: As for `load_model`.
    """
    return load_model(path, signature=signature, output=output)


def prediction_array(predicted: Predictions, width: int | None) -> pa.Array:
    """Return predictions `[rows, width]` as a column.

    Args:
        predicted: What a model answered.
        width: As the model says: 1 makes a flat column, more or unknown a column of lists.
    """
    if width == 1:
        return pa.array(predicted[:, 0])
    offsets = np.arange(0, predicted.size + 1, max(predicted.shape[1], 1), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(predicted.reshape(-1)))


def prediction_type(width: int | None) -> pa.DataType:
    """Return the type of the column that `prediction_array` makes."""
    return pa.float32() if width == 1 else pa.list_(pa.float32())


def check_rows(shard: str, rows: int, listed: int) -> None:
    """Hold a shard to the manifest: a row that is not there must not go unnoticed.

    Raises:
        PenstockError: It has not the rows that are listed.
    """
    if rows != listed:
        raise PenstockError(
            f"The shard {shard} has {rows:,} rows and the manifest says {listed:,}; run "
            "example_gen again."
        )
