"""The EvalConfig: read strictly, refused by name where it asks for what is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format, text_format
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import config_util
from tensorflow_model_analysis.utils.keras_lib import tf_keras

from ...errors import PenstockError

_ONE_OUTPUT = "a model has one output here, so name it with the singular field"
REFUSED = {
    "change_threshold": "there is no champion to compare with in this version; use value_threshold",
    "cross_slice_thresholds": "slices are not compared here; use per_slice_thresholds",
    "cross_slicing_specs": "slices are not compared here; use slicing_specs",
    "slice_keys_sql": "slices are made with feature_keys and feature_values",
    "is_baseline": "there is no champion to compare with in this version; leave the baseline out",
    "label_keys": _ONE_OUTPUT,
    "prediction_keys": _ONE_OUTPUT,
    "example_weight_keys": _ONE_OUTPUT,
    "output_names": _ONE_OUTPUT,
    "output_weights": _ONE_OUTPUT,
    "model_type": "the model is always the SavedModel that the trainer exported",
    "preprocessing_function_names": "the exported signature already takes raw features",
    "padding_options": "predictions have one width",
    "inference_batch_size": "the batches are chosen for you",
    "compute_confidence_intervals": "intervals are not computed in this version",
    "confidence_intervals": "intervals are not computed in this version",
    "disabled_outputs": "every output is needed for the verdict",
}


def read_eval_config(text: str) -> config_pb2.EvalConfig:
    """Parse `text` as a tfma.EvalConfig and check what can be checked without data.

    Args:
        text: Proto text or proto JSON (JSON starts with a brace). Unknown fields are errors.

    Returns:
        The config with TFMA's own defaults filled in: one nameless model, the slice of all rows
        where no slice is asked for.

    Raises:
        PenstockError: It does not parse (with line and column where the parser gives them), asks
            for something that this version does not do, or is no gate: no metric, no threshold.
    """
    config = _parse(text)
    for path, field in _set_fields(config):
        if field in REFUSED:
            raise PenstockError(f"eval_config sets {path}, which is refused: {REFUSED[field]}.")
    _check_shape(config)
    if not config.slicing_specs:
        config.slicing_specs.add()
    completed: config_pb2.EvalConfig = config_util.update_eval_config_with_defaults(config)
    _move_thresholds(completed, _metric_names(completed))
    _check_thresholds(completed)
    return completed


def check_columns(config: config_pb2.EvalConfig, columns: Mapping[str, str]) -> None:
    """Check that the columns that `config` names are in the Examples.

    Args:
        config: What `read_eval_config` returned.
        columns: The Examples' columns with Arrow's name for their types.

    Raises:
        PenstockError: A label, weight, slicing or query column is missing, or the label or weight
            is not a number.
    """
    spec = config.model_specs[0]
    numeric = ("int", "uint", "float", "double", "half", "bool")
    for role, name in (("label_key", spec.label_key), ("example_weight_key", _weight(config))):
        if not name:
            continue
        _check_column(role, name, columns)
        if not columns[name].startswith(numeric):
            raise PenstockError(
                f"{role} {name!r} of eval_config is of type {columns[name]}; it must be a number."
            )
    for slicing in config.slicing_specs:
        for name in (*slicing.feature_keys, *slicing.feature_values):
            _check_column("slicing_specs", name, columns)
    for metrics in config.metrics_specs:
        if metrics.query_key:
            _check_column("query_key", metrics.query_key, columns)


def needed_columns(config: config_pb2.EvalConfig) -> tuple[str, ...]:
    """Return the columns that the metrics, slices and weights are computed from, label first."""
    names = [config.model_specs[0].label_key]
    if _weight(config):
        names.append(_weight(config))
    for slicing in config.slicing_specs:
        names += [*slicing.feature_keys, *slicing.feature_values]
    names += [metrics.query_key for metrics in config.metrics_specs if metrics.query_key]
    return tuple(dict.fromkeys(names))


def _weight(config: config_pb2.EvalConfig) -> str:
    return str(config.model_specs[0].example_weight_key)


def _parse(text: str) -> config_pb2.EvalConfig:
    if not text.strip():
        raise PenstockError("eval_config is empty; give a tfma.EvalConfig as proto text or JSON.")
    config = config_pb2.EvalConfig()
    try:
        if text.lstrip().startswith("{"):
            json_format.ParseDict(json.loads(text), config)
        else:
            text_format.Parse(text, config)
    except text_format.ParseError as error:
        where = f" at line {error.GetLine()}, column {error.GetColumn()}" if error.GetLine() else ""
        said = str(error).removeprefix(f"{error.GetLine()}:{error.GetColumn()} : ")
        raise PenstockError(
            f"eval_config is not a tfma.EvalConfig in proto text{where}: {said.rstrip('.')}."
        ) from error
    except json.JSONDecodeError as error:
        raise PenstockError(
            f"eval_config is not JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except json_format.ParseError as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise PenstockError(f"eval_config is not a tfma.EvalConfig in JSON: {said}.") from error
    return config


def _set_fields(message: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and name of every field that is set, at any depth."""
    for field, value in message.ListFields():
        here = f"{path}.{field.name}" if path else field.name
        yield here, field.name
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            entries = (
                value.values() if field.message_type.fields_by_name["value"].message_type else ()
            )
        elif isinstance(value, config_pb2.EvalConfig) or hasattr(value, "ListFields"):
            entries = (value,)
        else:
            entries = value
        for entry in entries:
            yield from _set_fields(entry, here)


