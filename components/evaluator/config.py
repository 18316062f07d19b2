"""The EvalConfig: read strictly, refused by name where it asks for what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import config_util

from ...errors import PenstockError
from .parsing import parse
from .sql import check_sql, columns_in_sql
from .thresholds import check_thresholds, move_thresholds

_ONE_OUTPUT = "a model has one output here, so name it with the singular field"
_INTERVALS = "intervals are computed for every metric; say how with the parameter replicates"
REFUSED = {
    "label_keys": _ONE_OUTPUT,
    "prediction_keys": _ONE_OUTPUT,
    "example_weight_keys": _ONE_OUTPUT,
    "output_names": _ONE_OUTPUT,
    "output_weights": _ONE_OUTPUT,
    "model_type": "a model says itself what made it",
    "preprocessing_function_names": "the exported model already takes raw features",
    "padding_options": "predictions have one width",
    "inference_batch_size": "the batches are chosen for you",
    "compute_confidence_intervals": _INTERVALS,
    "confidence_intervals": _INTERVALS,
    "disabled_outputs": "every output is needed for the verdict",
}


def read_eval_config(text: str, *, champion: bool = False) -> config_pb2.EvalConfig:
    """Parse `text` as a tfma.EvalConfig and complete it: `complete(parse_eval_config(text))`."""
    return complete(parse_eval_config(text), champion=champion)


def parse_eval_config(text: str) -> config_pb2.EvalConfig:
    """Parse `text` as a tfma.EvalConfig and refuse by name what it must not ask for.

    Args:
        text: Proto text, proto JSON (it starts with a brace), or the same as YAML. Unknown fields
            are errors.

    Returns:
        The config as it was written.

    Raises:
        PenstockError: It does not parse (with line and column where the parser gives them), or
            asks for something that is not done here.
    """
    config = parse(text)
    for path, field in _set_fields(config):
        if field in REFUSED:
            raise PenstockError(f"eval_config sets {path}, which is refused: {REFUSED[field]}.")
    return config


def complete(config: config_pb2.EvalConfig, *, champion: bool) -> config_pb2.EvalConfig:
    """Return `config` with TFMA's own defaults, checked as far as it can be without data.

    With a champion, it has two model specs: `candidate` and `baseline`, the latter a copy of the
    former where it was not written out. Without one, the baseline and all change thresholds are
    gone, as where TFX rubber-stamps a first model.

    Args:
        config: What `parse_eval_config` returned; it is not changed.
        champion: Whether there is a model to compare with.

    Returns:
        The completed config. Slices that are compared with each other are also computed.

    Raises:
        PenstockError: It is no gate (no metric, no threshold, a threshold without a bound or on a
            slice that is not made), or its model specs do not fit together.
    """
    ready = config_pb2.EvalConfig()
    ready.CopyFrom(config)
    _check_models(ready)
    if not any(spec.metrics for spec in ready.metrics_specs):
        raise PenstockError(
            "eval_config has no metrics, so there is nothing to decide on; add metrics_specs { "
            'metrics { class_name: "AUC" } }.'
        )
    if not ready.slicing_specs:
        ready.slicing_specs.add()
    for cross in ready.cross_slicing_specs:
        for slicing in (cross.baseline_spec, *cross.slicing_specs):
            if slicing not in ready.slicing_specs:
                ready.slicing_specs.add().CopyFrom(slicing)
    _count_rows(ready)
    if champion and len(ready.model_specs) == 1:
        # TFMA adds a baseline beside a nameless model only.
        ready.model_specs[0].name = ""
    completed: config_pb2.EvalConfig = config_util.update_eval_config_with_defaults(
        ready, has_baseline=champion, rubber_stamp=True
    )
    move_thresholds(completed)
    check_thresholds(completed, left_out=not champion and config_util.has_change_threshold(config))
    return completed


def candidate_of(config: config_pb2.EvalConfig) -> config_pb2.ModelSpec:
    """Return the model spec of the model that is to be blessed."""
    return next(spec for spec in config.model_specs if not spec.is_baseline)


def baseline_of(config: config_pb2.EvalConfig) -> config_pb2.ModelSpec | None:
    """Return the model spec of the champion; None where there is none."""
    return next((spec for spec in config.model_specs if spec.is_baseline), None)


def check_columns(
    config: config_pb2.EvalConfig, columns: Mapping[str, str], schema: pa.Schema
) -> None:
    """Check that the columns that `config` names are in the Examples.

    Args:
        config: What `read_eval_config` returned.
        columns: The Examples' columns with Arrow's name for their types.
        schema: The same as a schema.

    Raises:
        PenstockError: A label, weight, slicing or query column is missing, or the label or weight
            is not a number.
    """
    spec = candidate_of(config)
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
        if slicing.slice_keys_sql:
            check_sql(slicing.slice_keys_sql, schema)
    for metrics in config.metrics_specs:
        if metrics.query_key:
            _check_column("query_key", metrics.query_key, columns)


def needed_columns(config: config_pb2.EvalConfig, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns that the metrics, slices and weights are computed from, label first."""
    names = [candidate_of(config).label_key]
    if _weight(config):
        names.append(_weight(config))
    for slicing in config.slicing_specs:
        names += [*slicing.feature_keys, *slicing.feature_values]
        if slicing.slice_keys_sql:
            names += columns_in_sql(slicing.slice_keys_sql, list(columns))
    names += [metrics.query_key for metrics in config.metrics_specs if metrics.query_key]
    return tuple(dict.fromkeys(names))


