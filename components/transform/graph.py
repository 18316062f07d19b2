"""The TransformGraph artifact: the preprocessing model and what it says about itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras

from ...errors import PenstockError
from .features import Feature
from .fit import State
from .inputs import Kind
from .preprocessing import index_size, save_preprocessing

FORMAT = 1
MODEL = "preprocessing.keras"
DESCRIPTION = "transform.json"


@dataclass(frozen=True)
class TransformGraph:
    """Fitted preprocessing, as loaded from disk.

    Attributes:
        model: The Keras model from raw columns, `{column: [batch]}`, to features,
            `{name: [batch, width]}`.
        columns: The raw columns that it reads, with their kinds: `string`, `integer` or `float`.
        features: By name, what `transform.json` says: declaration, state, source, width, dtype and
            size.
    """

    model: keras.Model
    columns: Mapping[str, Kind]
    features: Mapping[str, Mapping[str, Any]]

    def __call__(self, raw: Mapping[str, Any]) -> Any:
        """Transform a batch of raw columns; other columns in `raw` are left aside."""
        return self.model({column: raw[column] for column in self.columns})

    def inputs(self) -> dict[str, Any]:
        """Return one symbolic Keras input per feature, `[batch, width]`, to build a model on."""
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


def write_transform_graph(
    folder: Path,
    model: keras.Model,
    features: Mapping[str, Feature],
    states: Mapping[str, State],
    kinds: Mapping[str, Kind],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the artifact into an empty folder.

    Args:
        folder: Where to.
        model: The model of `build_preprocessing`.
        features: The declarations, by name.
        states: What was fitted, by name.
        kinds: Each raw column's kind.
        origin: What it was made from: module, split, digests.

    Returns:
        What `transform.json` holds.
    """
    described = {
        name: {
            "declaration": {
                "type": type(feature).__name__,
                **{field.name: getattr(feature, field.name) for field in fields(feature)},
            },
            "source": states[name].source,
            "state": states[name].values,
            "width": int(model.output[name].shape[-1]),
            "dtype": str(model.output[name].dtype),
            "size": index_size(feature, states[name]),
        }
        for name, feature in features.items()
    }
    content = {"format": FORMAT, **origin, "columns": dict(kinds), "features": described}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    save_preprocessing(model, folder / MODEL)
    return content


def read_transform_graph(path: str | os.PathLike[str]) -> TransformGraph:
    """Load the TransformGraph artifact in the folder `path`.

    Raises:
        PenstockError: There is none, or this version of Penstock or Keras does not read it.
    """
    file = Path(path) / DESCRIPTION
    if not file.is_file() or not (Path(path) / MODEL).is_file():
        raise PenstockError(
            f"There is no transform graph at {path}: it needs {DESCRIPTION} and {MODEL}; give the "
            "folder that transform wrote."
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
        model = keras.models.load_model(Path(path) / MODEL, compile=False)
    except (ValueError, TypeError, OSError) as error:
        raise PenstockError(
            f"Keras {keras.__version__} does not load {Path(path) / MODEL} ({error}); run "
            "transform again with the versions installed here."
        ) from error
    return TransformGraph(model, columns, features)
