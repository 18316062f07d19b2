"""The thresholds of an EvalConfig: on which metric, on which slices, which bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util
from tensorflow_model_analysis.utils.keras_lib import tf_keras

from ...errors import PenstockError


@dataclass(frozen=True)
class Threshold:
    """A threshold of the config.

    Attributes:
        key: Of the metric; `key.is_diff` where the change against the champion is bounded.
        where: A SlicingSpec, a CrossSlicingSpec, or None for every slice.
        proto: A GenericValueThreshold or a GenericChangeThreshold.
    """

    key: metric_types.MetricKey
    where: Any
    proto: Any

    def bounds(self) -> Iterator[tuple[str, str, float]]:
        """Yield what is bounded (`value`, `change`, `relative_change`), the side and the bound."""
        if not self.key.is_diff:
            for kind in ("lower_bound", "upper_bound"):
                if self.proto.HasField(kind):
                    yield "value", kind, float(getattr(self.proto, kind).value)
            return
        lower = self.proto.direction == config_pb2.MetricDirection.LOWER_IS_BETTER
        kind = "upper_bound" if lower else "lower_bound"
        for field, of in (("absolute", "change"), ("relative", "relative_change")):
            if self.proto.HasField(field):
                yield of, kind, float(getattr(self.proto, field).value)


def thresholds_of(config: config_pb2.EvalConfig) -> list[Threshold]:
    """Return every threshold of a completed config, as TFMA's validation will find them."""
    baseline = model_util.get_baseline_model_spec(config)
    found = metric_specs.metric_thresholds_from_metrics_specs(
        config.metrics_specs, eval_config=config
    )
    return [
        Threshold(key, where, proto)
        for key, pairs in found.items()
        if baseline is None or key.model_name != baseline.name
        for where, proto in pairs
    ]


def metric_names(config: config_pb2.EvalConfig) -> list[list[str]]:
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


def move_thresholds(config: config_pb2.EvalConfig) -> None:
    """Move thresholds by metric name to their metrics.

    TFMA keeps the former for metrics that the model computes itself, and finds no others there.
    """
    for spec, known in zip(config.metrics_specs, metric_names(config), strict=True):
        for name in sorted(
            {*spec.thresholds, *spec.per_slice_thresholds, *spec.cross_slice_thresholds}
        ):
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
            if name in spec.cross_slice_thresholds:
                metric.cross_slice_thresholds.extend(spec.cross_slice_thresholds[name].thresholds)
        spec.ClearField("thresholds")
        spec.ClearField("per_slice_thresholds")
        spec.ClearField("cross_slice_thresholds")


def check_thresholds(config: config_pb2.EvalConfig, *, left_out: bool = False) -> None:
    """Check that there are thresholds, that each has a bound, and that its slices are made.

    Args:
        config: With TFMA's defaults.
        left_out: Whether change thresholds were left out because there is no champion.

    Raises:
        PenstockError: That is not so.
    """
    thresholds = thresholds_of(config)
    if not thresholds:
        raise PenstockError(
            "eval_config has change thresholds only, and there is no champion yet to compare with, "
            "so nothing would hold back a first model; add a value_threshold."
            if left_out
            else "eval_config has no thresholds, and a gate without thresholds lets everything "
            "through; add a threshold { value_threshold { lower_bound { value: ... } } } to a "
            "metric."
        )
    for threshold in thresholds:
        _check_bounds(threshold)
        if isinstance(threshold.where, config_pb2.CrossSlicingSpec):
            _check_cross_slices(threshold, config)
        elif threshold.where is not None:
            _check_slices(threshold, config)


def _check_bounds(threshold: Threshold) -> None:
    name = threshold.key.name
    if not any(threshold.bounds()):
        asked = "absolute nor relative" if threshold.key.is_diff else "lower_bound nor upper_bound"
        raise PenstockError(
            f"The threshold on {name!r} in eval_config has neither {asked}, so every value passes; "
            "give one."
        )
    if threshold.key.is_diff and not threshold.proto.direction:
        raise PenstockError(
            f"The change_threshold on {name!r} in eval_config has no direction; say "
            "HIGHER_IS_BETTER or LOWER_IS_BETTER."
        )


def _check_slices(threshold: Threshold, config: config_pb2.EvalConfig) -> None:
    if any(slicing.slice_keys_sql for slicing in config.slicing_specs):
        return  # Which slices a query makes is known when it has run.
    sliced_by = {
        frozenset((*slicing.feature_keys, *slicing.feature_values))
        for slicing in config.slicing_specs
    }
    slicing = threshold.where
    names = frozenset((*slicing.feature_keys, *slicing.feature_values))
    if names not in sliced_by:
        where = f"slices by {' and '.join(sorted(names))}" if names else "all rows"
        raise PenstockError(
            f"The threshold on {threshold.key.name!r} in eval_config is for {where}, which "
            "slicing_specs does not make; add that slicing there."
        )


def _check_cross_slices(threshold: Threshold, config: config_pb2.EvalConfig) -> None:
    asked = threshold.where
    for cross in config.cross_slicing_specs:
        if cross.baseline_spec == asked.baseline_spec and (
            not cross.slicing_specs
            or all(slicing in cross.slicing_specs for slicing in asked.slicing_specs)
        ):
            return
    raise PenstockError(
        f"The cross_slice_threshold on {threshold.key.name!r} in eval_config compares slices that "
        "cross_slicing_specs does not compare; add that comparison there."
    )
