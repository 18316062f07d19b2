"""Two data sets compared feature by feature, by rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .calibration import calibrated_threshold
from .cells import Cells, cells
from .distribution import Distribution, missing_rate
from .findings import DRIFT, INSUFFICIENT, KIND, OK, PRESENCE, VERDICTS, Contributor, Finding
from .measures import MEASURES, distance, is_empty
from .measures.missing_rate import MISSING_RATE_CHANGE
from .p_values import correct, number_of_cells, p_value, p_value_of_missing
from .rules import DEFAULT_RULES, MIN_N, Rule, rules_of_features
from .sentences import sentence_of

CONTRIBUTORS = 5

Windows = Sequence[Mapping[str, Distribution]]


def compare(
    reference: Mapping[str, Distribution],
    current: Mapping[str, Distribution],
    rules: Sequence[Rule] = DEFAULT_RULES,
    windows: Windows = (),
) -> list[Finding]:
    """Compare the distributions of two data sets.

    A feature that one side lacks, or that is numeric on one side and categorical on the other, is
    drift in itself.

    Args:
        reference: By feature, what is expected: the training data, or the previous span.
        current: By feature, what came.
        rules: From the general to the particular; for a feature and a measure the last one holds.
        windows: Data sets of the reference's kind among which there is no drift, such as the spans
            before, that thresholds are calibrated on where they are enough
            (`penstock.drift.calibration`).

    Returns:
        One finding per feature and rule: drift first, then by the size of the effect.

    Raises:
        PenstockError: A rule names a feature that neither side has, or that it cannot measure.
    """
    kinds = {f: _kind(reference.get(f), current.get(f)) for f in sorted({*reference, *current})}
    findings = []
    for feature, chosen in rules_of_features(rules, kinds).items():
        if not chosen:
            continue
        one, other = reference.get(feature), current.get(feature)
        if one is None or other is None:
            findings.append(_only_on_one_side(feature, one, other))
            continue
        if one.kind != other.kind and not is_empty(one) and not is_empty(other):
            findings.append(_of_two_kinds(feature, one, other))
            chosen = [rule for rule in chosen if rule.measure == MISSING_RATE_CHANGE.name]
        known = [window[feature] for window in windows if feature in window]
        known = [window for window in known if window.kind == kinds[feature]]
        findings += [measured(feature, one, other, rule, known) for rule in chosen]
    return ranked(_second_key(findings, rules_of_features(rules, kinds)))


def measured(
    feature: str,
    reference: Distribution,
    current: Distribution,
    rule: Rule,
    windows: Sequence[Distribution] = (),
) -> Finding:
    """Return what a rule finds of a feature, before p-values are corrected."""
    measure = MEASURES[rule.measure]
    of_missing = measure is MISSING_RATE_CHANGE
    finding = _unmeasured(feature, reference, current, rule, windows)
    sizes = (finding.reference_n, finding.current_n)
    if not all(sizes):
        return replace(finding, sentence=sentence_of(finding))
    value = distance(measure.name, reference, current)
    if not math.isfinite(value):
        return replace(finding, sentence=sentence_of(finding))
    both = _missing_cells(reference, current) if of_missing else cells(reference, current)
    assert finding.threshold is not None
    chance = measure.needed(finding.threshold, (both.reference + both.current) / 2)
    needed = rule.min_n or max(MIN_N, math.ceil(chance))
    enough = min(sizes) >= finding.min_n and _harmonic(sizes) >= needed
    test = p_value_of_missing if of_missing else p_value
    finding = replace(
        finding,
        verdict=INSUFFICIENT if not enough else DRIFT if value >= finding.threshold else OK,
        value=value,
        min_n=needed,
        p_value=test(reference, current),
        contributors=contributors(both)[:1] if of_missing else contributors(both),
    )
    return replace(finding, sentence=sentence_of(finding))


def _unmeasured(
    feature: str,
    reference: Distribution,
    current: Distribution,
    rule: Rule,
    windows: Sequence[Distribution],
) -> Finding:
    """Return what is known before anything is measured: the threshold and the sizes."""
    sides = (reference, current)
    if rule.measure == MISSING_RATE_CHANGE.name:
        sizes = [number_of_cells(side) for side in sides]
    else:
        sizes = [0.0 if is_empty(side) else side.n for side in sides]
    measure = MEASURES[rule.measure]
    floor = rule.floor or measure.floor
    calibrated = None if rule.threshold else calibrated_threshold(measure.name, windows, floor)
    return Finding(
        feature,
        measure.name,
        INSUFFICIENT,
        sentence="",
        threshold=rule.threshold or calibrated or measure.threshold,
        floor=floor,
        calibrated=calibrated is not None,
        reference_n=sizes[0],
        current_n=sizes[1],
        min_n=rule.min_n or MIN_N,
    )


def contributors(both: Cells) -> tuple[Contributor, ...]:
    """Return the cells whose shares moved most, the strongest first, none that did not move."""
    order = np.argsort(-np.abs(both.current - both.reference), kind="stable")[:CONTRIBUTORS]
    return tuple(
        Contributor(both.labels[i], float(both.reference[i]), float(both.current[i]))
        for i in order
        if both.current[i] != both.reference[i]
    )


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with drift first, then by the size of the effect, then by name."""
    return sorted(findings, key=lambda f: (VERDICTS.index(f.verdict), -f.effect, f.feature))


