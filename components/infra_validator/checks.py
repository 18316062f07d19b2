"""From what was found to checks that pass or fail, each in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...models.wild_rows import CASES
from .policy import Policy
from .process import Outcome

Finding = Mapping[str, Any]

_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        check: What, such as `latency_p99`.
        of: The signature, or `predict`; empty where it is of the process.
        rows: Rows in a request, where that matters.
        value: The number that was found, if there is one.
        unit: Of value and budget.
        budget: What the value may be at most, if that is said.
        passed: None where the policy, or the lack of something to check, left it out.
        words: What was found, in a sentence.
    """

    check: str
    of: str
    passed: bool | None
    words: str
    value: float | None = None
    budget: float | None = None
    unit: str = ""
    rows: int | None = None


def checks_of(outcome: Outcome, policy: Policy) -> list[Check]:
    """Return every check, in the order in which things were found out."""
    tolerance = policy.tolerance
    for finding in outcome.findings:
        if finding["finding"] == "parity" and tolerance is None:
            tolerance = finding.get("tolerance")
    judge = _Judge(policy, _TOLERANCE if tolerance is None else tolerance)
    checks = [check for finding in outcome.findings for check in judge.checks(finding)]
    if outcome.ending:
        words = f"The process {outcome.ending} while {outcome.doing}."
        checks.append(Check("process", "", False, words))
    elif not any(check.check == "answers" for check in checks) and loaded(outcome):
        words = "The model has no signature that could be asked, so nothing was checked."
        checks.append(Check("signature", "", False, words))
    checks += _missing(checks, outcome)
    return [*checks, *_memory(outcome, policy)]


def loaded(outcome: Outcome) -> bool:
    """Return whether the model was loaded."""
    return any(f["finding"] == "load" and "error" not in f for f in outcome.findings)


class _Judge:
    """Holds findings to a policy."""

    def __init__(self, policy: Policy, tolerance: float):
        self._policy, self._tolerance = policy, tolerance

    def checks(self, finding: Finding) -> Iterator[Check]:
        """Yield the checks that a finding decides; none for one that decides nothing."""
        of_kind = getattr(self, f"_{finding['finding']}", None)
        if of_kind is not None:
            yield from of_kind(finding)

    def _load(self, found: Finding) -> Iterator[Check]:
        if "error" in found:
            yield Check("load", "", False, f"The model cannot be loaded: {found['error']}.")
            return
        yield Check("load", "", True, f"The model loads; it is of kind {found['kind']}.")
        words = f"Loading took {found['seconds']:.1f} s, from the start of the process."
        yield _within("startup", "", found["seconds"], self._policy.startup_seconds, "s", words)

    def _signature(self, found: Finding) -> Iterator[Check]:
        if "left_out" in found:
            words = f"The signature {found['of']} was not asked: {found['left_out']}."
            yield Check("signature", found["of"], False if found["wrong"] else None, words)

    def _answers(self, found: Finding) -> Iterator[Check]:
        of, rows = found["of"], found["rows"]
        if "error" in found:
            words = f"{_rows(rows).capitalize()} got no answer: {found['error']}."
            yield Check("answers", of, False, words, rows=rows)
            return
        count = found["not_finite"]
        words = f"{_rows(rows).capitalize()} got an answer of width {found['width']} each."
        if count:
            words = f"{count:,} of {_rows(rows)} got an answer that is not a finite number."
        yield Check("answers", of, not count, words, float(count), 0.0, "not finite", rows)

    def _batch(self, found: Finding) -> Iterator[Check]:
        of, rows = found["of"], found["rows"]
        if "error" in found:
            words = f"A request of {_rows(rows)} failed: {found['error']}."
            yield Check("batch_independence", of, False, words, rows=rows)
            return
        words = f"In requests of {_rows(rows)} each row"
        yield self._same("batch_independence", found, words, "as in other requests", rows)
        budgets = self._policy.batch(rows)
        for name, budget in (("p50", budgets.p50_ms), ("p99", budgets.p99_ms)):
            value = found[f"{name}_ms"]
            words = f"Of {found['calls']} requests of {_rows(rows)}, {name} is {value:.3g} ms."
            yield _within(f"latency_{name}", of, value, budget, "ms", words, rows)

    def _wild(self, found: Finding) -> Iterator[Check]:
        case = found["case"]
        if "skipped" in found:
            words = f"No feature that is sent can make rows with {CASES[case]}."
            if found["skipped"]:
                words = f"Rows with {CASES[case]} were not sent, as the policy says."
            yield Check(case, found["of"], None, words)
            return
        rule, words = self._policy.wild[case], _wild_words(found, self._tolerance)
        refused, harmless = "error" in found, found.get("difference", 0.0) <= self._tolerance
        answered = not refused and not found["not_finite"]
        passed = harmless and (answered or (refused and rule == "answer_or_refuse"))
        yield Check(case, found["of"], passed or (None if rule == "warn" else False), words)

    def _threads(self, found: Finding) -> Iterator[Check]:
        threads = found["threads"]
        if "error" in found:
            words = f"{threads} requests at once failed: {found['error']}."
            yield Check("concurrency", found["of"], False, words)
            return
        words = f"In {found['requests']} requests, {threads} at once, each row"
        yield self._same("concurrency", found, words, "as alone")

    def _again(self, found: Finding) -> Iterator[Check]:
        if "error" in found:
            words = f"After all other requests, the first one failed: {found['error']}."
            yield Check("repeatability", found["of"], False, words)
            return
        words = "After all other requests, each row"
        yield self._same("repeatability", found, words, "as at first")

    def _agreement(self, found: Finding) -> Iterator[Check]:
        yield self._same("agreement", found, "Each row", f"as by {found['against']}")

    def _parity(self, found: Finding) -> Iterator[Check]:
        of = found.get("of", "")
        if "error" in found:
            words = f"What the trainer asked could not be asked: {found['error']}."
            yield Check("parity", of, False, words)
            return
        words = f"Each of {_rows(found['rows'])} of the trainer"
        yield self._same("parity", found, words, "as in training")

    def _same(
        self, check: str, found: Finding, words: str, when: str, rows: int | None = None
    ) -> Check:
        value = found["difference"]
        passed = value <= self._tolerance
        said = (
            f"{words} is answered {when}."
            if passed
            else (f"{words} should be answered {when}, and answers differ by up to {value:.3g}.")
        )
        return Check(check, found["of"], passed, said, value, self._tolerance, "", rows)


