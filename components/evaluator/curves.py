"""Curves of a binary classifier, thinned to what a page can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_model_analysis.proto import config_pb2

from ...evaluation.estimate import wilson
from .ranked_rows import whole_column
from .row_files import RowFile, schema_of

Array = np.ndarray[Any, Any]

POINTS = 100
BINS = 10
BARS = 25


@dataclass(frozen=True)
class Curves:
    """What one model's scores look like against the labels.

    Attributes:
        model: `candidate` or `champion`.
        roc: `[points, 3]`: false positive rate, true positive rate, threshold.
        precision_recall: `[points, 2]`: recall, precision.
        calibration: `[bins, 4]`: mean score, share of positive rows, its 95% interval.
        negative: `[BARS]`: share of the negative rows in each equal width of the score.
        positive: `[BARS]`: the same of the positive rows.
    """

    model: str
    roc: Array
    precision_recall: Array
    calibration: Array
    negative: Array
    positive: Array


def curves_of(files: Sequence[RowFile], config: config_pb2.EvalConfig) -> list[Curves]:
    """Return the curves of candidate and champion over all rows, unweighted.

    None where the labels are not 0 and 1 with both there, or the scores are not from 0 to 1.
    """
    if not files or any(
        pa.types.is_nested(schema_of(files).field(spec.prediction_key).type)
        for spec in config.model_specs
    ):
        return []
    labels = whole_column(files, config.model_specs[0].label_key, np.float64)
    if not (np.isin(labels, (0, 1)).all() and 0 < labels.sum() < len(labels)):
        return []
    found = []
    for spec in sorted(config.model_specs, key=lambda spec: spec.is_baseline):
        scores = whole_column(files, spec.prediction_key, np.float64)
        if scores.min() < 0 or scores.max() > 1:
            return []
        found.append(_curves("champion" if spec.is_baseline else "candidate", labels, scores))
    return found


def _curves(model: str, labels: Array, scores: Array) -> Curves:
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    tp, total = hits[ends].astype(float), ends + 1.0
    tpr, fpr = tp / hits[-1], (total - tp) / (len(labels) - hits[-1])
    kept = _thinned(fpr + tpr)
    roc = np.column_stack([fpr, tpr, ranked[ends]])[kept]
    bars = np.clip((scores * BARS).astype(int), 0, BARS - 1)
    shares = [
        np.bincount(bars[labels == label], minlength=BARS) / max((labels == label).sum(), 1)
        for label in (0, 1)
    ]
    return Curves(
        model,
        np.vstack([[0.0, 0.0, 1.0], roc]),
        np.column_stack([tpr, tp / total])[kept],
        _calibration(labels[order], ranked),
        *shares,
    )


def _thinned(along: Array) -> Array:
    """Return places that are spread evenly along a rising curve, both ends among them."""
    wanted = np.linspace(along[0], along[-1], POINTS)
    return np.unique(
        np.append(np.searchsorted(along, wanted).clip(0, len(along) - 1), len(along) - 1)
    )


def _calibration(labels: Array, scores: Array) -> Array:
    """Return mean score and observed share in tenths of the rows by score."""
    rows = []
    for part in np.array_split(np.arange(len(scores)), min(BINS, len(scores))):
        share = float(labels[part].mean())
        rows.append((float(scores[part].mean()), share, *wilson(share, len(part), 0.95)))
    return np.array(rows[::-1])
