"""Warm-up requests for TensorFlow Serving, which plays them before a version answers.

The format is TensorFlow Serving's (tensorflow.org/tfx/serving/saved_model_warmup): a TFRecord file
of `tensorflow.serving.PredictionLog`, at most 1,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Arrays = Mapping[str, np.ndarray[Any, Any]]


def write_warmup(file: Path, requests: Iterable[tuple[str, Arrays, Any]]) -> int:
    """Write predict requests.

    Args:
        file: Where to.
        requests: For each the signature's name, its inputs `{name: [batch]}`, and the signature
            itself, as a loaded SavedModel has it, which says how the inputs are typed and shaped.

    Returns:
        How many there are.

    Raises:
        ImportError: The package tensorflow-serving-api is not installed.
    """
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    count = 0
    with tf.io.TFRecordWriter(str(file)) as sink:
        for name, arrays, function in requests:
            specs = function.structured_input_signature[1]
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(signature_name=name),
                inputs={key: _tensor(arrays[key], spec) for key, spec in specs.items()},
            )
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            sink.write(record.SerializeToString(deterministic=True))
            count += 1
    return count


def _tensor(values: np.ndarray[Any, Any], spec: Any) -> Any:
    shape = [len(values), *[1] * (max(spec.shape.rank or 1, 1) - 1)]
    return tf.make_tensor_proto(values.reshape(shape), spec.dtype)
