"""One pass of the exported model over a split, in large batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from ...data.examples import iter_batches
from ...errors import PenstockError

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
    """Predict every row of `split` with the SavedModel's signature that takes raw features.

    Args:
        examples: The Examples' folder.
        split: Which split.
        model: The Model's folder; its `serving/` is loaded.
        columns: Which columns of the Examples to keep beside the prediction.
        required: Which of them may not have a missing value (label, weight).
        signature: The signature's name; `serving_default` when empty.
        output: Which of the signature's outputs is the prediction; may be empty if it has one.
        known_columns: The Examples' columns with Arrow's name for their types.

    Raises:
        PenstockError: The model cannot be loaded, takes a feature that the Examples lack, or does
            not give the asked output; a required column has missing values.
    """
    loaded, function = _load(Path(model) / "serving", signature or "serving_default")
    inputs = function.structured_input_signature[1]
    for name in inputs:
        if name not in known_columns:
            raise PenstockError(
                f"The model takes the feature {name!r}, which the examples do not have; evaluate "
                "it on examples with the columns that it was trained on."
            )
    output = _output(function, output)
    column = output
    while column in columns:
        column = f"_{column}"
    wanted = list(dict.fromkeys([*columns, *inputs]))
    batches, rows, not_finite = [], 0, 0
    for batch in iter_batches(examples, split, wanted, BATCH_ROWS):
        for name in required:
            _refuse_missing(batch.column(wanted.index(name)), name, split)
        features = {n: _tensor(batch.column(wanted.index(n)), s, n) for n, s in inputs.items()}
        predicted = np.asarray(function(**features)[output], np.float32)
        predicted = predicted.reshape(batch.num_rows, -1)
        finite = np.isfinite(predicted).all(axis=1)
        rows, not_finite = rows + batch.num_rows, not_finite + int((~finite).sum())
        kept = pa.RecordBatch.from_arrays(
            [*(batch.column(wanted.index(name)) for name in columns), _flat_or_list(predicted)],
            names=[*columns, column],
        )
        batches.append(kept if finite.all() else kept.filter(pa.array(finite)))
    del loaded  # The function keeps only weak references to the model's variables.
    return Predictions(
        tuple(batch for batch in batches if batch.num_rows), column, rows, not_finite
    )


def _load(serving: Path, signature: str) -> tuple[Any, Any]:
    if not (serving / "saved_model.pb").is_file():
        raise PenstockError(
            f"There is no SavedModel at {serving}; give the folder that the trainer wrote."
        )
    try:
        loaded = tf.saved_model.load(str(serving))
    except (OSError, ValueError, tf.errors.OpError) as error:
        said = str(error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"The SavedModel at {serving} cannot be loaded ({said}); export it again."
        ) from error
    if signature not in loaded.signatures:
        raise PenstockError(
            f"The model has no signature {signature!r}; it has "
            f"{', '.join(sorted(loaded.signatures)) or 'none'}."
        )
    return loaded, loaded.signatures[signature]


def _output(function: Any, asked: str) -> str:
    outputs = sorted(function.structured_outputs)
    if asked and asked not in outputs:
        raise PenstockError(
            f"prediction_key of eval_config is {asked!r}, but the model gives {', '.join(outputs)}."
        )
    if not asked and len(outputs) != 1:
        raise PenstockError(
            f"The model gives {', '.join(outputs)}; say in prediction_key of eval_config's "
            "model_specs which one is the prediction."
        )
    return asked or outputs[0]


def _refuse_missing(column: pa.Array, name: str, split: str) -> None:
    if column.null_count:
        raise PenstockError(
            f"Column {name!r} has missing values in split {split!r}; a label or weight must be "
            "there for every row that is evaluated, so drop such rows before example_gen."
        )


def _tensor(column: pa.Array, spec: Any, name: str) -> Any:
    """Return one column as the tensor that the signature takes, missing as NaN or ""."""
    kind = column.type
    try:
        if spec.dtype == tf.string:
            encoded = pc.fill_null(column.cast(pa.binary()), b"").dictionary_encode()
            distinct = np.array([*encoded.dictionary.to_pylist(), b""], object)
            values = distinct[encoded.indices.to_numpy()]
        elif spec.dtype.is_floating:
            values = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        else:
            if column.null_count:
                raise PenstockError(
                    f"The model takes {name!r} as {spec.dtype.name}, which cannot say that a value "
                    "is missing, and it is missing in some rows; export it as float32."
                )
            values = column.to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PenstockError(
            f"The model takes {name!r} as {spec.dtype.name}, but the examples have it as {kind}."
        ) from error
    tensor = tf.convert_to_tensor(values.astype(spec.dtype.as_numpy_dtype))
    return tensor if spec.shape.rank in (None, 1) else tensor[:, tf.newaxis]


def _flat_or_list(predicted: np.ndarray[Any, Any]) -> pa.Array:
    if predicted.shape[1] == 1:
        return pa.array(predicted[:, 0])
    flat = pa.array(predicted.reshape(-1))
    offsets = pa.array(np.arange(0, len(flat) + 1, predicted.shape[1]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, flat)
