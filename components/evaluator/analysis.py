"""Metrics by slice, computed by TFMA on Beam and written in TFMA's own format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import apache_beam as beam
import pyarrow as pa
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib, types
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
from tensorflow_model_analysis.extractors import (
    example_weights_extractor,
    features_extractor,
    labels_extractor,
    materialized_predictions_extractor,
    slice_key_extractor,
    unbatch_extractor,
)
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from ...data.beam import pipeline_options
from ...errors import PenstockError
from .batched import SlicedBatches, batched_computations, columns_without_sql
from .row_files import RowFile, grouped, read_together, schema_of
from .sql import slices_by_sql

SliceKey = tuple[tuple[str, Any], ...]
# A slice, or a pair of slices that are compared: the baseline slice, then the other.
Place = SliceKey | tuple[SliceKey, SliceKey]

LARGE_BATCH = 1 << 20
SMALL_BATCH = 1 << 16


def slices_of(place: Place) -> tuple[SliceKey, SliceKey | None]:
    """Return the slice, and the slice that it is compared with, if any."""
    if slicer_lib.is_cross_slice_key(place):
        first, second = cast("tuple[SliceKey, SliceKey]", place)
        return first, second
    return cast("SliceKey", place), None


@dataclass(frozen=True)
class Analysis:
    """What TFMA found.

    Attributes:
        slices: Place to metric to value, the slice of all rows first, compared slices last. A
            slice is sorted pairs of column and value, none for all rows. Only metrics that are one
            number.
        errors: Place to what TFMA says in place of its metrics, such as too few rows.
        validation: TFMA's verdict on the thresholds.
        spreads: Standard error and degrees of freedom by TFMA's jackknife, for each place and
            metric that has them.
        by_slices: Whether whole slices were added to TFMA's accumulators; else TFMA took rows.
    """

    slices: Mapping[Place, Mapping[metric_types.MetricKey, float]]
    errors: Mapping[Place, str]
    validation: validation_result_pb2.ValidationResult
    spreads: Mapping[tuple[Place, metric_types.MetricKey], tuple[float, int]]
    by_slices: bool


def analyze(
    files: Sequence[RowFile],
    config: config_pb2.EvalConfig,
    output: str | os.PathLike[str],
    *,
    data_location: str = "",
    jackknife_seed: int | None = None,
    rows_alone: bool = False,
    beam_pipeline_args: Sequence[str] | None = None,
) -> Analysis:
    """Compute what `config` asks for and write it to the folder `output`.

    Where `config` and the columns allow it, TFMA's combiners are fed whole slices of a batch
    (`batched.py`), else TFMA's evaluator takes rows one at a time. Both give the same numbers.

    Args:
        files: The rows: label, prediction, and what slices, weights and queries need.
        config: What `complete` returned, with `prediction_key` of each model spec naming the
            column of its predictions.
        output: An existing folder; `tfma.load_eval_result` reads it afterwards.
        data_location: Where the rows came from, for people.
        jackknife_seed: Where TFMA takes the rows, have it estimate errors by its jackknife over
            20 parts, drawn with this seed.
        rows_alone: Have TFMA take the rows in any case, to compare with.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Returns:
        The same in memory.

    Raises:
        PenstockError: A metric is for labels from 0 to 1, and there are others.
    """
    writers = model_eval_lib.default_writers(
        str(output),
        eval_config=config,
        display_only_data_location=data_location,
        display_only_data_file_format="parquet",
    )
    computations = None if rows_alone else batched_computations(config, schema_of(files))
    # What TFMA derives costs per slice and batch; but where workers share the rows, each has some.
    groups = list(grouped(files, 1 if beam_pipeline_args else LARGE_BATCH))
    try:
        with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
            files_of_rows = pipeline | "Files" >> beam.Create(groups, reshuffle=False)
            if beam_pipeline_args:
                files_of_rows = files_of_rows | "Spread" >> beam.Reshuffle()
            rows = files_of_rows | "Rows" >> beam.Map(read_together)
            if computations is None:
                evaluation = _row_by_row(rows, config, jackknife_seed)
            else:
                evaluation = rows | "Evaluate" >> SlicedBatches(config, computations)
            _ = evaluation | "Write" >> model_eval_lib.WriteResults(writers=writers)
    except (ValueError, RuntimeError) as error:
        if "label must be within [0, 1]" not in str(error):
            raise
        raise PenstockError(
            f"A metric of eval_config is for labels from 0 to 1, and the column "
            f"{config.model_specs[0].label_key!r} holds others; take metrics that fit the label."
        ) from error
    return _read(output, by_slices=computations is not None)


def _row_by_row(
    rows: Any,
    config: config_pb2.EvalConfig,
    jackknife_seed: int | None,
) -> Any:
    if jackknife_seed is not None:
        with_errors = config_pb2.EvalConfig()
        with_errors.CopyFrom(config)
        with_errors.options.compute_confidence_intervals.value = True
        with_errors.options.confidence_intervals.method = (
            config_pb2.ConfidenceIntervalOptions.JACKKNIFE
        )
        config = with_errors
    return (
        rows
        | "Batches" >> beam.FlatMap(_small)
        | "Extracts" >> beam.Map(_extracts, config)
        | "Evaluate"
        >> model_eval_lib.ExtractAndEvaluate(
            extractors=_extractors(config),
            evaluators=[
                metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(
                    eval_config=config, random_seed_for_testing=jackknife_seed
                )
            ],
        )
    )


def _extractors(config: config_pb2.EvalConfig) -> list[Any]:
    """Return TFMA's default extractors for predictions that are there.

    Its own `default_extractors` takes a baseline away that is no loaded model.
    """
    return [
        features_extractor.FeaturesExtractor(eval_config=config),
        labels_extractor.LabelsExtractor(eval_config=config),
        example_weights_extractor.ExampleWeightsExtractor(eval_config=config),
        materialized_predictions_extractor.MaterializedPredictionsExtractor(eval_config=config),
        unbatch_extractor.UnbatchExtractor(),
        slice_key_extractor.SliceKeyExtractor(eval_config=config, materialize=False),
    ]


def _small(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, SMALL_BATCH):
        yield batch.slice(start, SMALL_BATCH)


def _extracts(batch: pa.RecordBatch, config: config_pb2.EvalConfig) -> dict[str, Any]:
    """Return what TFMA calls extracts: the columns, and the slices that SQL makes of each row."""
    sqls = [s.slice_keys_sql for s in config.slicing_specs if s.slice_keys_sql]
    keys: list[list[Any]] = [[] for _ in range(batch.num_rows if sqls else 0)]
    for sql in sqls:
        for key, rows in slices_by_sql(batch, sql).items():
            for row in rows:
                keys[row].append(key)
    if not sqls:
        return {constants.ARROW_RECORD_BATCH_KEY: _listed(batch)}
    taken = columns_without_sql(config)
    kept = [name for name in batch.schema.names if name in taken]
    columns = [batch.column(batch.schema.get_field_index(name)) for name in kept]
    return {
        constants.ARROW_RECORD_BATCH_KEY: _listed(pa.RecordBatch.from_arrays(columns, names=kept)),
        constants.SLICE_KEY_TYPES_KEY: types.VarLenTensorValue.from_dense_rows(
            [slicer_lib.slice_keys_to_numpy_array(found) for found in keys]
        ),
    }


def _listed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Wrap each flat column into lists of one value, or none where it is missing: TFMA's shape."""
    columns = []
    for column in batch.columns:
        if pa.types.is_large_list(column.type):
            columns.append(column)
            continue
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int64())
        present = column.is_valid().cast(pa.int64()).to_numpy(zero_copy_only=False)
        offsets = pa.array([0, *present.cumsum()], pa.int64())
        columns.append(pa.LargeListArray.from_arrays(offsets, column.drop_null()))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _read(output: str | os.PathLike[str], *, by_slices: bool) -> Analysis:
    slices: dict[Place, dict[metric_types.MetricKey, float]] = {}
    errors: dict[Place, str] = {}
    spreads: dict[tuple[Place, metric_types.MetricKey], tuple[float, int]] = {}
    for record in model_eval_lib.load_metrics(str(output)):
        place = _place(record)
        # Metrics of different query keys come in records of their own.
        found = slices.setdefault(place, {})
        for key, pair in _numbers(record):
            found[key] = pair.value.double_value.value
            if pair.HasField("confidence_interval"):
                interval = pair.confidence_interval
                error = interval.standard_error.double_value.value
                spreads[place, key] = (error, interval.degrees_of_freedom.value)
        if constants.ERROR_METRIC_NAME in record.metrics:
            errors[place] = record.metrics[constants.ERROR_METRIC_NAME].debug_message
    return Analysis(
        slices=dict(sorted(slices.items(), key=lambda item: _rank(item[0]))),
        errors=errors,
        validation=model_eval_lib.load_validation_result(str(output)),
        spreads=spreads,
        by_slices=by_slices,
    )


def _place(record: Any) -> Place:
    if record.HasField("cross_slice_key"):
        return tuple(slicer_lib.deserialize_cross_slice_key(record.cross_slice_key))
    return tuple(slicer_lib.deserialize_slice_key(record.slice_key))


def _rank(place: Place) -> tuple[bool, int, str]:
    return slicer_lib.is_cross_slice_key(place), len(place), str(place)


def _numbers(record: Any) -> Iterator[tuple[metric_types.MetricKey, Any]]:
    for pair in record.metric_keys_and_values:
        if pair.value.WhichOneof("type") == "double_value":
            key = metric_types.MetricKey.from_proto(pair.key)
            if not isinstance(key, (metric_types.PlotKey, metric_types.AttributionsKey)):
                yield key, pair
