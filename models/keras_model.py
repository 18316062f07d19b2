"""Keras models that take raw columns, in Keras's own format."""

from __future__ import annotations

from pathlib import Path

import keras
import pyarrow as pa

from ..errors import PenstockError
from .model import Model, Predictions, Signature, as_predictions, write_description
from .tensors import input_arrays

FILE = "model.keras"


class KerasModel(Model):
    """A functional Keras model on a dictionary of raw columns, `[batch]` each."""

    def __init__(self, model: keras.Model):
        self._model = model
        self.signature = _signature(model)

    @classmethod
    def load(cls, folder: Path) -> KerasModel:
        """Load the model; Keras refuses code that is stored in it (`safe_mode`)."""
        try:
            model = keras.models.load_model(folder / FILE, compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError) as error:
            raise PenstockError(
                f"Keras {keras.__version__} does not load {folder / FILE} ({error}); export the "
                "model again with the versions installed here."
            ) from error
        return cls(model)

    def predict(self, rows: pa.RecordBatch | pa.Table) -> Predictions:
        """Predict each row; see `Model.predict`."""
        import tensorflow as tf

        arrays = input_arrays(rows, self.signature.inputs)
        answer = self._model({name: tf.convert_to_tensor(value) for name, value in arrays.items()})
        return as_predictions(answer, rows.num_rows, self.signature.width)


def save_keras(model: keras.Model, folder: Path) -> None:
    """Write a Keras model that takes raw columns into the new folder `folder`.

    Args:
        model: A functional model on a dictionary of `keras.Input((), ...)`, one per raw column,
            strings or float32, with one tensor as its output.
        folder: Where to, such as `fn_args.serving_dir`.

    Raises:
        PenstockError: It takes or gives something else.
    """
    signature = _signature(model)
    folder.mkdir(parents=True)
    model.save(folder / FILE)
    write_description(folder, "keras", signature.inputs, signature.width)


def _signature(model: keras.Model) -> Signature:
    takes, gives = getattr(model, "input", None), getattr(model, "output", None)
    if not isinstance(takes, dict) or any(tensor.shape != (None,) for tensor in takes.values()):
        raise PenstockError(
            "The Keras model does not take a dictionary of raw columns, [batch] each; build it on "
            "keras.Input((), name=<column>), or return it from run_fn and Penstock puts the "
            "preprocessing before it."
        )
    if isinstance(gives, (dict, list, tuple)) or gives is None:
        raise PenstockError("The Keras model gives several tensors; it must give one.")
    width = gives.shape[1] if len(gives.shape) == 2 else 1
    return Signature({name: str(tensor.dtype) for name, tensor in takes.items()}, width=width)
