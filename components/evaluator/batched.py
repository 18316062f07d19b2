"""TFMA's metrics fed with whole slices of a batch instead of one row at a time.

TFMA's evaluator sends every row through Beam once per slice, which is where its time goes. Here a
batch is split by slice with numpy, and each of TFMA's combiners is given a slice's rows together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.evaluators import (
    metrics_plots_and_validations_evaluator as tfma_evaluator,
)
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import model_util

from .combiners import Array, Rows, add_rows
from .sql import slices_by_sql

_INPUTS = {constants.LABELS_KEY, constants.PREDICTIONS_KEY, constants.EXAMPLE_WEIGHTS_KEY}


@dataclass(frozen=True)
class Computations:
    """TFMA's computations for a config: combined from rows, derived from those, across slices."""

    combined: tuple[metric_types.MetricComputation, ...]
    derived: tuple[metric_types.DerivedMetricComputation, ...]
    across: tuple[metric_types.CrossSliceMetricComputation, ...] = ()


def batched_computations(config: config_pb2.EvalConfig, schema: pa.Schema) -> Computations | None:
    """Return what `SlicedBatches` needs, or None where TFMA's own evaluator has to do it.

    That is so for queries, minimal slice sizes, several predicted values per row, binarization and
    aggregation over classes, slices by list columns, and metrics that look at features or at two
    models at once.

    Args:
        config: As for `analyze`.
        schema: The columns of the rows.
    """
    if config.options.min_slice_size.value > 1 or any(
        spec.query_key or spec.HasField("binarize") or spec.HasField("aggregate")
        for spec in config.metrics_specs
    ):
        return None
    taken = columns_without_sql(config)
    if any(
        pa.types.is_nested(field.type) or pa.types.is_temporal(field.type)
        for field in schema
        if field.name in taken
    ):
        return None
    # Derived computations carry copies of what they derive from: TFMA keeps the first of equals.
    computations = list(
        dict.fromkeys(metric_specs.to_computations(list(config.metrics_specs), eval_config=config))
    )
    combined = [c for c in computations if type(c) is metric_types.MetricComputation]
    derived = [c for c in computations if type(c) is metric_types.DerivedMetricComputation]
    across = [c for c in computations if type(c) is metric_types.CrossSliceMetricComputation]
    if len(combined) + len(derived) + len(across) < len(computations):
        return None
    if not all(_takes_labels_and_predictions(c) for c in combined):
        return None
    if any(
        key.is_diff or len({k.model_name for k in c.keys}) > 1 for c in combined for key in c.keys
    ):
        return None
    return Computations(tuple(combined), tuple(derived), tuple(across))


class SlicedBatches(beam.PTransform):
    """Turn record batches into the evaluation that TFMA's writers take.

    Stands for TFMA's extractors and its `MetricsPlotsAndValidationsEvaluator`.
    """

    def __init__(self, config: config_pb2.EvalConfig, computations: Computations):
        super().__init__()
        self._config = config
        self._computations = computations

    def expand(self, batches: beam.PCollection) -> dict[str, beam.PCollection]:
        """Return metrics, plots, attributions and validations by slice."""
        config, computations = self._config, self._computations
        baseline = model_util.get_baseline_model_spec(config)
        results = (
            batches
            | "Slice" >> beam.FlatMap(slice_batch, config)
            | "Combine" >> beam.CombinePerKey(CombineRows(computations.combined))
            | "Derive"
            >> tfma_evaluator._AddDerivedCrossSliceAndDiffMetrics(
                list(computations.derived),
                list(computations.across),
                list(config.cross_slicing_specs),
                baseline.name if baseline else None,
            )
            | "Public" >> beam.MapTuple(tfma_evaluator._remove_private_metrics)
        )
        metrics = results | "Metrics" >> beam.MapTuple(lambda key, found: (key, _only(found, None)))
        return {
            constants.METRICS_KEY: metrics,
            constants.PLOTS_KEY: results
            | "Plots" >> beam.MapTuple(lambda k, found: (k, _only(found, metric_types.PlotKey))),
            constants.ATTRIBUTIONS_KEY: results
            | "Attributions"
            >> beam.MapTuple(lambda k, found: (k, _only(found, metric_types.AttributionsKey))),
            constants.VALIDATIONS_KEY: metrics
            | "Validate" >> beam.Map(metrics_validator.validate_metrics, config),
        }


def slice_batch(
    batch: pa.RecordBatch, config: config_pb2.EvalConfig
) -> Iterator[tuple[tuple[Any, ...], dict[str, Rows]]]:
    """Yield each slice of `batch` with each model's rows, named as TFMA's slicer names it.

    Args:
        batch: Flat columns.
        config: Says which columns are label, predictions and weight, and how to slice.
    """
    take = row_taker(batch, config)
    for key, rows in slices_of_batch(batch, config).items():
        yield key, take(rows)


def row_taker(
    batch: pa.RecordBatch, config: config_pb2.EvalConfig
) -> Callable[[Any], dict[str, Rows]]:
    """Return what takes rows of `batch` by their numbers, as each model has them."""
    spec = config.model_specs[0]
    labels = column_of(batch, spec.label_key)
    predictions = {s.name: column_of(batch, s.prediction_key) for s in config.model_specs}
    weights = column_of(batch, spec.example_weight_key) if spec.example_weight_key else None

    def take(rows: Any) -> dict[str, Rows]:
        its_labels, its_weights = labels[rows], None if weights is None else weights[rows]
        return {
            name: Rows(its_labels, predicted[rows], its_weights, name)
            for name, predicted in predictions.items()
        }

    return take


