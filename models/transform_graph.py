"""The TransformGraph artifact: preprocessing as fitted, loaded from disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import PenstockError

if TYPE_CHECKING:
    import keras

FORMAT = 1
PREPROCESSING = "preprocessing.keras"
DESCRIPTION = "transform.json"

Kind = Literal["string", "integer", "float"]


@dataclass(frozen=True)
class TransformGraph:
    """Fitted preprocessing, as loaded from disk.

    Attributes:
        model: The Keras model from raw columns, `{column: [batch]}`, to features,
            `{name: [batch, width]}`.
        columns: The raw columns that it reads, with their kinds: `string`, `integer` or `float`.
        features: By name, what `transform.json` says: declaration, state, source, width, dtype and
            size.
        folder: Where it was loaded from.
    """

    model: keras.Model
    columns: Mapping[str, Kind]
    features: Mapping[str, Mapping[str, Any]]
    folder: Path

    def __call__(self, raw: Mapping[str, Any]) -> Any:
        """Transform a batch of raw columns; other columns in `raw` are left aside."""
        return self.model({column: raw[column] for column in self.columns})

    def matrix(self, raw: Mapping[str, Any]) -> Any:
        """Transform a batch of raw columns into `[batch, width]` float32, features side by side."""
        from keras import ops

        features = self(raw)
        parts = [ops.cast(features[name], "float32") for name in self.features]
        return ops.concatenate(parts, axis=-1)

    def matrix_columns(self) -> list[str]:
        """Return a name for each column of `matrix`: the feature's, numbered where it is wide."""
        return [
            name if feature["width"] == 1 else f"{name}_{place}"
            for name, feature in self.features.items()
            for place in range(feature["width"])
        ]

    def inputs(self) -> dict[str, Any]:
        """Return one symbolic Keras input per feature, `[batch, width]`, to build a model on."""
        import keras

        return {
            name: keras.Input((feature["width"],), dtype=feature["dtype"], name=name)
            for name, feature in self.features.items()
        }

    def size(self, name: str) -> int:
        """Return how many indices a feature has, which is the `input_dim` of its embedding.

        Args:
            name: A feature that is not `Numeric`.

        Raises:
            PenstockError: There is no such feature, or it is a number.
        """
        if name not in self.features or self.features[name]["size"] is None:
            indexed = [n for n, feature in self.features.items() if feature["size"] is not None]
            raise PenstockError(
                f"{name!r} is not a feature with indices; those are {', '.join(indexed) or 'none'}."
            )
        return int(self.features[name]["size"])


def read_transform_graph(path: str | os.PathLike[str]) -> TransformGraph:
    """Load the TransformGraph artifact in the folder `path`.

    Raises:
        PenstockError: There is none, or this version of Penstock or Keras does not read it.
    """
    import keras

    file = Path(path) / DESCRIPTION
    if not file.is_file() or not (Path(path) / PREPROCESSING).is_file():
        raise PenstockError(
            f"There is no transform graph at {path}: it needs {DESCRIPTION} and {PREPROCESSING}; "
            "give the folder that transform wrote."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["format"] == FORMAT
        columns, features = content["columns"], content["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise PenstockError(
            f"{file} is not a description of a transform graph ({type(error).__name__}: {error}); "
            "run transform again."
        ) from error
    if not known:
        raise PenstockError(
            f"{file} has format {content['format']}, this version of Penstock reads {FORMAT}; run "
            "transform again."
        )
    try:
        model = keras.models.load_model(Path(path) / PREPROCESSING, compile=False)
    except (ValueError, TypeError, OSError) as error:
        raise PenstockError(
            f"Keras {keras.__version__} does not load {Path(path) / PREPROCESSING} ({error}); run "
            "transform again with the versions installed here."
        ) from error
    return TransformGraph(model, columns, features, Path(path))
