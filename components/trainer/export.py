"""The SavedModel: preprocessing and model behind two signatures; and the check that it is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_metadata.proto.v0 import schema_pb2

from ...errors import PenstockError
from ..transform.graph import TransformGraph
from ..transform.inputs import Kind

RAW = "serving_default"
SERIALIZED = "serving_examples"
OUTPUT = "predictions"

# tf.Example has no NaN among its integers; nothing that float32 could hold apart lies here.
_NO_INTEGER = int(np.iinfo(np.int64).min)


def export_model(model: keras.Model, transform: TransformGraph, folder: Path) -> None:
    """Write `model` behind its preprocessing as a SavedModel with both signatures.

    The model is traced once, for raw columns; the signature for serialized examples parses and
    calls that same graph.

    Args:
        model: Takes the transformed features, gives one tensor.
        transform: The preprocessing whose features the model was trained on.
        folder: Where to write.

    Raises:
        PenstockError: The model cannot be called with the features, or gives several tensors.
    """
    specs = {
        column: tf.TensorSpec([None], tf.string if kind == "string" else tf.float32, name=column)
        for column, kind in transform.columns.items()
    }

    def predict(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        answer = _one_tensor(_call(model, transform(raw)))
        if answer.shape.rank == 1:
            answer = tf.expand_dims(answer, -1)
        return {OUTPUT: tf.cast(answer, tf.float32)}

    from_raw = tf.function(predict, autograph=False).get_concrete_function(specs)

    def predict_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = parse_examples(examples, transform.columns)
        answer: dict[str, tf.Tensor] = from_raw(raw)
        return answer

    examples = tf.TensorSpec([None], tf.string, name="examples")
    from_examples = tf.function(predict_examples, autograph=False).get_concrete_function(examples)

    # Only what the graph uses is saved: no optimizer state, no second trace by Keras.
    module = tf.Module()
    module.used_variables = list(from_raw.graph.variables)
    module.used_resources = _resources(transform.model) + _resources(model)
    tf.saved_model.save(module, str(folder), signatures={RAW: from_raw, SERIALIZED: from_examples})


def check_inputs(model: keras.Model, transform: TransformGraph) -> None:
    """Check that Keras will not mix up the features of a model that takes a dictionary.

    A functional model built on a dictionary takes the values of another one by their place among
    the sorted names, not by name, and only warns when names differ.

    Raises:
        PenstockError: The model's dictionary does not name exactly the transformed features.
    """
    takes = getattr(model, "input", None)
    if isinstance(takes, dict) and set(takes) != set(transform.features):
        raise PenstockError(
            f"The model that run_fn returned takes a dictionary of {', '.join(sorted(takes))}, and "
            f"the features are {', '.join(transform.features)}, which Keras would mix up; give "
            "keras.Model all of fn_args.transform.inputs(), or a list of those that it uses."
        )


def parse_examples(examples: tf.Tensor, columns: Mapping[str, Kind]) -> dict[str, tf.Tensor]:
    """Parse serialized `tf.Example`s into raw columns.

    Args:
        examples: `[batch]` strings.
        columns: The columns and their kinds: `string` is read from a bytes list, `integer` from an
            int64 list, `float` from a float list.

    Returns:
        `{column: [batch]}`: strings with `""`, numbers float32 with NaN where an example lacks the
        column.
    """
    features = {
        "string": tf.io.FixedLenFeature([], tf.string, ""),
        "integer": tf.io.FixedLenFeature([], tf.int64, _NO_INTEGER),
        "float": tf.io.FixedLenFeature([], tf.float32, float("nan")),
    }
    parsed = tf.io.parse_example(examples, {c: features[kind] for c, kind in columns.items()})
    for column, kind in columns.items():
        if kind == "integer":
            value = parsed[column]
            number = tf.cast(value, tf.float32)
            parsed[column] = tf.where(value == _NO_INTEGER, float("nan"), number)
    return {column: parsed[column] for column in columns}


def check_export(folder: Path, schema: schema_pb2.Schema, source: str) -> None:
    """Check that a SavedModel has the signatures that docs/formats.md states.

    Only `saved_model.pb` is read; nothing is loaded or run.

    Args:
        folder: The SavedModel.
        schema: Names the raw columns that `serving_default` may take.
        source: The author's module, for the sentences.

    Raises:
        PenstockError: There is no SavedModel, or a signature is missing or does not fit.
    """
    file = folder / "saved_model.pb"
    if not file.is_file():
        raise PenstockError(
            f"run_fn in {source} returned no model and wrote no SavedModel to "
            "fn_args.serving_dir; it must do one of the two."
        )
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(file.read_bytes())
    signatures = {k: v for graph in saved.meta_graphs for k, v in graph.signature_def.items()}
    for name in (RAW, SERIALIZED):
        if name not in signatures:
            raise PenstockError(
                f"The SavedModel of {source} has no signature {name!r}; export one, or let run_fn "
                "return its Keras model and Penstock exports both."
            )
        output = signatures[name].outputs.get(OUTPUT)
        if output is None or output.dtype != tf.float32.as_datatype_enum:
            raise PenstockError(
                f"The signature {name!r} of {source} gives no float32 output {OUTPUT!r}; it gives "
                f"{_described(signatures[name].outputs)}."
            )
    wanted = {
        feature.name: tf.string if feature.type == schema_pb2.BYTES else tf.float32
        for feature in schema.feature
    }
    for column, info in signatures[RAW].inputs.items():
        if column not in wanted:
            raise PenstockError(
                f"The signature {RAW!r} of {source} takes {column!r}, which the schema does not "
                "have; it must take raw columns by their names."
            )
        if info.dtype != wanted[column].as_datatype_enum or len(info.tensor_shape.dim) != 1:
            raise PenstockError(
                f"The signature {RAW!r} of {source} takes {column!r} as "
                f"{_described({column: info})}; by the schema it is {wanted[column].name} [batch]."
            )
    takes = signatures[SERIALIZED].inputs
    if set(takes) != {"examples"} or takes["examples"].dtype != tf.string.as_datatype_enum:
        raise PenstockError(
            f"The signature {SERIALIZED!r} of {source} takes {_described(takes)}; it must take "
            "'examples', serialized tf.Examples as string [batch]."
        )


def check_answers(
    model: keras.Model, transform: TransformGraph, folder: Path, raw: Mapping[str, tf.Tensor]
) -> None:
    """Load the SavedModel and check that it answers as the trained model does.

    Args:
        model: The trained model.
        transform: Its preprocessing.
        folder: The SavedModel.
        raw: A batch of raw columns.

    Raises:
        PenstockError: An answer differs by more than 1e-5, relatively or absolutely.
    """
    expected = np.asarray(_one_tensor(_call(model, transform(raw))), np.float32)
    # Held while it is used: a signature keeps only a weak hold on the model's variables.
    loaded = tf.saved_model.load(str(folder))
    answers = loaded.signatures[RAW](**{c: raw[c] for c in transform.columns})[OUTPUT].numpy()
    if not np.allclose(
        answers.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5, equal_nan=True
    ):
        worst = float(np.max(np.abs(answers.reshape(expected.shape) - expected)))
        raise PenstockError(
            f"The exported model does not answer as the trained one does: predictions differ by up "
            f"to {worst:g} on {len(expected)} rows; look for layers that are random when serving."
        )


def _call(model: keras.Model, features: Mapping[str, Any]) -> Any:
    try:
        return model(features, training=False)
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PenstockError(
            "The model that run_fn returned cannot be called with the transformed features "
            f"{', '.join(features)} ({reason}); build it on fn_args.transform.inputs()."
        ) from error


def _one_tensor(answer: Any) -> Any:
    if isinstance(answer, (dict, list, tuple)):
        raise PenstockError(
            f"The model that run_fn returned gives {len(answer)} outputs as a "
            f"{type(answer).__name__}; it must give one tensor, the predictions."
        )
    return answer


def _resources(model: keras.Model) -> list[Any]:
    """Return the lookup tables and the like inside `model`, which a SavedModel must hold."""
    kind = tf.saved_model.experimental.TrackableResource
    return [part for part in tf.train.TrackableView(model).descendants() if isinstance(part, kind)]


def _described(tensors: Mapping[str, Any]) -> str:
    return (
        ", ".join(
            f"{name!r} ({tf.as_dtype(info.dtype).name}, rank {len(info.tensor_shape.dim)})"
            for name, info in sorted(tensors.items())
        )
        or "nothing"
    )
