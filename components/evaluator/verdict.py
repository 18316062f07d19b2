"""Whether a model is blessed, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from ...evaluation.estimate import Estimate
from ...evaluation.holm import holm_levels
from .analysis import Place, slices_of
from .checks import Check, Evidence, Verdict
from .config import baseline_of, candidate_of
from .formulas import count_names
from .policy import Policy
from .thresholds import Threshold, thresholds_of
from .wording import (
    check_in_words,
    metric_name,
    missing_in_words,
    passed_in_words,
    slice_in_words,
    subject,
)

REASONS_SHOWN = 3


def judge(config: config_pb2.EvalConfig, evidence: Evidence, policy: Policy) -> Verdict:
    """Decide, and say for each bound on each slice what was found.

    A threshold without slices holds for every slice that is computed, as in TFMA. In point mode
    TFMA's own validation decides. In confident mode the interval does: all rows must prove a bound,
    slices prove it or not be against it. Where every check has to be proven, a model that breaks
    one bound is blessed with no more than the chance left by one interval, however many checks
    there are (Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24,
    1982), so nothing is corrected; where slices fail on evidence against them, one good slice in
    forty would fail by chance, so Holm's method holds that chance for all of them together.

    Beyond TFMA's rules, a model is not blessed when there are no rows, when a prediction is not
    finite, or when no check was left to make.

    Returns:
        The verdict, failed checks first, those that were left out last.
    """
    checks = list(_rows_checks(evidence))
    if evidence.rows > evidence.not_finite:
        checks += _Judge(config, evidence, policy).checks()
    if evidence.champion_missing and policy.first_model == "refuse":
        checks.append(_no_champion())
    checks.sort(key=lambda check: (check.passed is not False, check.passed is None))
    failed = [check for check in checks if check.passed is False]
    if failed:
        more = len(failed) - REASONS_SHOWN
        shown = [check.reason for check in failed[:REASONS_SHOWN]]
        reason = " ".join([*shown, f"{more} more checks failed."] if more > 0 else shown)
        return Verdict(False, reason, tuple(checks))
    if not any(check.passed for check in checks):
        reason = "Every check was left out for too few rows, so nothing speaks for the model."
        return Verdict(False, reason, tuple(checks))
    if not policy.confident and not evidence.analysis.validation.validation_ok:
        left_out = [check for check in checks if check.passed is None]
        if not left_out:
            return Verdict(False, "TFMA's validation did not pass.", tuple(checks))
    return Verdict(True, passed_in_words(checks), tuple(checks))


def _no_champion() -> Check:
    reason = (
        "There is no champion to compare with, and the policy's first_model is refuse; connect the "
        "champion, or let value thresholds alone decide."
    )
    return Check("champion", {}, "value", "lower_bound", 1.0, 0.0, False, reason)


def _rows_checks(evidence: Evidence) -> Iterator[Check]:
    rows, not_finite = evidence.rows, evidence.not_finite
    if rows == 0:
        reason = "There are no rows to evaluate on; a model is never blessed without evidence."
        yield Check("example_count", {}, "value", "lower_bound", 1.0, 0.0, False, reason)
    if not_finite:
        reason = (
            f"The model's prediction is not a finite number for {not_finite:,} of {rows:,} rows; "
            "the metrics are over the others."
        )
        yield Check(
            "predictions_not_finite", {}, "value", "upper_bound", 0.0, not_finite, False, reason
        )


class _Judge:
    """Every threshold on every place that it is for."""

    def __init__(self, config: config_pb2.EvalConfig, evidence: Evidence, policy: Policy):
        self.config, self.policy = config, policy
        self.analysis, self.significance = evidence.analysis, evidence.significance
        self.counts = count_names(config)
        baseline = baseline_of(config)
        self.baseline = baseline.name if baseline else None
        self.failures = {
            (
                _record_place(record),
                metric_types.MetricKey.from_proto(failure.metric_key),
                _serialized(failure.metric_threshold),
            )
            for record in self.analysis.validation.metric_validations_per_slice
            for failure in record.failures
        }

    def checks(self) -> list[Check]:
        """Return every check; those against evidence are settled together."""
        made: list[tuple[Check, Estimate | None]] = []
        for threshold in thresholds_of(self.config):
            places = [p for p in self.analysis.slices if _is_for(threshold.where, p)]
            if not places:
                made += [(check, None) for check in _missing(threshold)]
            for place in places:
                made += self._at(threshold, place)
        return self._settle_slices(made)

    def _at(self, threshold: Threshold, place: Place) -> Iterator[tuple[Check, Estimate | None]]:
        bounds = list(threshold.bounds())
        kept = [_keeps(self._value(threshold.key, place, of), k, b) for of, k, b in bounds]
        failed = (place, threshold.key, _serialized_own(threshold)) in self.failures
        for (of, kind, bound), passed in zip(bounds, kept, strict=True):
            if failed and all(kept):
                passed = False
            estimate = self._estimate(threshold.key, place, of)
            check = self._check(threshold, place, (of, kind, bound), passed)
            if check.passed is not None and self._is_small(place, check.rows):
                check = self._small(check)
                estimate = None
            elif check.value is None:
                why = self.analysis.errors.get(place, "TFMA did not compute it").rstrip(".")
                reason = missing_in_words(check, self._value(threshold.key, place, of), why)
                check = replace(check, passed=False, reason=reason)
            elif self.policy.confident and threshold.key.name not in self.counts:
                check = self._by_interval(check, estimate)
            else:
                check = _with_interval(check, estimate, self.policy.confidence)
                check = replace(check, reason=check_in_words(check, by_interval=False))
            yield check, estimate

    def _check(
        self, threshold: Threshold, place: Place, bounded: tuple[str, str, float], passed: bool
    ) -> Check:
        of, kind, bound = bounded
        value = self._value(threshold.key, place, of)
        own, compared = slices_of(place)
        return Check(
            metric_name(threshold.key),
            dict(own),
            of,
            kind,
            bound,
            value if value is not None and math.isfinite(value) else None,
            passed,
            compared_slice=None if compared is None else dict(compared),
            baseline=self._champions(threshold.key, place),
            rows=self._rows(place),
        )

    def _by_interval(self, check: Check, estimate: Estimate | None) -> Check:
        """Return the check as its interval decides it; slices may be settled again later."""
        if estimate is None:
            reason = (
                f"{subject(check)} has no confidence interval, so it "
                "cannot be shown to keep its bound: too few rows, too few replicates, or a metric "
                "whose error is not estimated."
            )
            return replace(check, passed=False, reason=reason)
        chance = _chance_of_breaking(check, estimate)
        passed = chance <= (1 - self.policy.confidence) / 2
        check = _with_interval(replace(check, passed=passed), estimate, self.policy.confidence)
        return replace(check, reason=check_in_words(check, by_interval=True))

    def _settle_slices(self, made: list[tuple[Check, Estimate | None]]) -> list[Check]:
        if not (self.policy.confident and self.policy.slices == "not_disproven"):
            return [check for check, _ in made]
        checks = [check for check, _ in made]
        open_ones = [
            (number, check, estimate)
            for number, (check, estimate) in enumerate(made)
            if (check.slice or check.compared_slice is not None)
            and estimate is not None
            and check.value is not None
            and check.metric not in self.counts
        ]
        against = [1 - _chance_of_breaking(check, estimate) for _, check, estimate in open_ones]
        levels = holm_levels(against, (1 - self.policy.confidence) / 2)
        for (number, check, estimate), (rejected, level) in zip(open_ones, levels, strict=True):
            settled = _with_interval(replace(check, passed=not rejected), estimate, 1 - 2 * level)
            checks[number] = replace(settled, reason=check_in_words(settled, by_interval=True))
        return checks

    def _is_small(self, place: Place, rows: int | None) -> bool:
        return place != () and rows is not None and rows < self.policy.min_slice_size

    def _small(self, check: Check) -> Check:
        skip = self.policy.small_slices == "skip"
        then = "it is left out" if skip else "and too few rows fail"
        reason = (
            f"{subject(check)} is over {check.rows:,} rows, fewer than "
            f"the {self.policy.min_slice_size:,} that the policy asks for; {then}."
        )
        return replace(check, passed=None if skip else False, reason=reason)

    def _value(self, key: metric_types.MetricKey, place: Place, of: str) -> float | None:
        found = self.analysis.slices[place].get(key)
        if of != "relative_change" or found is None:
            return found
        base = self._champions(key, place)
        if base is None or math.isclose(base, 0.0):
            return math.nan
        return found / base

    def _champions(self, key: metric_types.MetricKey, place: Place) -> float | None:
        if self.baseline is None:
            return None
        value = self.analysis.slices[place].get(key.make_baseline_key(self.baseline))
        return value if value is not None and math.isfinite(value) else None

    def _estimate(self, key: metric_types.MetricKey, place: Place, of: str) -> Estimate | None:
        of_kind = (
            self.significance.relative if of == "relative_change" else self.significance.values
        )
        return of_kind.get((place, key))

    def _rows(self, place: Place) -> int | None:
        slices = [one for one in slices_of(place) if one is not None]
        counted = [
            value
            for one in slices
            for key, value in self.analysis.slices.get(one, {}).items()
            if key.name == "example_count"
            and key.model_name == candidate_of(self.config).name
            and not key.is_diff
        ]
        return int(min(counted)) if len(counted) == len(slices) else None


def _with_interval(check: Check, estimate: Estimate | None, level: float) -> Check:
    if estimate is None:
        return check
    low, high = estimate.interval(level)
    if not (math.isfinite(low) and math.isfinite(high)):
        return check
    return replace(check, interval=(low, high), confidence=level, method=estimate.method)


def _chance_of_breaking(check: Check, estimate: Estimate) -> float:
    """Return how likely what was measured is, or better, if the truth is at the bound."""
    tail = estimate.tail(check.bound)
    return tail if check.kind == "lower_bound" else 1 - tail


def _missing(threshold: Threshold) -> Iterator[Check]:
    where, other = threshold.where, None
    if isinstance(where, config_pb2.CrossSlicingSpec):
        where, other = where.baseline_spec, next(iter(where.slicing_specs), None)
    name = metric_name(threshold.key)
    for of, kind, bound in threshold.bounds():
        places = [_asked(slicing) for slicing in (where, other) if slicing is not None] or [{}]
        said = " or ".join(slice_in_words(place) for place in places)
        reason = f"There are no rows {said}, so {name} cannot be held against its bound."
        compared = places[1] if len(places) > 1 else None
        yield Check(name, places[0], of, kind, bound, None, False, reason, compared)


def _asked(slicing: Any) -> dict[str, Any]:
    return {**dict.fromkeys(slicing.feature_keys), **slicing.feature_values}


def _is_for(where: Any, place: Place) -> bool:
    """Return whether TFMA's validation holds a threshold on `where` against `place`."""
    if isinstance(where, config_pb2.CrossSlicingSpec):
        return slicer_lib.is_cross_slice_key(place) and slicer_lib.is_cross_slice_applicable(
            cross_slice_key=place, cross_slicing_spec=where
        )
    if slicer_lib.is_cross_slice_key(place):
        return False
    return where is None or slicer_lib.SingleSliceSpec(spec=where).is_slice_applicable(place)


def _record_place(record: Any) -> Place:
    if record.HasField("cross_slice_key"):
        return tuple(slicer_lib.deserialize_cross_slice_key(record.cross_slice_key))
    return tuple(slicer_lib.deserialize_slice_key(record.slice_key))


def _serialized(threshold: config_pb2.MetricThreshold) -> bytes:
    return bytes(threshold.SerializeToString(deterministic=True))


def _serialized_own(threshold: Threshold) -> bytes:
    field = "change_threshold" if threshold.key.is_diff else "value_threshold"
    return _serialized(config_pb2.MetricThreshold(**{field: threshold.proto}))


def _keeps(value: float | None, kind: str, bound: float) -> bool:
    if value is None:
        return False
    return value >= bound if kind == "lower_bound" else value <= bound
