"""TensorFlow SavedModels, asked through one of their signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from ..errors import PenstockError
from .model import Model, Predictions, Signature, as_predictions
from .tensors import input_arrays


class SavedModel(Model):
    """A SavedModel whose signature takes one tensor per raw column.

    Attributes:
        signature: What the chosen signature takes and gives.
    """

    def __init__(self, loaded: Any, function: Any, output: str):
        # Held while it is used: a signature keeps only a weak hold on the model's variables.
        self._loaded = loaded
        self._function = function
        self._specs = function.structured_input_signature[1]
        inputs = {name: spec.dtype.name for name, spec in self._specs.items()}
        self.signature = Signature(inputs, output, self.outputs()[output])

    @classmethod
    def load(cls, folder: Path, *, signature: str = "", output: str | None = "") -> SavedModel:
        """Load the SavedModel in `folder`.

        Args:
            folder: Where its `saved_model.pb` is.
            signature: The signature's name; `serving_default` when empty.
            output: Which of the signature's outputs is the prediction; may be empty if it has one.
                None for any, where several are going to be asked for.

        Raises:
            PenstockError: It cannot be loaded, or lacks the signature or the output.
        """
        signature = signature or "serving_default"
        try:
            loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            said = str(error).partition("\n")[0].rstrip(".")
            raise PenstockError(
                f"The SavedModel at {folder} cannot be loaded ({said}); export it again."
            ) from error
        if signature not in loaded.signatures:
            raise PenstockError(
                f"The model has no signature {signature!r}; it has "
                f"{', '.join(sorted(loaded.signatures)) or 'none'}."
            )
        function = loaded.signatures[signature]
        return cls(loaded, function, _output(function, output))

    def predict(self, rows: pa.RecordBatch | pa.Table) -> Predictions:
        """Predict each row; see `Model.predict`."""
        output = self.signature.output
        return self.predict_outputs(rows, [output])[output]

    def outputs(self) -> Mapping[str, int | None]:
        """Return all outputs of the signature; see `Model.outputs`."""
        specs = self._function.structured_outputs
        return {name: _width(specs[name].shape) for name in sorted(specs)}

    def predict_outputs(
        self, rows: pa.RecordBatch | pa.Table, names: Sequence[str]
    ) -> dict[str, Predictions]:
        """Predict each row once; see `Model.predict_outputs`."""
        arrays = input_arrays(rows, self.signature.inputs)
        tensors = {name: _tensor(arrays[name], spec) for name, spec in self._specs.items()}
        found = self._function(**tensors)
        widths = self.outputs()
        return {
            name: as_predictions(_numbers(found[name], name), rows.num_rows, widths[name])
            for name in names
        }


def _width(shape: tf.TensorShape) -> int | None:
    return shape[1] if shape.rank == 2 else 1 if shape.rank == 1 else None


def _numbers(tensor: tf.Tensor, name: str) -> Predictions:
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool):
        raise PenstockError(
            f"The model's output {name!r} is of type {tensor.dtype.name}, and predictions are "
            "numbers; ask for another of its outputs."
        )
    return np.asarray(tensor, np.float32)


def _tensor(values: np.ndarray[Any, Any], spec: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(values, spec.dtype)
    return tensor if spec.shape.rank in (None, 1) else tensor[:, tf.newaxis]


def _output(function: Any, asked: str | None) -> str:
    outputs = sorted(function.structured_outputs)
    if asked is None:
        return outputs[0]
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
