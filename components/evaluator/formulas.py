"""Metrics as functions of sums over rows: what a bootstrap can compute for all replicates at once.

TFMA computes the values; these say how they would move. A formula is only believed where it gives
TFMA's own value (`significance.py`), so a metric with settings that are not read here has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import (
    confusion_matrix_metrics,
    metric_specs,
    metric_types,
)
from tensorflow_model_analysis.proto import config_pb2

Array = np.ndarray[Any, Any]
Term = Callable[[Array, Array], Array]
Sums = Mapping[str, Array]

SMALLEST = 1e-7  # Keras and TFMA keep probabilities this far from 0 and 1.


@dataclass(frozen=True)
class Formula:
    """A metric of sums.

    Attributes:
        terms: Name to what each row adds: from labels and predictions `[rows]` to `[rows]`.
        value: The metric, from the sums by name, each of any one shape.
        scale: Where it is closest to normal; see `Estimate`.
        trials: For a rate, the sum that is its number of trials; None for others.
    """

    terms: Mapping[str, Term]
    value: Callable[[Sums], Array]
    scale: str = "identity"
    trials: Callable[[Sums], Array] | None = None


@dataclass(frozen=True)
class Curve:
    """A metric that is an area under a curve: `ROC` or `PR`."""

    kind: str


def _one(labels: Array, predictions: Array) -> Array:
    return np.ones(len(labels))


def _label(labels: Array, predictions: Array) -> Array:
    return labels


def _prediction(labels: Array, predictions: Array) -> Array:
    return predictions


def _squared(labels: Array, predictions: Array) -> Array:
    return (labels - predictions) ** 2


def _over(above: Array, below: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _mean_of(name: str, term: Term, scale: str) -> Formula:
    return Formula({"n": _one, name: term}, lambda s: _over(s[name], s["n"]), scale)


def _cross_entropy(y: Array, p: Array) -> Array:
    p = np.clip(p, SMALLEST, 1 - SMALLEST)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


def _root_mean_square(sums: Sums) -> Array:
    return np.sqrt(_over(sums["squared"], sums["n"]))


def _squared_correlation(s: Sums) -> Array:
    n = s["n"]
    both = s["yp"] - s["y"] * s["p"] / n
    return _over(both**2, (s["yy"] - s["y"] ** 2 / n) * (s["pp"] - s["p"] ** 2 / n))


def _discrimination(s: Sums) -> Array:
    """Return the mean prediction of positive rows less that of negative ones (Tjur)."""
    return _over(s["yp"], s["y"]) - _over(s["p"] - s["yp"], s["n"] - s["y"])


_MOMENTS: Mapping[str, Term] = {
    "n": _one,
    "y": _label,
    "p": _prediction,
    "yp": lambda y, p: y * p,
    "yy": lambda y, p: y * y,
    "pp": lambda y, p: p * p,
}
_DISCRIMINATION_TERMS = {name: _MOMENTS[name] for name in ("n", "y", "p", "yp")}
_FORMULAS: dict[str, Formula] = {
    "MeanLabel": _mean_of("y", _label, "identity"),
    "MeanPrediction": _mean_of("p", _prediction, "identity"),
    "Calibration": Formula({"y": _label, "p": _prediction}, lambda s: _over(s["p"], s["y"]), "log"),
    "BinaryCrossEntropy": _mean_of("cross_entropy", _cross_entropy, "log"),
    "BinaryCrossentropy": _mean_of("cross_entropy", _cross_entropy, "log"),
    "MeanSquaredError": _mean_of("squared", _squared, "log"),
    "RootMeanSquaredError": Formula({"n": _one, "squared": _squared}, _root_mean_square, "log"),
    "MeanAbsoluteError": _mean_of("absolute", lambda y, p: np.abs(y - p), "log"),
    "MeanAbsolutePercentageError": _mean_of(
        "percentage", lambda y, p: 100 * np.abs(y - p) / np.where(y == 0, np.nan, np.abs(y)), "log"
    ),
    "MeanSquaredLogarithmicError": _mean_of(
        "logarithmic",
        lambda y, p: (np.log1p(np.maximum(y, 0)) - np.log1p(np.maximum(p, 0))) ** 2,
        "log",
    ),
    "SquaredPearsonCorrelation": Formula(_MOMENTS, _squared_correlation, "logit"),
    "CoefficientOfDiscrimination": Formula(_DISCRIMINATION_TERMS, _discrimination),
}
_CURVES = {"AUC": "ROC", "AUCPrecisionRecall": "PR", "AveragePrecision": "PR"}

# Of the four cells, which a rate divides by: its trials.
_TRIALS: dict[str, tuple[str, ...]] = {
    "BinaryAccuracy": ("tp", "tn", "fp", "fn"),
    "Precision": ("tp", "fp"),
    "Recall": ("tp", "fn"),
    "Specificity": ("tn", "fp"),
    "FallOut": ("tn", "fp"),
    "MissRate": ("tp", "fn"),
    "NegativePredictiveValue": ("tn", "fn"),
    "FalseDiscoveryRate": ("tp", "fp"),
    "FalseOmissionRate": ("tn", "fn"),
    "Prevalence": ("tp", "tn", "fp", "fn"),
    "PredictedPositiveRate": ("tp", "tn", "fp", "fn"),
}
_WITHIN__one = {*_TRIALS, "F1Score", "BalancedAccuracy", "ThreatScore", "FowlkesMallowsIndex"}
_RATIOS = {"PositiveLikelihoodRatio", "NegativeLikelihoodRatio", "DiagnosticOddsRatio"}
# Counts say how many rows there were: nothing that further rows would tell better.
COUNTS = {
    *("ExampleCount", "WeightedExampleCount", "TruePositives", "TrueNegatives"),
    *("FalsePositives", "FalseNegatives", "TP", "TN", "FP", "FN"),
}


def formulas(config: config_pb2.EvalConfig) -> dict[str, Formula | Curve]:
    """Return what is known of the metrics of `config`, by their names."""
    return {
        instance.name: found
        for class_name, instance in _instances(config)
        if (found := _formula(class_name, instance)) is not None
    }


def count_names(config: config_pb2.EvalConfig) -> set[str]:
    """Return the names of the metrics of `config` that are counts."""
    return {instance.name for name, instance in _instances(config) if name in COUNTS}


def only(config: config_pb2.EvalConfig, names: set[str]) -> config_pb2.EvalConfig:
    """Return `config` with the metrics of these names alone."""
    found = config_pb2.EvalConfig()
    found.CopyFrom(config)
    registered = metric_types.registered_metrics()
    for spec in found.metrics_specs:
        kept = [
            m for m in spec.metrics if metric_specs.metric_instance(m, registered).name in names
        ]
        del spec.metrics[:]
        spec.metrics.extend(kept)
    left = [spec for spec in found.metrics_specs if spec.metrics]
    del found.metrics_specs[:]
    found.metrics_specs.extend(left)
    return found


def _instances(config: config_pb2.EvalConfig) -> Iterator[tuple[str, Any]]:
    registered = metric_types.registered_metrics()
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            yield metric.class_name, metric_specs.metric_instance(metric, registered)


def _formula(class_name: str, instance: Any) -> Formula | Curve | None:
    settings = getattr(instance, "kwargs", {})
    if class_name in _CURVES:
        asked = str(settings.get("curve") or _CURVES[class_name])
        return Curve("PR" if asked.endswith("PR") else "ROC")
    if isinstance(instance, confusion_matrix_metrics.ConfusionMatrixMetric):
        return None if class_name in COUNTS else _of_confusion_matrix(instance)
    return _FORMULAS.get(class_name)


def _of_confusion_matrix(instance: Any) -> Formula | None:
    asked = instance.kwargs.get("thresholds")
    asked = [0.5] if asked is None else np.atleast_1d(asked).tolist()
    if len(asked) != 1 or instance.kwargs.get("top_k") or instance.kwargs.get("class_id"):
        return None
    threshold = float(asked[0])
    # Like Precision and PPV: one is a subclass of the other that changes the name alone.
    kinds = [base.__name__ for base in type(instance).__mro__]
    kind = next((name for name in kinds if name in {*_WITHIN__one, *_RATIOS}), kinds[0])
    predicted, both = f"predicted>{threshold:g}", f"true>{threshold:g}"
    result = np.vectorize(instance.result, otypes=[float])

    def cells(s: Sums) -> dict[str, Array]:
        tp = s[both]
        fp, fn = s[predicted] - tp, s["y"] - tp
        # Sums of float32 parts may miss 0 by a hair, and a count is never below it.
        found = {"tp": tp, "fp": fp, "fn": fn, "tn": s["n"] - tp - fp - fn}
        return {name: np.maximum(value, 0.0) for name, value in found.items()}

    trials = _TRIALS.get(kind)
    return Formula(
        {
            "n": _one,
            "y": _label,
            predicted: lambda y, p: (p > threshold).astype(float),
            both: lambda y, p: y * (p > threshold),
        },
        lambda s: result(**cells(s)),
        "logit" if kind in _WITHIN__one else "log" if kind in _RATIOS else "identity",
        (lambda s: np.sum([cells(s)[name] for name in trials], axis=0)) if trials else None,
    )
