"""One pass of the model over a split, in large batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.examples import iter_batches
from ...errors import PenstockError
from ...models.loading import load_model
from ...models.tensors import check_columns

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Predictions:
    """What the metrics are computed from.

    Attributes:
        batches: The needed columns, flat, and the column `prediction_column`: `[rows]` float32
            for a model with one output value, a list of float32 per row otherwise.
        prediction_column: Its name.
        rows: Rows of the split.
        not_finite: Rows for which the model predicts NaN or infinity; they are left out of
            `batches`, because no metric of them means anything.
    """

    batches: tuple[pa.RecordBatch, ...]
    prediction_column: str
    rows: int
    not_finite: int


def predict(
    examples: str | os.PathLike[str],
    split: str,
    model: str | os.PathLike[str],
    columns: Sequence[str],
    *,
    required: Sequence[str] = (),
    signature: str = "",
    output: str = "",
    known_columns: Mapping[str, str],
) -> Predictions:
    """Predict every row of `split` with the model, of whatever kind it is.

    Args:
        examples: The Examples' folder.
        split: Which split.
        model: The Model's folder.
        columns: Which columns of the Examples to keep beside the prediction.
        required: Which of them may not have a missing value (label, weight).
        signature: The name of a SavedModel's signature; `serving_default` when empty.
        output: Which of the signature's outputs is the prediction; may be empty if it has one.
        known_columns: The Examples' columns with Arrow's name for their types.

    Raises:
        PenstockError: The model cannot be loaded, takes a feature that the Examples lack, or does
            not give the asked output; a required column has missing values.
    """
    answering = load_model(model, signature=signature, output=output)
    inputs = answering.signature.inputs
    check_columns(inputs, known_columns)
    column = answering.signature.output
    while column in columns:
        column = f"_{column}"
    wanted = list(dict.fromkeys([*columns, *inputs]))
    batches, rows, not_finite = [], 0, 0
    for batch in iter_batches(examples, split, wanted, BATCH_ROWS):
        for name in required:
            _refuse_missing(batch.column(wanted.index(name)), name, split)
        predicted = answering.predict(batch)
        finite = np.isfinite(predicted).all(axis=1)
        rows, not_finite = rows + batch.num_rows, not_finite + int((~finite).sum())
        kept = pa.RecordBatch.from_arrays(
            [*(batch.column(wanted.index(name)) for name in columns), _flat_or_list(predicted)],
            names=[*columns, column],
        )
        batches.append(kept if finite.all() else kept.filter(pa.array(finite)))
    return Predictions(
        tuple(batch for batch in batches if batch.num_rows), column, rows, not_finite
    )


def _refuse_missing(column: pa.Array, name: str, split: str) -> None:
    if column.null_count:
        raise PenstockError(
            f"Column {name!r} has missing values in split {split!r}; a label or weight must be "
            "there for every row that is evaluated, so drop such rows before example_gen."
        )


def _flat_or_list(predicted: np.ndarray[Any, Any]) -> pa.Array:
    if predicted.shape[1] == 1:
        return pa.array(predicted[:, 0])
    flat = pa.array(predicted.reshape(-1))
    offsets = pa.array(np.arange(0, len(flat) + 1, predicted.shape[1]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, flat)