def _missing_cells(reference: Distribution, current: Distribution) -> Cells:
    rates = [missing_rate(side) for side in (reference, current)]
    return Cells(("missing", "present"), *(np.array([rate, 1 - rate]) for rate in rates))


def _harmonic(sizes: Sequence[float]) -> float:
    # Two samples of n and m tell as much as two of this size.
    return 2 * sizes[0] * sizes[1] / (sizes[0] + sizes[1])


def _kind(one: Distribution | None, other: Distribution | None) -> str:
    """Return what a feature is, as the side says that has values."""
    sides = [side for side in (one, other) if side is not None]
    return next((side.kind for side in sides if not is_empty(side)), sides[0].kind)


def _second_key(findings: list[Finding], rules: Mapping[str, Sequence[Rule]]) -> list[Finding]:
    """Return the findings with corrected p-values, and no drift where a rule's alpha forbids it.

    What is corrected together are the p-values of a measure: one a feature.
    """
    corrected: dict[int, float | None] = {}
    for measure in dict.fromkeys(finding.measure for finding in findings):
        places = [i for i, finding in enumerate(findings) if finding.measure == measure]
        found = correct([findings[place].p_value for place in places])
        corrected.update(zip(places, found, strict=True))
    result = []
    for place, finding in enumerate(findings):
        p = corrected[place]
        by_measure = {rule.measure: rule for rule in rules[finding.feature]}
        alpha = by_measure[finding.measure].alpha if finding.measure in by_measure else None
        finding = replace(finding, corrected_p_value=p)
        if alpha is not None and p is not None and p > alpha and finding.verdict == DRIFT:
            finding = replace(finding, verdict=OK)
            finding = replace(finding, sentence=sentence_of(finding, alpha))
        result.append(finding)
    return result


def _only_on_one_side(
    feature: str, one: Distribution | None, other: Distribution | None
) -> Finding:
    sides = ("the reference", "the current data")
    place, lacking = sides if other is None else sides[::-1]
    return Finding(
        feature,
        PRESENCE,
        DRIFT,
        f"{feature} is in {place} and not in {lacking}.",
        reference_n=one.n if one else 0.0,
        current_n=other.n if other else 0.0,
    )


def _of_two_kinds(feature: str, one: Distribution, other: Distribution) -> Finding:
    return Finding(
        feature,
        KIND,
        DRIFT,
        f"{feature} was {one.kind} and is {other.kind}.",
        reference_n=one.n,
        current_n=other.n,
    )
