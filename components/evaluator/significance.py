"""How sure each metric is, on each slice, for each model and for the difference of two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from ...evaluation.estimate import Estimate, bootstrap_estimate, rate_estimate
from ...evaluation.ranking import (
    Area,
    area_difference,
    area_estimate,
    area_under_precision_recall,
    area_under_roc,
)
from .analysis import Analysis, Place, slices_of
from .config import baseline_of, candidate_of
from .formulas import Curve, Formula, formulas
from .ranked_rows import ranked_rows
from .replicate_sums import Measured, Summing, sum_files
from .row_files import RowFile

Array = np.ndarray[Any, Any]
Key: TypeAlias = metric_types.MetricKey

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
    files: Sequence[RowFile],
    config: config_pb2.EvalConfig,
    analysis: Analysis,
    folder: Path,
    *,
    replicates: int,
    seed: int,
    beam_pipeline_args: Sequence[str] | None = None,
) -> Significance:
    """Say how sure each number of `analysis` is.

    Areas under the ROC curve by DeLong's method, rates of unweighted rows by Wilson's, all else
    that is a function of sums by Poisson bootstrap, whose replicates are the same for both models
    and for all slices. What TFMA computed row by row has the error of its jackknife.

    Args:
        files: All rows that were analyzed.
        config: As for `analyze`.
        analysis: What `analyze` returned.
        folder: Where workers leave their parts; every worker must see it at the same path.
        replicates: How many replicates; 0 leaves what needs them out.
        seed: Of the replicates.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.
    """
    if not files:
        return Significance({}, {})
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
    assessment = _Assessment(files, config, analysis, replicates, seed)
    sums = sum_files(files, assessment.influences(), assessment.summing, folder, beam_pipeline_args)
    return assessment.result(sums)


class _Assessment:
    """What the sums over the rows say of every metric on every slice."""

    def __init__(
        self,
        files: Sequence[RowFile],
        config: config_pb2.EvalConfig,
        analysis: Analysis,
        replicates: int,
        seed: int,
    ):
        self.analysis = analysis
        spec, baseline = candidate_of(config), baseline_of(config)
        self.candidate, self.baseline = spec.name, baseline.name if baseline else None
        self.weighted = bool(spec.example_weight_key)
        self.measured = self._measured(formulas(config))
        places = tuple(place for place in analysis.slices if slices_of(place)[1] is None)
        self.summing = Summing(config, tuple(self.measured), places, replicates, seed)
        self.known = self.summing.known()
        self.rows = ranked_rows(files, config)
        self.values: dict[tuple[Place, Key], Estimate] = {}
        self.relative: dict[tuple[Place, Key], Estimate] = {}
        # By place and metric: what each replicate found.
        self.found: dict[tuple[Place, Key], Array] = {}

    def influences(self) -> list[dict[Place, Array]]:
        """Estimate the areas, and return by file and slice what each row adds to them."""
        ranked = self.summing.ranked()
        found: list[dict[Place, Array]] = [{} for _ in self.rows.slices]
        for place in self.summing.places if ranked else ():
            rows = self.rows.of_place(place)
            parts = np.zeros((len(rows), len(ranked)), np.float32)
            areas = self._areas(place, rows)
            for column, m in enumerate(ranked):
                if m.key in areas:
                    parts[:, column] = areas[m.key].influence
            self._compare_areas(place, areas)
            for of_file, part in zip(found, self.rows.by_file(place, parts), strict=True):
                of_file[place] = part
        return found

    def result(self, sums: Mapping[Place, Array]) -> Significance:
        """Return all estimates."""
        for place in self.summing.places:
            self._settle(place, sums[place])
        self._compare_models()
        self._compare_slices()
        return Significance(self.values, self.relative)

    def _measured(self, known: Mapping[str, Formula | Curve]) -> list[Measured]:
        keys = {
            key: None
            for found in self.analysis.slices.values()
            for key in found
            if not key.is_diff and key.name in known and key.sub_key is None
        }
        return [Measured(key, self.weighted and key.example_weighted is not False) for key in keys]

    def _areas(self, place: Place, rows: Array) -> dict[Key, Area]:
        """Estimate the areas of a slice."""
        areas: dict[Key, Area] = {}
        for m in self.summing.ranked():
            known = self.known[m.key]
            assert isinstance(known, Curve)
            area = _AREAS[known.kind](
                self.rows.labels[rows],
                self.rows.scores[m.key.model_name][rows],
                self.rows.weights[rows] if m.weighted and self.rows.weights is not None else None,
            )
            value = self.analysis.slices.get(place, {}).get(m.key, math.nan)
            if not abs(value - area.value) <= BINNED:
                continue
            areas[m.key] = area
            estimate = area_estimate(value, area)
            if estimate is not None:
                self.values[place, m.key] = estimate
        return areas

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

    def _settle(self, place: Place, sums: Array) -> None:
        """Turn a slice's sums into replicates and estimates."""
        columns = dict(zip(self.summing.columns(), sums.T, strict=True))
        for m in self.measured:
            known = self.known[m.key]
            value = self.analysis.slices.get(place, {}).get(m.key, math.nan)
            if isinstance(known, Curve):
                if (place, m.key) in self.values:
                    self.found[place, m.key] = value + columns[m.key][1:]
                continue
            of = {name: columns[m.key.model_name, m.weighted, name] for name in known.terms}
            found = np.asarray(known.value(of), np.float64)
            if not abs(found[0] - value) <= 1e-3 * max(1.0, abs(value)):
                continue
            self.found[place, m.key] = found[1:]
            estimate = self._estimate(m, value, of, found[1:])
            if estimate is not None:
                self.values[place, m.key] = estimate

    def _estimate(
        self, m: Measured, value: float, of: Mapping[str, Array], found: Array
    ) -> Estimate | None:
        known = self.known[m.key]
        assert isinstance(known, Formula)
        if known.trials is not None and not m.weighted and self.rows.are_classes:
            return rate_estimate(value, float(np.asarray(known.trials(of))[0]))
        estimate = bootstrap_estimate(value, found, known.scale)
        if estimate is None and known.trials is not None and value in (0.0, 1.0):
            return rate_estimate(value, self._effective(float(np.asarray(known.trials(of))[0])))
        return None if estimate is None or estimate.error == 0 else estimate

    def _effective(self, trials: float) -> float:
        """Return how many unweighted rows are worth as much as weighted ones of sum `trials`."""
        weights = self.rows.weights
        if weights is None:
            return trials
        return trials * float(weights.sum() / (weights @ weights))

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
        known = self.known[key]
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
