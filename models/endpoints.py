"""The ways in which a model can be asked: each signature of a SavedModel, or `predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ..errors import PenstockError
from .loading import load_model
from .model import OUTPUT, Model, Predictions, as_predictions
from .transform_graph import Kind

DEFAULT = "serving_default"
PREDICT = "predict"

Sends = Literal["rows", "examples"]


@dataclass(frozen=True)
class Endpoint:
    """One way of asking a model.

    Attributes:
        name: The signature's name, or `predict`.
        sends: `rows`: raw columns. `examples`: serialized `tf.Example`s.
        kinds: The features that are sent, with their kinds.
        model: Answers what is sent.
        function: The signature as TensorFlow has it; None of other models.
    """

    name: str
    sends: Sends
    kinds: Mapping[str, Kind]
    model: Model
    function: Any = None

    def prepare(self, rows: pa.Table) -> pa.RecordBatch:
        """Return rows as they are sent."""
        if self.sends == "examples":
            from .tf_examples import serialized_examples

            (column,) = self.model.signature.inputs
            sent = pa.table({column: serialized_examples(rows, self.kinds)})
        else:
            sent = rows.select([name for name in self.kinds if name in rows.column_names])
        return sent.combine_chunks().to_batches(max_chunksize=max(rows.num_rows, 1))[0]

    def ask(self, sent: pa.RecordBatch) -> Predictions:
        """Return the answers `[rows, width]` to prepared rows.

        Raises:
            PenstockError: There is not one answer a row.
        """
        width = self.model.signature.width
        return as_predictions(self.model.predict(sent), sent.num_rows, width)


@dataclass(frozen=True)
class LeftOut:
    """A signature that is not asked.

    Attributes:
        name: The signature.
        why: In words.
        wrong: Whether it should have been one to ask.
    """

    name: str
    why: str
    wrong: bool


def predict_endpoint(
    folder: Path, signatures: Sequence[str]
) -> tuple[list[Endpoint], list[LeftOut]]:
    """Load a model that is no SavedModel.

    Args:
        folder: Its `serving/`.
        signatures: Those that were asked for, which it does not have.
    """
    model = load_model(folder)
    kinds = {name: _kind(as_type) for name, as_type in model.signature.inputs.items()}
    why = "only a SavedModel has signatures"
    left = [LeftOut(name, why, True) for name in signatures]
    return [Endpoint(PREDICT, "rows", kinds, model)], left


def signature_endpoints(
    folder: Path, features: Mapping[str, Kind], signatures: Sequence[str], output: str
) -> tuple[list[Endpoint], list[LeftOut]]:
    """Load a SavedModel and find out how each of its signatures is asked.

    Args:
        folder: Where its `saved_model.pb` is.
        features: What a server is sent, with their kinds.
        signatures: Those to ask; all when empty.
        output: Which output is the prediction. When empty, `predictions`, or the only one.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    there = sorted(loaded.signatures, key=lambda name: (name != DEFAULT, name))
    endpoints: list[Endpoint] = []
    left: list[LeftOut] = []
    for name in signatures or there:
        if name not in loaded.signatures:
            why = f"the model does not have it; it has {', '.join(there) or 'none'}"
            left.append(LeftOut(name, why, True))
            continue
        try:
            endpoints.append(_endpoint(loaded, name, features, output))
        except PenstockError as error:
            left.append(LeftOut(name, str(error), bool(signatures) or name == DEFAULT))
    return endpoints, left


def _endpoint(loaded: Any, name: str, features: Mapping[str, Kind], output: str) -> Endpoint:
    from .saved_model import SavedModel

    function = loaded.signatures[name]
    model = SavedModel(loaded, function, _output(sorted(function.structured_outputs), output))
    takes = model.signature.inputs
    unknown = [column for column in takes if column not in features]
    if takes and not unknown:
        kinds = {column: _kind(as_type) for column, as_type in takes.items()}
        return Endpoint(name, "rows", kinds, model, function)
    if list(takes.values()) == ["string"]:
        return Endpoint(name, "examples", features, model, function)
    raise PenstockError(
        f"it takes {', '.join(unknown) or 'nothing'}, which "
        f"{'is' if len(unknown) < 2 else 'are'} not among the schema's features of a server"
    )


def _output(there: Sequence[str], asked: str) -> str:
    if asked or OUTPUT in there:
        asked = asked or OUTPUT
    elif len(there) == 1:
        asked = there[0]
    if asked not in there:
        raise PenstockError(
            f"it gives {', '.join(there) or 'nothing'}; say in the policy's output which one is "
            "the prediction"
        )
    return asked


def _kind(as_type: str) -> Kind:
    if as_type == "string":
        return "string"
    return "float" if np.issubdtype(np.dtype(as_type), np.floating) else "integer"