def _check_shape(config: config_pb2.EvalConfig) -> None:
    if len(config.model_specs) != 1:
        raise PenstockError(
            f"eval_config has {len(config.model_specs)} model_specs; give exactly one, such as "
            'model_specs { label_key: "late" }.'
        )
    if not config.model_specs[0].label_key:
        raise PenstockError("model_specs of eval_config has no label_key; name the label's column.")
    if not any(spec.metrics for spec in config.metrics_specs):
        raise PenstockError(
            "eval_config has no metrics, so there is nothing to decide on; add metrics_specs { "
            'metrics { class_name: "AUC" } }.'
        )


def _metric_names(config: config_pb2.EvalConfig) -> list[list[str]]:
    """Return the name that each metric will have, by metrics_spec, after trying to make it."""
    registered = metric_types.registered_metrics()
    return [
        [_metric_name(metric, registered) for metric in spec.metrics]
        for spec in config.metrics_specs
    ]


def _metric_name(metric: config_pb2.MetricConfig, registered: dict[str, Any]) -> str:
    known = metric.class_name in registered or hasattr(tf_keras.metrics, metric.class_name)
    if not (known or metric.module):
        raise PenstockError(
            f"eval_config asks for the metric {metric.class_name!r}, which neither TFMA nor Keras "
            "has; give one of tfma.metrics or tf.keras.metrics, or say its module."
        )
    try:
        return str(metric_specs.metric_instance(metric, registered).name)
    except Exception as error:
        said = str(error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"The metric {metric.class_name!r} of eval_config cannot be made: {said}."
        ) from error


def _move_thresholds(config: config_pb2.EvalConfig, names: list[list[str]]) -> None:
    """Move thresholds by metric name to their metrics.

    TFMA keeps the former for metrics that the model computes itself, and finds no others there.
    """
    for spec, known in zip(config.metrics_specs, names, strict=True):
        for name in sorted({*spec.thresholds, *spec.per_slice_thresholds}):
            if name not in known:
                raise PenstockError(
                    f"eval_config has a threshold on {name!r}, but its metrics_specs entry has "
                    f"{', '.join(known) or 'no metric'}; add that metric or correct the name."
                )
            metric = spec.metrics[known.index(name)]
            if name in spec.thresholds:
                if metric.HasField("threshold"):
                    raise PenstockError(
                        f"eval_config has two thresholds on {name!r}; leave one of them out."
                    )
                metric.threshold.CopyFrom(spec.thresholds[name])
            if name in spec.per_slice_thresholds:
                metric.per_slice_thresholds.extend(spec.per_slice_thresholds[name].thresholds)
        spec.ClearField("thresholds")
        spec.ClearField("per_slice_thresholds")


def _check_thresholds(config: config_pb2.EvalConfig) -> None:
    found = metric_specs.metric_thresholds_from_metrics_specs(
        config.metrics_specs, eval_config=config
    )
    thresholds = [(key, *pair) for key, pairs in found.items() for pair in pairs]
    if not thresholds:
        raise PenstockError(
            "eval_config has no thresholds, and a gate without thresholds lets everything through; "
            "add a threshold { value_threshold { lower_bound { value: ... } } } to a metric."
        )
    sliced_by = {
        frozenset((*slicing.feature_keys, *slicing.feature_values))
        for slicing in config.slicing_specs
    }
    for key, slicing, threshold in thresholds:
        if not (threshold.HasField("lower_bound") or threshold.HasField("upper_bound")):
            raise PenstockError(
                f"The threshold on {key.name!r} in eval_config has neither lower_bound nor "
                "upper_bound, so every value passes; give one."
            )
        names = frozenset((*slicing.feature_keys, *slicing.feature_values) if slicing else ())
        if slicing and names not in sliced_by:
            where = f"slices by {' and '.join(sorted(names))}" if names else "all rows"
            raise PenstockError(
                f"The threshold on {key.name!r} in eval_config is for {where}, which "
                "slicing_specs does not make; add that slicing there."
            )


def _check_column(role: str, name: str, columns: Mapping[str, str]) -> None:
    if name not in columns:
        raise PenstockError(
            f"{role} of eval_config names the column {name!r}, which the examples do not have; "
            f"they have {', '.join(sorted(columns))}."
        )
