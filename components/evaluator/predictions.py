"""One pass of the models over a split, in large batches."""

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
from ...models.model import Model
from ...models.tensors import check_columns

BATCH_ROWS = 65_536
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Source:
    """Where a model's predictions come from.

    Attributes:
        name: The model spec's name; empty where there is one model only.
        model: The Model's folder; None where the Examples hold the predictions already.
        signature: The name of a SavedModel's signature; `serving_default` when empty.
        output: Which of the signature's outputs is the prediction; may be empty if it has one.
            Without a model: the column of the Examples.
    """

    name: str
    model: str | os.PathLike[str] | None
    signature: str = ""
    output: str = ""


@dataclass(frozen=True)
class Predictions:
    """What the metrics are computed from.

    Attributes:
        batches: The needed columns, flat, and a column of predictions per model: `[rows]` float32
            for a model with one output value, a list of float32 per row otherwise.
        columns: By model spec's name, the name of its column.
        numbers: `[rows of the batches]` int64, each row's number within the split.
        rows: Rows of the split.
        not_finite: By model spec's name, rows for which it predicts NaN or infinity. They are left
            out of `batches` for all models: no metric of them means anything, and models are
            compared over the same rows.
    """

    batches: tuple[pa.RecordBatch, ...]
    columns: Mapping[str, str]
    numbers: Array
    rows: int
    not_finite: Mapping[str, int]


def predict(
    examples: str | os.PathLike[str],
    split: str,
    sources: Sequence[Source],
    columns: Sequence[str],
    *,
    required: Sequence[str] = (),
    known_columns: Mapping[str, str],
) -> Predictions:
    """Predict every row of `split` with each model, of whatever kind it is.

    Args:
        examples: The Examples' folder.
        split: Which split.
        sources: The models, or the columns that hold their predictions.
        columns: Which columns of the Examples to keep beside the predictions.
        required: Which of them may not have a missing value (label, weight).
        known_columns: The Examples' columns with Arrow's name for their types.

    Raises:
        PenstockError: A model cannot be loaded, takes a feature that the Examples lack, or does
            not give the asked output; a required column has missing values; the Examples do not
            hold the predictions that they should.
    """
    models = {source.name: _load(source, known_columns) for source in sources}
    answers = _column_names(sources, models, columns)
    features = [name for model in models.values() if model for name in model.signature.inputs]
    given = [source.output for source in sources if source.model is None]
    wanted = list(dict.fromkeys([*columns, *features, *given]))
    batches, numbers, rows = [], [np.empty(0, np.int64)], 0
    not_finite = dict.fromkeys(answers, 0)
    for batch in iter_batches(examples, split, wanted, BATCH_ROWS):
        for name in required:
            _refuse_missing(batch.column(wanted.index(name)), name, split)
        kept = np.ones(batch.num_rows, bool)
        found = [batch.column(wanted.index(name)) for name in columns]
        for source in sources:
            predicted = _answer(models[source.name], batch, source)
            finite = np.isfinite(predicted).all(axis=1)
            not_finite[source.name] += int((~finite).sum())
            kept &= finite
            found.append(_flat_or_list(predicted))
        whole = pa.RecordBatch.from_arrays(found, names=[*columns, *answers.values()])
        batches.append(whole if kept.all() else whole.filter(pa.array(kept)))
        numbers.append(rows + np.flatnonzero(kept))
        rows += batch.num_rows
    filled = tuple(batch for batch in batches if batch.num_rows)
    return Predictions(filled, answers, np.concatenate(numbers), rows, not_finite)


def _load(source: Source, known_columns: Mapping[str, str]) -> Model | None:
    if source.model is not None:
        model = load_model(source.model, signature=source.signature, output=source.output)
        check_columns(model.signature.inputs, known_columns)
        return model
    if not source.output:
        raise PenstockError(
            "There is no model, and model_specs of eval_config has no prediction_key; connect a "
            "model, or name the column of the examples that holds the predictions."
        )
    if source.output not in known_columns:
        raise PenstockError(
            f"prediction_key of eval_config names the column {source.output!r}, which the examples "
            f"do not have; they have {', '.join(sorted(known_columns))}."
        )
    return None


def _column_names(
    sources: Sequence[Source], models: Mapping[str, Model | None], columns: Sequence[str]
) -> dict[str, str]:
    """Return a column name for each model's predictions that no other column has."""
    names: dict[str, str] = {}
    for source in sources:
        model = models[source.name]
        name = model.signature.output if model else source.output
        while name in columns or name in names.values():
            name = f"_{name}"
        names[source.name] = name
    return names


def _answer(model: Model | None, batch: pa.RecordBatch, source: Source) -> Array:
    """Return the predictions `[rows, width]` float32."""
    if model is not None:
        return model.predict(batch)
    column = batch.column(batch.schema.get_field_index(source.output))
    try:
        if not pa.types.is_nested(column.type):
            values = column.cast(pa.float32()).to_numpy(zero_copy_only=False)
            return np.asarray(values, np.float32).reshape(-1, 1)
        lengths = column.value_lengths().drop_null().unique().to_pylist()
        if len(lengths) != 1 or column.null_count:
            raise PenstockError(
                f"The column {source.output!r} holds predictions of different widths, or none for "
                "some rows; give each row a list of the same length."
            )
        flat = column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
        return np.asarray(flat, np.float32).reshape(batch.num_rows, -1)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PenstockError(
            f"The column {source.output!r}, which prediction_key of eval_config names, is of type "
            f"{column.type}; predictions are numbers, or lists of numbers."
        ) from error


def _refuse_missing(column: pa.Array, name: str, split: str) -> None:
    if column.null_count:
        raise PenstockError(
            f"Column {name!r} has missing values in split {split!r}; a label or weight must be "
            "there for every row that is evaluated, so drop such rows before example_gen."
        )


def _flat_or_list(predicted: Array) -> pa.Array:
    if predicted.shape[1] == 1:
        return pa.array(predicted[:, 0])
    flat = pa.array(predicted.reshape(-1))
    offsets = pa.array(np.arange(0, len(flat) + 1, predicted.shape[1]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, flat)
