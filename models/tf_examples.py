"""Rows as serialized `tf.Example`s, as a client sends them to `serving_examples`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import tensorflow as tf

from .transform_graph import Kind


def serialized_examples(rows: pa.Table, kinds: Mapping[str, Kind]) -> pa.Array:
    """Return one serialized `tf.Example` a row.

    Args:
        rows: Raw columns, of single values or lists of them.
        kinds: The features to send: `string` goes into a bytes list, `integer` into an int64 list,
            `float` into a float list. A null is left out, as TFX's ExampleGen leaves it out.

    Returns:
        `[rows]` binary.
    """
    names = [name for name in kinds if name in rows.column_names]
    columns = [rows.column(name).to_pylist() for name in names]
    makers = [_MAKERS[kinds[name]] for name in names]
    examples = []
    for values in zip(*columns, strict=True) if names else [()] * rows.num_rows:
        features = {
            name: make(value if isinstance(value, list) else [value])
            for name, make, value in zip(names, makers, values, strict=True)
            if value is not None
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(example.SerializeToString(deterministic=True))
    return pa.array(examples, pa.binary())


def _strings(values: list[Any]) -> tf.train.Feature:
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))


def _integers(values: list[Any]) -> tf.train.Feature:
    whole = [int(value) for value in values]
    return tf.train.Feature(int64_list=tf.train.Int64List(value=whole))


def _floats(values: list[Any]) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


_MAKERS = {"string": _strings, "integer": _integers, "float": _floats}