def _weight(config: config_pb2.EvalConfig) -> str:
    return str(candidate_of(config).example_weight_key)


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


def _count_rows(config: config_pb2.EvalConfig) -> None:
    """Have rows counted on every slice: a verdict says how many it is based on."""
    plain = [
        spec
        for spec in config.metrics_specs
        if not (spec.query_key or spec.HasField("binarize") or spec.HasField("aggregate"))
    ]
    if not any(metric.class_name == "ExampleCount" for spec in plain for metric in spec.metrics):
        config.metrics_specs.add().metrics.add(class_name="ExampleCount")


def _check_models(config: config_pb2.EvalConfig) -> None:
    """Check the model specs, and give the baseline what it shares with the candidate."""
    candidates = [spec for spec in config.model_specs if not spec.is_baseline]
    baselines = [spec for spec in config.model_specs if spec.is_baseline]
    if len(candidates) != 1 or len(baselines) > 1:
        raise PenstockError(
            f"eval_config has {len(config.model_specs)} model_specs, {len(baselines)} of them "
            "baselines; give exactly one, such as "
            'model_specs { label_key: "late" }, and at most one more with is_baseline: true.'
        )
    candidate = candidates[0]
    if not candidate.label_key:
        raise PenstockError("model_specs of eval_config has no label_key; name the label's column.")
    for baseline in baselines:
        for field in ("label_key", "example_weight_key"):
            if getattr(baseline, field) not in ("", getattr(candidate, field)):
                raise PenstockError(
                    f"The baseline of eval_config has {field} {getattr(baseline, field)!r} and the "
                    f"candidate {getattr(candidate, field)!r}; both are measured on the same rows "
                    "by the same label and weight, so leave the baseline's out."
                )
            setattr(baseline, field, getattr(candidate, field))
        candidate.name = candidate.name or constants.CANDIDATE_KEY
        baseline.name = baseline.name or constants.BASELINE_KEY
        if candidate.name == baseline.name:
            raise PenstockError(
                f"Both model_specs of eval_config are named {candidate.name!r}; name them apart."
            )


def _check_column(role: str, name: str, columns: Mapping[str, str]) -> None:
    if name not in columns:
        raise PenstockError(
            f"{role} of eval_config names the column {name!r}, which the examples do not have; "
            f"they have {', '.join(sorted(columns))}."
        )
