"""The interface of every model: what it takes, what it gives, and one verb, `predict`."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import PenstockError

FORMAT = 1
SERVING = "serving"
DESCRIPTION = "signature.json"
OUTPUT = "predictions"

Predictions = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs: The raw columns that it reads, each with the type it takes them as: `string`, or a
            numpy name such as `float32`. Other columns of the rows are left aside.
        output: The name of what it predicts; `predictions` for all that Penstock exports.
        width: How many numbers it predicts per row; None where the model does not say.
    """

    inputs: Mapping[str, str]
    output: str = OUTPUT
    width: int | None = None


class Model(ABC):
    """A trained model that answers for rows of raw columns.

    A kind of your own is a subclass that is installed wherever the model is loaded: `load` reads
    what your `run_fn` wrote into the folder, and `write_description` names the class there.

    Attributes:
        signature: What it takes and gives.
    """

    signature: Signature

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Model:
        """Load the model from its folder, running no code that lies in it.

        Args:
            folder: The Model artifact's `serving/`, or a copy of it.

        Raises:
            PenstockError: What lies there is not such a model.
        """

    @abstractmethod
    def predict(self, rows: pa.RecordBatch | pa.Table) -> Predictions:
        """Predict each row.

        Args:
            rows: At least the columns of `signature.inputs`, one value a row; a null, a NaN and
                an empty string are all a missing value.

        Returns:
            `[rows, width]` float32: the probability of label 1 or the value, or one probability
            per class.

        Raises:
            PenstockError: A column is missing or of a type that the model cannot take.
        """

    def outputs(self) -> Mapping[str, int | None]:
        """Return the names of all that it gives, with how many numbers a row each has."""
        return {self.signature.output: self.signature.width}

    def predict_outputs(
        self, rows: pa.RecordBatch | pa.Table, names: Sequence[str]
    ) -> dict[str, Predictions]:
        """Predict each row once, and return the outputs `names`, each as `predict` does."""
        found = self.predict(rows)
        return dict.fromkeys(names, found)


def as_predictions(answers: Any, rows: int, width: int | None) -> Predictions:
    """Return what a model answered as `[rows, width]` float32.

    Args:
        answers: An array or tensor of numbers, `[rows]`, `[rows, width]` or deeper.
        rows: How many rows it was asked about.
        width: How many numbers a row has, where the model says so.

    Raises:
        PenstockError: There is not one answer a row, or it is of another width.
    """
    found = np.asarray(answers, np.float32)
    if found.ndim == 0 or len(found) != rows or (width and found.size != rows * width):
        raise PenstockError(
            f"The model answered {rows} rows with an array of {list(found.shape)}, and it must be "
            f"[{rows}, {width or 'width'}]; export one that answers each row."
        )
    # Without rows, nothing tells how wide they would be.
    return found.reshape(rows, width or (-1 if rows else 1))


def write_description(
    folder: Path, kind: str, inputs: Mapping[str, str], width: int | None = None
) -> None:
    """Write `signature.json`, which says how the model in `folder` is loaded.

    Args:
        folder: Where the model's own files are.
        kind: `keras`, `sklearn`, `xgboost`, `lightgbm`, or the import path of your own subclass of
            `Model`: `package.module:Class`.
        inputs: As `Signature.inputs`.
        width: As `Signature.width`.
    """
    content = {"format": FORMAT, "kind": kind, "inputs": dict(inputs), "width": width}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def read_description(folder: Path) -> tuple[str, Signature]:
    """Read the kind of the model in `folder` and its signature.

    Raises:
        PenstockError: There is no description, or it is not one.
    """
    file = folder / DESCRIPTION
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise PenstockError(
                f"{file} has format {content['format']}, this version of Penstock reads {FORMAT}; "
                "export the model again."
            )
        kind, inputs, width = content["kind"], content["inputs"], content.get("width")
        if not isinstance(kind, str) or not all(isinstance(v, str) for v in inputs.values()):
            raise TypeError("kind and inputs must be text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PenstockError(
            f"{file} does not describe a model ({type(error).__name__}: {error}); export it again."
        ) from error
    return kind, Signature(inputs, width=width)


def is_import_path(kind: str) -> bool:
    """Return whether `kind` names a class of the author's, `package.module:Class`."""
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", kind) is not None
