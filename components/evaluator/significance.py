"""How sure each metric is, on each slice, for each model and for the difference of two."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from ...evaluation.bootstrap import ReplicateSums, poisson_counts
from ...evaluation.estimate import Estimate, bootstrap_estimate, rate_estimate
from ...evaluation.ranking import (
    Area,
    area_difference,
    area_estimate,
    area_under_precision_recall,
    area_under_roc,
)
from .analysis import Analysis, Place, slices_of
from .batched import column_of, slices_by_spec
from .config import baseline_of, candidate_of
from .formulas import Curve, Formula, formulas

Array = np.ndarray[Any, Any]
Key: TypeAlias = metric_types.MetricKey

BLOCK_ROWS = 65_536
# TFMA bins scores; beyond this the areas are not of the same scores.
BINNED = 0.02
_AREAS = {"ROC": area_under_roc, "PR": area_under_precision_recall}


@dataclass(frozen=True)
class Significance:
    """How sure the analysis is.

    Attributes:
        values: Of each place and metric, as far as it can be told; differences have `is_diff`.
        relative: Of the difference divided by the champion's value, under the difference's key.
    """

    values: Mapping[tuple[Place, Key], Estimate]
    relative: Mapping[tuple[Place, Key], Estimate]


def assess(
    batch: pa.RecordBatch,
    numbers: Array,
    config: config_pb2.EvalConfig,
    analysis: Analysis,
    *,
    replicates: int,
    seed: int,
) -> Significance:
    """Say how sure each number of `analysis` is.

    Areas under the ROC curve by DeLong's method, rates of unweighted rows by Wilson's, all else
    that is a function of sums by Poisson bootstrap, whose replicates are the same for both models
    and for all slices. What TFMA computed row by row has the error of its jackknife.

    Args:
        batch: All rows that were analyzed.
        numbers: Their numbers within the split, ascending.
        config: As for `analyze`.
        analysis: What `analyze` returned.
        replicates: How many replicates; 0 leaves what needs them out.
        seed: Of the replicates.
    """
    if not analysis.by_slices:
        return Significance(
            {
                (place, key): Estimate(
                    analysis.slices[place][key], error, "identity", "jackknife", degrees=degrees
                )
                for (place, key), (error, degrees) in analysis.spreads.items()
                if math.isfinite(error) and error > 0
            },
            {},
        )
    return _Assessment(batch, numbers, config, analysis, replicates, seed).result()


@dataclass(frozen=True)
class _Measured:
    """A metric of one model: its key, what is known of it, and how its rows are weighed."""

    key: Key
    known: Formula | Curve
    weighted: bool


class _Assessment:
    """One pass over the rows; the replicates of every metric on every slice."""

    def __init__(
        self,
        batch: pa.RecordBatch,
        numbers: Array,
        config: config_pb2.EvalConfig,
        analysis: Analysis,
        replicates: int,
        seed: int,
    ):
        self.analysis, self.numbers = analysis, numbers
        self.replicates, self.seed = replicates, seed
        spec, baseline = candidate_of(config), baseline_of(config)
        self.candidate, self.baseline = spec.name, baseline.name if baseline else None
        self.labels = column_of(batch, spec.label_key).ravel().astype(np.float64)
        weight = spec.example_weight_key
        self.weights = column_of(batch, weight).ravel().astype(np.float64) if weight else None
        self.scores = {
            s.name: column_of(batch, s.prediction_key).ravel() for s in config.model_specs
        }
        self.measured = self._measured(formulas(config))
        self.terms = self._terms()
        self.by_spec = list(slices_by_spec(batch, config))
        self.values: dict[tuple[Place, Key], Estimate] = {}
        self.relative: dict[tuple[Place, Key], Estimate] = {}
        # By place and metric: what each replicate found.
        self.found: dict[tuple[Place, Key], Array] = {}

    def result(self) -> Significance:
        """Return all estimates."""
        influences = [self._rank(slices) for slices in self.by_spec]
        for slices, influence, sums in zip(
            self.by_spec, influences, self._sums(influences), strict=True
        ):
            for number, (place, _) in enumerate(slices):
                self._settle(place, sums[number], list(influence))
        self._compare_models()
        self._compare_slices()
        return Significance(self.values, self.relative)

    def _measured(self, known: Mapping[str, Formula | Curve]) -> list[_Measured]:
        keys = {
            key: None
            for found in self.analysis.slices.values()
            for key in found
            if not key.is_diff and key.name in known and key.sub_key is None
        }
        return [
            _Measured(
                key,
                known[key.name],
                self.weights is not None and key.example_weighted is not False,
            )
            for key in keys
        ]

    def _terms(self) -> dict[tuple[str, bool, str], Any]:
        """Return what is summed: model, weighted or not, and name, to the term."""
        return {
            (m.key.model_name, m.weighted, name): term
            for m in self.measured
            if isinstance(m.known, Formula)
            for name, term in m.known.terms.items()
        }

    def _rank(self, slices: list[tuple[Place, Any]]) -> dict[Key, Array]:
        """Estimate the areas of a spec's slices; return each row's influence, by metric."""
        ranked = [m for m in self.measured if isinstance(m.known, Curve)]
        influence = {m.key: np.zeros(len(self.labels), np.float32) for m in ranked}
        for place, rows in slices:
            areas: dict[Key, Area] = {}
            for m in ranked:
                area = _AREAS[m.known.kind](  # type: ignore[union-attr]
                    self.labels[rows],
                    self.scores[m.key.model_name][rows],
                    self._weights(rows) if m.weighted else None,
                )
                value = self.analysis.slices.get(place, {}).get(m.key, math.nan)
                if not abs(value - area.value) <= BINNED:
                    continue
                areas[m.key] = area
                influence[m.key][rows] = area.influence
                estimate = area_estimate(value, area)
                if estimate is not None:
                    self.values[place, m.key] = estimate
            self._compare_areas(place, areas)
        return influence

    def _compare_areas(self, place: Place, areas: Mapping[Key, Area]) -> None:
        for key, area in areas.items():
            other = areas.get(key.make_baseline_key(self.baseline)) if self.baseline else None
            if key.model_name != self.candidate or other is None:
                continue
            change, base = self._change(place, key)
            estimate = area_difference(change, area, other)
            if estimate is None:
                continue
            self.values[place, key.make_diff_key()] = estimate
            if base:
                # The ratio's influence, to first order.
                moved = area.influence / base - (base + change) / base**2 * other.influence
                error = float(np.sqrt(moved @ moved))
                self.relative[place, key.make_diff_key()] = Estimate(
                    change / base, error, "identity", estimate.method
                )

    def _sums(self, influences: list[dict[Key, Array]]) -> list[Array]:
        """Return by spec the sums `[slices, 1 + replicates, terms]`; the first is of all rows."""
        width = len(self.terms) + (len(influences[0]) if influences else 0)
        totals = [ReplicateSums(len(s), 1 + self.replicates, width) for s in self.by_spec]
        memberships = [self._membership(slices) for slices in self.by_spec]
        for rows in self._blocks():
            counts = self._counts(rows)
            shared = self._row_terms(rows)
            for total, member, influence in zip(totals, memberships, influences, strict=True):
                own = [values[rows] for values in influence.values()]
                total.add(counts, np.column_stack([*shared, *own]), member[rows])
        return [total.sums for total in totals]

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, len(self.labels), BLOCK_ROWS):
            yield slice(start, min(start + BLOCK_ROWS, len(self.labels)))

    def _counts(self, rows: slice) -> Array:
        numbers = self.numbers[rows]
        first = int(numbers[0])
        counts = poisson_counts(first, int(numbers[-1]) - first + 1, self.replicates, self.seed)
        once = np.ones((len(numbers), 1), np.uint8)
        return np.concatenate([once, counts[numbers - first]], axis=1)

    def _row_terms(self, rows: slice) -> list[Array]:
        labels, weights = self.labels[rows], self._weights(rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            return [
                term(labels, self.scores[model][rows].astype(np.float64))
                * (weights if weighted else 1.0)
                for (model, weighted, _), term in self.terms.items()
            ]

    def _membership(self, slices: list[tuple[Place, Any]]) -> Array:
        member = np.full(len(self.labels), -1, np.int32)
        for number, (_, rows) in enumerate(slices):
            member[rows] = number
        return member

    def _weights(self, rows: Any) -> Array | None:
        return None if self.weights is None else self.weights[rows]

    def _settle(self, place: Place, sums: Array, ranked: list[Key]) -> None:
        """Turn a slice's sums into replicates and estimates."""
        columns = dict(zip([*self.terms, *ranked], sums.T, strict=True))
        for m in self.measured:
            value = self.analysis.slices.get(place, {}).get(m.key, math.nan)
            if isinstance(m.known, Curve):
                if (place, m.key) in self.values:
                    self.found[place, m.key] = value + columns[m.key][1:]
                continue
            of = {name: columns[m.key.model_name, m.weighted, name] for name in m.known.terms}
            found = np.asarray(m.known.value(of), np.float64)
            if not abs(found[0] - value) <= 1e-3 * max(1.0, abs(value)):
                continue
            self.found[place, m.key] = found[1:]
            estimate = self._estimate(m, value, of, found[1:])
            if estimate is not None:
                self.values[place, m.key] = estimate

    def _estimate(
        self, m: _Measured, value: float, of: Mapping[str, Array], found: Array
    ) -> Estimate | None:
        known = m.known
        assert isinstance(known, Formula)
        if known.trials is not None and not m.weighted and self._are_classes():
            return rate_estimate(value, float(np.asarray(known.trials(of))[0]))
        estimate = bootstrap_estimate(value, found, known.scale)
        if estimate is None and known.trials is not None and value in (0.0, 1.0):
            return rate_estimate(value, self._effective(float(np.asarray(known.trials(of))[0])))
        return None if estimate is None or estimate.error == 0 else estimate

    def _effective(self, trials: float) -> float:
        """Return how many unweighted rows are worth as much as weighted ones of sum `trials`."""
        if self.weights is None:
            return trials
        return trials * float(self.weights.sum() / (self.weights @ self.weights))

    def _are_classes(self) -> bool:
        return bool(np.isin(self.labels, (0.0, 1.0)).all())

    def _change(self, place: Place, key: Key) -> tuple[float, float]:
        """Return candidate minus champion, and the champion's value."""
        found = self.analysis.slices.get(place, {})
        base = found.get(key.make_baseline_key(self.baseline), math.nan)
        return found.get(key.make_diff_key(), math.nan), base

    def _compare_models(self) -> None:
        if self.baseline is None:
            return
        for (place, key), found in list(self.found.items()):
            if key.model_name != self.candidate or (place, key.make_diff_key()) in self.values:
                continue
            other = self.found.get((place, key.make_baseline_key(self.baseline)))
            if other is None:
                continue
            change, base = self._change(place, key)
            floor = self._floor(place, key)
            self._keep(place, key.make_diff_key(), change, found - other, floor)
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = bootstrap_estimate(
                    change / base if base else math.nan, (found - other) / other, "identity"
                )
            if relative is not None and (relative.error > 0 or change == 0):
                error = max(relative.error, floor / abs(base))
                self.relative[place, key.make_diff_key()] = replace(relative, error=error)

    def _floor(self, place: Place, key: Key) -> float:
        """Return the least error of the difference of two rates, 0 for other metrics.

        Where no row tells the models apart, the spread is 0 however few rows there are. Agresti
        and Min, Simple improved confidence intervals for comparing matched proportions, Statistics
        in Medicine 24 (2005), add half a row to each kind of disagreement: 1 over the rows.
        """
        estimate = self.values.get((place, key))
        known = next(m.known for m in self.measured if m.key == key)
        if not isinstance(known, Formula) or known.trials is None or estimate is None:
            return 0.0
        return 1 / estimate.trials if estimate.trials else 0.0

    def _compare_slices(self) -> None:
        for place, metrics in self.analysis.slices.items():
            first, second = slices_of(place)
            if second is None:
                continue
            for key, value in metrics.items():
                one, other = self._replicates(first, key), self._replicates(second, key)
                if one is not None and other is not None:
                    self._keep(place, key, value, one - other)

    def _replicates(self, place: Any, key: Key) -> Array | None:
        if not key.is_diff or self.baseline is None:
            return self.found.get((place, key))
        own = next((m.key for m in self.measured if m.key.make_diff_key() == key), None)
        if own is None:
            return None
        one = self.found.get((place, own))
        other = self.found.get((place, own.make_baseline_key(self.baseline)))
        return None if one is None or other is None else one - other

    def _keep(self, place: Place, key: Key, value: float, found: Array, floor: float = 0.0) -> None:
        estimate = bootstrap_estimate(value, found, "identity")
        # No spread at all is evidence only where the same model stands on both sides.
        if estimate is not None and (estimate.error > 0 or value == 0):
            self.values[place, key] = replace(estimate, error=max(estimate.error, floor))
