"""Writing the TransformGraph artifact: the preprocessing model and what it says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from ...models.transform_graph import DESCRIPTION, FORMAT, PREPROCESSING, Kind
from .base_model import declaration_of
from .features import Feature
from .fit import State
from .preprocessing import index_size, save_preprocessing


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
            "declaration": declaration_of(feature),
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
    save_preprocessing(model, folder / PREPROCESSING)
    return content