def slices_of_batch(
    batch: pa.RecordBatch, config: config_pb2.EvalConfig
) -> dict[tuple[Any, ...], Any]:
    """Return the rows of each slice of `batch`: ascending numbers, or a slice for all rows.

    A slice that several specs ask for has the rows of each of them once, as in TFMA.
    """
    found: dict[tuple[Any, ...], Any] = {}
    for slicing in config.slicing_specs:
        for key, rows in _slices(batch, slicing):
            known = found.setdefault(key, rows)
            if known is not rows and not isinstance(known, slice):
                found[key] = np.union1d(known, rows)
    return found


def _slices(
    batch: pa.RecordBatch, slicing: config_pb2.SlicingSpec
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    names = sorted({*slicing.feature_keys, *slicing.feature_values})
    if slicing.slice_keys_sql:
        # As in TFMA, beside the slices of its other fields: all rows, where there are none.
        yield from slices_by_sql(batch, slicing.slice_keys_sql).items()
    if not names:
        yield (), slice(None)
        return
    encoded = [_slicing_column(batch, name).dictionary_encode() for name in names]
    codes = np.stack([e.indices.fill_null(-1).to_numpy() for e in encoded], axis=1)
    combinations, group = np.unique(codes, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(group, minlength=len(combinations)))[:-1])
    slicer = [slicer_lib.SingleSliceSpec(spec=slicing)]
    for combination, rows in zip(combinations, rows_of, strict=True):
        features = {
            name: np.array([values.dictionary[int(code)].as_py()])
            for name, values, code in zip(names, encoded, combination, strict=True)
            if code >= 0
        }
        for key in slicer_lib.get_slices_for_features_dicts([], features, slicer):
            yield key, rows


class CombineRows(beam.CombineFn):
    """Feeds every computation's combiner with the rows of a slice."""

    def __init__(self, computations: Sequence[metric_types.MetricComputation]):
        self._combiners = [computation.combiner for computation in computations]
        self._models = [computation.keys[0].model_name for computation in computations]

    def get_accumulator_coder(self) -> beam.coders.Coder:
        """Return what encodes all accumulators in one go; Beam's own takes each of their parts."""
        return beam.coders.PickleCoder()

    def setup(self) -> None:
        """Have every combiner make what it works with."""
        for combiner in self._combiners:
            combiner.setup()

    def create_accumulator(self) -> list[Any]:
        """Return an empty accumulator for each combiner."""
        return [combiner.create_accumulator() for combiner in self._combiners]

    def add_input(self, accumulators: list[Any], rows: dict[str, Rows]) -> list[Any]:
        """Return the accumulators with the rows of each one's model in them."""
        return [
            add_rows(combiner, accumulator, rows[model])
            for combiner, model, accumulator in zip(
                self._combiners, self._models, accumulators, strict=True
            )
        ]

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        """Return the sum of accumulators, combiner by combiner."""
        # Some of TFMA's combiners call iter() twice, so a list would count its first item twice.
        return [
            combiner.merge_accumulators(iter(column))
            for combiner, column in zip(
                self._combiners, zip(*accumulators, strict=True), strict=True
            )
        ]

    def compact(self, accumulators: list[Any]) -> list[Any]:
        """Return the accumulators in their smallest form."""
        return [
            combiner.compact(accumulator)
            for combiner, accumulator in zip(self._combiners, accumulators, strict=True)
        ]

    def extract_output(self, accumulators: list[Any]) -> dict[metric_types.MetricKey, Any]:
        """Return every combiner's results under their keys."""
        results: dict[metric_types.MetricKey, Any] = {}
        for combiner, accumulator in zip(self._combiners, accumulators, strict=True):
            results.update(combiner.extract_output(accumulator))
        return results

    def teardown(self) -> None:
        """Have every combiner let go of what it works with."""
        for combiner in self._combiners:
            combiner.teardown()


def _only(
    found: dict[metric_types.MetricKey, Any], kind: type | None
) -> dict[metric_types.MetricKey, Any]:
    special = (metric_types.PlotKey, metric_types.AttributionsKey)
    return {
        key: value
        for key, value in found.items()
        if (isinstance(key, kind) if kind else not isinstance(key, special))
    }


def columns_without_sql(config: config_pb2.EvalConfig) -> set[str]:
    """Return the columns that labels, predictions, weights, slices and queries come from."""
    names = {spec.prediction_key for spec in config.model_specs}
    names |= {config.model_specs[0].label_key, config.model_specs[0].example_weight_key}
    for slicing in config.slicing_specs:
        names |= {*slicing.feature_keys, *slicing.feature_values}
    return names | {metrics.query_key for metrics in config.metrics_specs}


def _takes_labels_and_predictions(computation: metric_types.MetricComputation) -> bool:
    return all(
        type(preprocessor) is metric_types.StandardMetricInputsPreprocessor
        and set(preprocessor.include_filter) <= _INPUTS
        for preprocessor in computation.preprocessors or ()
    )


def column_of(batch: pa.RecordBatch, name: str) -> Array:
    """Return a column of numbers, `[rows, 1]`; true is 1."""
    column = batch.column(batch.schema.get_field_index(name))
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    values: Array = column.to_numpy(zero_copy_only=False)
    return values.reshape(-1, 1)


def _slicing_column(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(batch.schema.get_field_index(name))
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.binary())
    return column