def _wild_words(found: Finding, tolerance: float) -> str:
    what = CASES[found["case"]]
    if "error" in found:
        return f"Rows with {what} are refused: {found['error']}."
    words = f"Rows with {what} are answered."
    if found["not_finite"]:
        words = f"Rows with {what} are answered with what is not a finite number."
    if found["difference"] > tolerance:
        spread = f"differ by up to {found['difference']:.3g}"
        if math.isinf(found["difference"]):
            spread = "are not finite any more"
        words += f" The answers to the other rows of the request {spread}."
    return words


def _missing(checks: list[Check], outcome: Outcome) -> list[Check]:
    """Return, as left out, what there was nothing to check by."""
    if outcome.ending or not any(check.check == "answers" for check in checks):
        return []
    if any(check.check == "parity" for check in checks):
        return []
    words = "The trainer left no answers to compare with: run_fn exported the model by itself."
    return [Check("parity", "", None, words)]


def _memory(outcome: Outcome, policy: Policy) -> list[Check]:
    own = [f["peak_bytes"] for f in outcome.findings if f["finding"] == "memory"]
    peak = max([outcome.peak_bytes, *own]) / 2**20
    if not peak:
        return []
    words = f"The process held up to {peak:,.0f} MiB of memory."
    return [_within("memory", "", peak, policy.peak_memory_mib, "MiB", words)]


def _within(
    check: str,
    of: str,
    value: float,
    budget: float | None,
    unit: str,
    words: str,
    rows: int | None = None,
) -> Check:
    if budget is None:
        return Check(check, of, None, words, value, None, unit, rows)
    passed = value <= budget
    said = words if passed else f"{words.rstrip('.')}, and the budget is {budget:g} {unit}."
    return Check(check, of, passed, said, value, budget, unit, rows)


def _rows(count: int) -> str:
    return f"{count:,} row{'s'[: count > 1]}"
