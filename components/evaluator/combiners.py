"""How TFMA's combiners take many rows together.

A combiner of TFMA takes a row at a time. What it keeps is a handful of sums, so many rows can be
added to them together. Which sums was read from the code of each combiner named here; a combiner
that is not named gets its rows one by one. The tests hold the numbers against TFMA's evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import calibration_histogram, metric_types

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rows:
    """Rows of one slice, each array `[rows, 1]`; weights may be None; `model` names one of two."""

    labels: Array
    predictions: Array
    weights: Array | None
    model: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self) -> metric_types.StandardMetricInputs:
        """Return all rows as one input of a combiner."""
        return self._inputs(self.labels, self.predictions, self.weights)

    def one_by_one(self) -> Iterator[metric_types.StandardMetricInputs]:
        """Yield each row as an input of its own, as TFMA's evaluator does."""
        weights = [None] * len(self) if self.weights is None else self.weights
        for label, prediction, weight in zip(self.labels, self.predictions, weights, strict=True):
            yield self._inputs(label, prediction, weight)

    def flat(self, combiner: Any) -> tuple[Array, Array, Array]:
        """Return labels, predictions and weights, `[rows]` float64, as `combiner` weighs them."""
        weighted = self.weights is not None and combiner._example_weighted
        weights = self.weights if weighted else np.ones(len(self))
        return (
            self.labels.astype(np.float64).ravel(),
            self.predictions.astype(np.float64).ravel(),
            np.asarray(weights, np.float64).ravel(),
        )

    def _inputs(
        self, labels: Array, predictions: Array, weights: Any
    ) -> metric_types.StandardMetricInputs:
        # TFMA looks a model's predictions up by its name, where models have names.
        answers = {self.model: predictions} if self.model else predictions
        inputs = {constants.LABELS_KEY: labels, constants.PREDICTIONS_KEY: answers}
        if weights is not None:
            inputs[constants.EXAMPLE_WEIGHTS_KEY] = weights
        return metric_types.StandardMetricInputs(inputs)


def add_rows(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    """Add rows to one of TFMA's accumulators, as its combiner would one by one.

    Args:
        combiner: The combiner of a TFMA computation, set up.
        accumulator: One of its accumulators; it may be changed.
        rows: What to add, one label and one prediction a row.

    Returns:
        The accumulator with the rows in it.
    """
    if type(combiner).__module__.startswith("tensorflow_model_analysis."):
        together = _TOGETHER.get(type(combiner).__name__, _one_by_one)
        return together(combiner, accumulator, rows)
    return _one_by_one(combiner, accumulator, rows)


def _one_by_one(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    return combiner.add_inputs(accumulator, rows.one_by_one())


def _flattened(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    # These loop over the values of an input, whether they come from one row or from many.
    return combiner.add_input(accumulator, rows.inputs())


def _example_count(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    weights = rows.flat(combiner)[2]
    return combiner.merge_accumulators(iter([accumulator, float(weights.sum())]))


def _weighted_sums(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    labels, predictions, weights = rows.flat(combiner)
    accumulator.total_weighted_labels += float(labels @ weights)
    accumulator.total_weighted_predictions += float(predictions @ weights)
    accumulator.total_weighted_examples += float(weights.sum())
    return accumulator


def _binary_cross_entropy(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    if combiner._example_weighted:
        return _one_by_one(combiner, accumulator, rows)
    # Of several rows this combiner adds the mean, with weight one.
    added = combiner.add_input(combiner.create_accumulator(), rows.inputs())
    added.total_cross_entropy *= len(rows)
    added.total_example_weights *= len(rows)
    return combiner.merge_accumulators(iter([accumulator, added]))


def _calibration_histogram(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    labels, predictions, weights = rows.flat(combiner)
    if combiner._fractional_labels:
        if not _are_classes(labels):
            return _flattened(combiner, accumulator, rows)
        # Split into a negative and a positive part by its label, a row of no weight is neither.
        some = weights != 0
        labels, predictions, weights = labels[some], predictions[some], weights[some]
    values = predictions if combiner._prediction_based_bucketing else labels
    last = combiner._num_buckets + 1
    places = (values - combiner._left) / combiner._range * combiner._num_buckets + 1
    buckets, place = np.unique(np.clip(places, 0, last).astype(np.int64), return_inverse=True)
    sums = [np.bincount(place, amount * weights) for amount in (labels, predictions)]
    for bucket, label, prediction, weight in zip(
        buckets.tolist(),
        *(amounts.tolist() for amounts in sums),
        np.bincount(place, weights).tolist(),
        strict=True,
    ):
        added = calibration_histogram.Bucket(bucket, label, prediction, weight)
        if bucket in accumulator:
            accumulator[bucket].merge(added)
        else:
            accumulator[bucket] = added
    return accumulator


def _binary_confusion_matrix(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    labels, predictions, weights = rows.flat(combiner)
    if combiner._example_id_key or not _are_classes(labels):
        return _flattened(combiner, accumulator, rows)
    matrices = combiner._binary_confusion_matrices
    # Rows of one class between the same two thresholds are counted alike: one stands for them.
    between = np.searchsorted(np.sort(matrices._thresholds), predictions, side="left")
    _, first, place = np.unique(2 * between + labels, return_index=True, return_inverse=True)
    return matrices.add_input(
        accumulator,
        labels=labels[first].tolist(),
        predictions=predictions[first].tolist(),
        example_weights=np.bincount(place, weights).tolist(),
        example_id=None,
    )


def _keras_metrics(combiner: Any, accumulator: Any, rows: Rows) -> Any:
    if any(losses for losses in combiner._loss_configs):
        # A loss reduces a batch to its mean before the weights are applied.
        return _one_by_one(combiner, accumulator, rows)
    weighted = rows.weights is not None and combiner._example_weighted
    weights = rows.weights if weighted else np.ones((len(rows), 1), np.float32)
    for output, name in enumerate(combiner._output_names):
        for place, metric in enumerate(combiner._metrics[name]):
            metric.reset_state()
            metric.update_state(rows.labels, rows.predictions, weights)
            accumulator.add_weights(output, place, metric.get_weights())
    return accumulator


_TOGETHER: dict[str, Callable[[Any, Any, Rows], Any]] = {
    "_BinaryConfusionMatrixCombiner": _binary_confusion_matrix,
    "_BinaryCrossEntropyCombiner": _binary_cross_entropy,
    "_CalibrationHistogramCombiner": _calibration_histogram,
    "_CompilableMetricsCombiner": _keras_metrics,
    "_ExampleCountCombiner": _example_count,
    "_MeanAbsoluteErrorCombiner": _flattened,
    "_MeanAbsolutePercentageErrorCombiner": _flattened,
    "_MeanSquaredErrorCombiner": _flattened,
    "_MeanSquaredLogarithmicErrorCombiner": _flattened,
    "_SquaredPearsonCorrelationCombiner": _flattened,
    "_TjurDiscriminationCombiner": _flattened,
    "_WeightedLabelsPredictionsExamplesCombiner": _weighted_sums,
}


def _are_classes(labels: Array) -> bool:
    return bool(np.isin(labels, (0.0, 1.0)).all())
