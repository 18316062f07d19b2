"""Models beside TensorFlow's: preprocessing as fitted, then an estimator on one matrix.

Nothing of the preprocessing is done again: the very Keras model that was fitted lies beside the
estimator, and turns raw columns into the matrix that it was trained on.
"""

from __future__ import annotations

import importlib
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import PenstockError
from .model import (
    Model,
    Predictions,
    Signature,
    as_predictions,
    read_description,
    write_description,
)
from .tensors import input_arrays
from .transform_graph import DESCRIPTION, PREPROCESSING, TransformGraph, read_transform_graph

Matrix = np.ndarray[Any, np.dtype[np.float32]]

# XGBoost's and LightGBM's own estimators are scikit-learn's as well, so theirs come first.
LIBRARIES = {
    "xgboost": "xgboost_model:XGBoostModel",
    "lightgbm": "lightgbm_model:LightGBMModel",
    "sklearn": "sklearn_model:SklearnModel",
}


class Estimator(Model):
    """A fitted estimator behind its preprocessing.

    Attributes:
        kind: What `signature.json` calls it.
        fitted: The library's own object.
    """

    kind: str

    def __init__(self, graph: TransformGraph, signature: Signature, fitted: Any):
        self._graph = graph
        self.signature = signature
        self.fitted = fitted

    @classmethod
    def load(cls, folder: Path) -> Estimator:
        """Load preprocessing and estimator from `folder`; see `Model.load`."""
        _, signature = read_description(folder)
        return cls(read_transform_graph(folder), signature, cls.read(folder))

    def predict(self, rows: pa.RecordBatch | pa.Table) -> Predictions:
        """Predict each row; see `Model.predict`."""
        import tensorflow as tf

        arrays = input_arrays(rows, self.signature.inputs)
        if rows.num_rows == 0:
            return np.zeros((0, self.signature.width or 1), np.float32)
        raw = {name: tf.convert_to_tensor(values) for name, values in arrays.items()}
        return self.answers(np.asarray(self._graph.matrix(raw), np.float32))

    def answers(self, matrix: Matrix) -> Predictions:
        """Return the predictions `[rows, width]` for transformed features `[rows, features]`."""
        return as_predictions(self.ask(matrix), len(matrix), self.signature.width or 1)

    def save(self, folder: Path) -> None:
        """Write estimator, preprocessing and description into the new folder `folder`.

        Raises:
            PenstockError: The estimator holds what cannot be stored without pickling.
        """
        folder.mkdir(parents=True)
        self.write(folder)
        for name in (PREPROCESSING, DESCRIPTION):
            shutil.copyfile(self._graph.folder / name, folder / name)
        write_description(folder, self.kind, self.signature.inputs, self.signature.width)

    @classmethod
    @abstractmethod
    def check(cls, model: Any) -> tuple[Any, int]:
        """Return what to keep of a model that `run_fn` returned, and the width of its answers.

        Raises:
            PenstockError: It is not fitted, or gives neither probabilities nor values.
        """

    @classmethod
    @abstractmethod
    def read(cls, folder: Path) -> Any:
        """Read the library's object from its own file in `folder`.

        Raises:
            PenstockError: It is not there or unreadable.
        """

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the library's object to its own file in `folder`."""

    @abstractmethod
    def ask(self, matrix: Matrix) -> Any:
        """Return what the library predicts: `[rows]` or `[rows, classes]`."""


def as_estimator(model: Any, transform: TransformGraph) -> Estimator | None:
    """Return a fitted scikit-learn, XGBoost or LightGBM model as what is exported and asked.

    Args:
        model: What was trained on `transform.matrix(...)`.
        transform: The preprocessing.

    Returns:
        The estimator; None when `model` is of none of these libraries.

    Raises:
        PenstockError: It is not fitted, or its labels are not 0 to classes - 1.
    """
    # The libraries are not imported to find out: a model of theirs has brought them.
    bases = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    library = next((name for name in LIBRARIES if name in bases), None)
    if library is None:
        return None
    module, _, name = LIBRARIES[library].partition(":")
    found: type[Estimator] = getattr(importlib.import_module(f".{module}", __package__), name)
    fitted, width = found.check(model)
    inputs = {
        column: "string" if kind == "string" else "float32"
        for column, kind in transform.columns.items()
    }
    return found(transform, Signature(inputs, width=width), fitted)


def not_fitted(model: Any) -> PenstockError:
    """Return the sentence for a model that was not trained."""
    return PenstockError(
        f"The {type(model).__name__} that run_fn returned is not fitted; fit it to "
        "fn_args.train_matrix()."
    )


def check_classes(classes: Any) -> int:
    """Return the width of a classifier's predictions: 1 for two classes, else their number.

    Raises:
        PenstockError: The classes are not 0 to n - 1, so that no place could be told from a label.
    """
    found = [float(value) for value in classes]
    if found != list(range(len(found))) or len(found) < 2:
        raise PenstockError(
            f"The classifier knows the classes {', '.join(f'{v:g}' for v in found)}; labels must "
            "be 0 to classes - 1, two or more, all of them among the training rows."
        )
    return 1 if len(found) == 2 else len(found)
