"""From fitted states to one Keras model: raw columns in, transformed features out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from ...models.transform_graph import Kind
from .features import Bucketized, Categorical, Crossed, Feature, Hashed, Numeric
from .fit import State

# A cross of more than two columns hashes pairs one after the other; only the last is folded into
# the bins that were asked for.
_WIDE = 2**31 - 1
_UNSEEN = "\0unseen"


def build_preprocessing(
    features: Mapping[str, Feature], states: Mapping[str, State], kinds: Mapping[str, Kind]
) -> keras.Model:
    """Return the model that transforms raw columns into features.

    Made of standard layers and operations alone, so that Keras loads it without any code of ours.

    Args:
        features: The declarations, by name.
        states: What was fitted, by the same names.
        kinds: Each raw column's kind.

    Returns:
        A functional model from `{column: [batch]}` (numbers float32 with NaN for missing, strings
        with `""`) to `{name: [batch, width]}`.
    """

    def build() -> keras.Model:
        inputs = {
            column: keras.Input((), dtype="string" if kind == "string" else "float32", name=column)
            for column, kind in kinds.items()
        }
        outputs = {
            name: _transform(name, feature, states[name].values, inputs, kinds)
            for name, feature in features.items()
        }
        return keras.Model(inputs, outputs, name="preprocessing")

    # Keras numbers unnamed operations per thread: in a new one they get the same names every time.
    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(build).result()


def index_size(feature: Feature, state: State) -> int | None:
    """Return how many indices a feature has, counting 0 for missing; None for `Numeric`."""
    if isinstance(feature, Bucketized):
        return 2 + len(state.values["boundaries"])
    if isinstance(feature, Categorical):
        return 1 + feature.num_oov + len(state.values["vocabulary"])
    if isinstance(feature, (Hashed, Crossed)):
        return 1 + feature.num_bins
    return None


def save_preprocessing(model: keras.Model, path: Path) -> None:
    """Write `model` in Keras's own format, without the times and addresses that Keras puts in.

    The same model makes the same bytes, so whatever is cached by content stays valid when
    transform runs again.

    Args:
        model: The model of `build_preprocessing`.
        path: The file, ending in `.keras`.
    """
    written = io.BytesIO()
    draft = path.with_name(f".draft-{path.name}")
    model.save(draft)
    with zipfile.ZipFile(draft) as source, zipfile.ZipFile(written, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": ""}).encode()
            elif name == "config.json":
                content = json.dumps(_renumber(json.loads(content), {})).encode()
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    draft.unlink()
    path.write_bytes(written.getvalue())


def _renumber(config: Any, numbers: dict[int, int]) -> Any:
    """Number shared objects in order of appearance; Keras takes their addresses in memory."""
    if isinstance(config, list):
        return [_renumber(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: numbers.setdefault(value, len(numbers))
        if key == "shared_object_id"
        else _renumber(value, numbers)
        for key, value in config.items()
    }


def _transform(
    name: str,
    feature: Feature,
    state: dict[str, Any],
    inputs: Mapping[str, Any],
    kinds: Mapping[str, Kind],
) -> Any:
    if isinstance(feature, Numeric):
        value = inputs[feature.column]
        known = ops.where(ops.isnan(value), state["fill"], value)
        return ops.expand_dims((known - state["shift"]) * state["scale"], -1)
    if isinstance(feature, Bucketized):
        value = inputs[feature.column]
        bucket = layers.Discretization(state["boundaries"], name=f"{name}_buckets")(value)
        index = ops.where(ops.isnan(value), 0, ops.cast(bucket, "int64") + 1)
    elif isinstance(feature, Crossed):
        index = _cross(name, feature, inputs, kinds)
    elif kinds[feature.column] == "string":
        layer = (
            layers.StringLookup(
                vocabulary=state["vocabulary"],
                num_oov_indices=feature.num_oov,
                mask_token="",
                oov_token=_UNSEEN,
                name=f"{name}_lookup",
            )
            if isinstance(feature, Categorical)
            else layers.Hashing(feature.num_bins + 1, mask_value="", name=f"{name}_hash")
        )
        index = layer(inputs[feature.column])
    else:
        index = _integer_index(name, feature, state, inputs[feature.column])
    size = index_size(feature, State("data", state))
    if feature.output == "one_hot":
        return ops.one_hot(index, size, dtype="float32")
    return ops.expand_dims(ops.cast(index, "int64"), -1)


def _integer_index(
    name: str, feature: Categorical | Hashed, state: dict[str, Any], value: Any
) -> Any:
    missing = ops.isnan(value)
    whole = ops.cast(ops.where(missing, 0.0, value), "int64")
    if isinstance(feature, Categorical):
        vocabulary = state["vocabulary"]
        layer = layers.IntegerLookup(
            vocabulary=vocabulary,
            num_oov_indices=feature.num_oov,
            oov_token=min(vocabulary) - 1,
            name=f"{name}_lookup",
        )
    else:
        layer = layers.Hashing(feature.num_bins, name=f"{name}_hash")
    return ops.where(missing, 0, ops.cast(layer(whole), "int64") + 1)


def _cross(
    name: str, feature: Crossed, inputs: Mapping[str, Any], kinds: Mapping[str, Kind]
) -> Any:
    parts, missing = [], []
    for place, column in enumerate(feature.columns):
        value = inputs[column]
        if kinds[column] == "string":
            # With two bins, one of them for the mask, a hash says whether a string is there.
            there = layers.Hashing(2, mask_value="", name=f"{name}_there_{place}")(value)
            missing.append(ops.equal(there, 0))
            parts.append(value)
        else:
            missing.append(ops.isnan(value))
            parts.append(ops.cast(ops.where(missing[-1], 0.0, value), "int64"))
    crossed, absent = parts[0], missing[0]
    for place, (part, gone) in enumerate(zip(parts[1:], missing[1:], strict=True), start=1):
        bins = feature.num_bins if place == len(parts) - 1 else _WIDE
        crossed = layers.HashedCrossing(bins, name=f"{name}_cross_{place}")((crossed, part))
        absent = ops.logical_or(absent, gone)
    return ops.where(absent, 0, ops.cast(crossed, "int64") + 1)
