"""The model that is served: preprocessing and model as one; and the check that it is so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_metadata.proto.v0 import schema_pb2

from ..data.examples import iter_batches
from ..errors import PenstockError
from ..models.loading import load_model, model_kind
from ..models.model import DESCRIPTION, OUTPUT
from ..models.parity import FILE as PARITY
from ..models.parity import Parity, write_parity
from ..models.transform_graph import Kind, TransformGraph
from .fn_args import FnArgs

RAW = "serving_default"
SERIALIZED = "serving_examples"


_TOLERANCE = {"float32": 1e-5, "float16": 2**-9, "bfloat16": 2**-6}


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
        column or has an empty list.

    Raises:
        tf.errors.InvalidArgumentError: When run on an example with several values of a column.
    """
    dtypes = {"string": tf.string, "integer": tf.int64, "float": tf.float32}
    # Lists of any length are asked for, as those of length 1 would refuse an empty one.
    lists = tf.io.parse_example(
        examples, {c: tf.io.RaggedFeature(dtypes[kind]) for c, kind in columns.items()}
    )
    return {column: _one_value(lists[column], column, kind) for column, kind in columns.items()}


def _one_value(lists: tf.RaggedTensor, column: str, kind: Kind) -> tf.Tensor:
    lengths = lists.row_lengths()
    single = tf.debugging.assert_less_equal(
        lengths, tf.ones_like(lengths), f"The feature {column} has more than one value in a row."
    )
    with tf.control_dependencies([single] if single is not None else []):
        if kind == "string":
            return lists.to_tensor("", shape=[None, 1])[:, 0]
        numbers = tf.cast(lists, tf.float32)
        return numbers.to_tensor(float("nan"), shape=[None, 1])[:, 0]


def check_export(args: FnArgs, source: str) -> str:
    """Check that a model was written whose signature fits the schema.

    Args:
        args: What `run_fn` was given: `serving_dir` is looked at.
        source: The author's module, for the sentences.

    Returns:
        The model's kind.

    Raises:
        PenstockError: There is no model, or a signature is missing or does not fit.
    """
    folder = args.serving_dir
    if not any((folder / name).is_file() for name in ("saved_model.pb", DESCRIPTION)):
        raise PenstockError(
            f"run_fn in {source} returned no model and wrote no SavedModel (nor a {DESCRIPTION} of "
            "another kind) to fn_args.serving_dir; it must do one of the two."
        )
    kind = model_kind(folder)
    if kind == "saved_model":
        _check_saved_model(folder, args.schema, source)
    else:
        _check_other_kind(args, source)
    return kind


def _check_saved_model(folder: Path, schema: schema_pb2.Schema, source: str) -> None:
    """Check a SavedModel's signatures; only `saved_model.pb` is read, nothing is loaded or run."""
    file = folder / "saved_model.pb"
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


def _check_other_kind(args: FnArgs, source: str) -> None:
    """Check that a model of another kind loads, takes raw columns, and answers for them."""
    model = load_model(args.serving_dir)
    texts = {feature.name: feature.type == schema_pb2.BYTES for feature in args.schema.feature}
    for column, kind in model.signature.inputs.items():
        if column not in texts:
            raise PenstockError(
                f"The model that {source} exported takes {column!r}, which the schema does not "
                "have; it must take raw columns by their names."
            )
        if texts[column] != (kind == "string"):
            wanted = "string" if texts[column] else "float32"
            raise PenstockError(
                f"The model that {source} exported takes {column!r} as {kind}; by the schema it is "
                f"{wanted}."
            )
    rows = _eval_rows(args, sorted(model.signature.inputs))
    answers = model.predict(rows)
    if answers.ndim != 2 or len(answers) != rows.num_rows or not np.isfinite(answers).all():
        raise PenstockError(
            f"The model that {source} exported answers {rows.num_rows} rows with an array of "
            f"{list(answers.shape)}, or with what is not finite; it must give [rows, width] "
            "numbers."
        )
    if not (args.model_dir / PARITY).exists():  # else the trained model's own answers are there
        _keep_answers(args, rows, answers, _TOLERANCE["float32"])


def check_answers(expected: np.ndarray[Any, Any], args: FnArgs) -> None:
    """Load the exported model and check that it answers as the trained model does.

    The rows and the trained model's answers stay beside the model, for those who load it elsewhere.

    Args:
        expected: The trained model's answers for the first rows of the evaluation split, `[rows]`
            or `[rows, width]`.
        args: What `run_fn` was given.

    Raises:
        PenstockError: An answer differs, relatively or absolutely, by more than 1e-5, or than twice
            the last place of the type that the model computes in.
    """
    tolerance = _TOLERANCE[keras.config.dtype_policy().compute_dtype]
    model = load_model(args.serving_dir)
    rows = _eval_rows(args, sorted(model.signature.inputs), len(expected))
    found = model.predict(rows).reshape(expected.shape)
    if not np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True):
        worst = float(np.max(np.abs(found - expected)))
        raise PenstockError(
            f"The exported model does not answer as the trained one does: predictions differ by up "
            f"to {worst:g} on {len(expected)} rows; look for layers that are random when serving."
        )
    _keep_answers(args, rows, expected, tolerance)


def answers(model: keras.Model, features: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return what a Keras model gives for a batch of transformed features."""
    return np.asarray(_one_tensor(_call(model, features)), np.float32)


def _keep_answers(args: FnArgs, rows: pa.RecordBatch, found: Any, tolerance: float) -> None:
    answers = np.asarray(found, np.float32).reshape(rows.num_rows, -1)
    write_parity(args.model_dir, Parity(pa.Table.from_batches([rows]), answers, tolerance))


def _eval_rows(args: FnArgs, columns: list[str], rows: int = 64) -> pa.RecordBatch:
    return next(iter_batches(args.examples, args.eval_split, columns, rows))


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
