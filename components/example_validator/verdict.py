"""What was found, what it does by the policy, and the verdict: per split and overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .anomaly_types import ANOMALY_TYPES
from .policy import Ruling

VERDICTS = ("fail", "quarantine", "warn", "pass")
# What an anomaly comes to; the first three make the verdict.
OUTCOMES = ("fail", "quarantine", "warn", "tolerated", "ignored")
ROW_RULE = "ROW_RULE"
STATISTICS_RULE = "STATISTICS_RULE"
SHOWN = 3


@dataclass(frozen=True)
class Anomaly:
    """One way in which a split is not as it should be.

    Attributes:
        feature: The feature's path joined by dots; None when it concerns the whole split.
        type: A type of `ANOMALY_TYPES`, or `ROW_RULE` or `STATISTICS_RULE`.
        rule: The type, or the name of the author's rule.
        description: A sentence.
        severity: What the policy says of it: ignore, warn, fail or quarantine.
        outcome: What it comes to: fail, quarantine, warn, tolerated or ignored.
        offending: How many rows break it; None when rows cannot be named or were not given.
        share: Their share of the split's rows.
        tolerate: The share that the policy tolerates.
        examples: The first rows that break it: where they stand, in words and by file, line, shard
            and row, and the feature's value.
        times: How many verdicts in a row found it, this one included.
        since_span: The newest span of the first of them, where spans are known.
    """

    feature: str | None
    type: str
    rule: str
    description: str
    severity: str
    outcome: str
    offending: int | None = None
    share: float | None = None
    tolerate: float = 0.0
    examples: tuple[Mapping[str, Any], ...] = ()
    times: int = 1
    since_span: int | None = None


@dataclass(frozen=True)
class SplitVerdict:
    """What was found in one split.

    Attributes:
        rows: The split's rows.
        anomalies: Those that fail first.
        quarantined: How many rows were put aside.
        comparisons: What was measured against the previous span and against serving.
    """

    rows: int
    anomalies: tuple[Anomaly, ...]
    quarantined: int = 0
    comparisons: tuple[Mapping[str, Any], ...] = ()

    @property
    def verdict(self) -> str:
        """The worst outcome: fail, quarantine, warn or pass."""
        outcomes = {anomaly.outcome for anomaly in self.anomalies}
        return next((word for word in VERDICTS if word in outcomes), "pass")


@dataclass(frozen=True)
class Verdict:
    """What was found in all splits, and what the reader must know of how."""

    splits: Mapping[str, SplitVerdict]
    environment: str = ""
    spans: Sequence[int] = ()
    source: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def verdict(self) -> str:
        """The worst verdict of a split."""
        given = {split.verdict for split in self.splits.values()}
        return next(word for word in VERDICTS if word in given)


def outcome_of(
    ruling: Ruling, on_anomalies: str, offending: int | None = None, share: float | None = None
) -> str:
    """Return what an anomaly comes to.

    Quarantine fails where there are no rows to put aside.

    Args:
        ruling: What the policy says.
        on_anomalies: `fail`, or `warn` when nothing shall stop the step.
        offending: How many rows break it; None when they cannot be named.
        share: Their share of the split's rows.
    """
    if ruling.severity == "ignore":
        return "ignored"
    if ruling.tolerate and share is not None and share <= ruling.tolerate:
        return "tolerated"
    if ruling.severity == "quarantine" and offending:
        return "quarantine"
    return "warn" if ruling.severity == "warn" else on_anomalies


def in_order(anomalies: Sequence[Anomaly]) -> tuple[Anomaly, ...]:
    """Return the anomalies with the worst first, those of the whole split before features."""
    return tuple(
        sorted(anomalies, key=lambda a: (OUTCOMES.index(a.outcome), a.feature or "", a.rule))
    )


def document(verdict: Verdict) -> dict[str, Any]:
    """Return what `verdict.json` holds."""
    return {
        "verdict": verdict.verdict,
        "environment": verdict.environment,
        "spans": list(verdict.spans),
        "source": list(verdict.source),
        "notes": list(verdict.notes),
        "splits": {
            name: {
                "verdict": split.verdict,
                "rows": split.rows,
                "quarantined": split.quarantined,
                "anomalies": [asdict(anomaly) for anomaly in split.anomalies],
                "comparisons": list(split.comparisons),
            }
            for name, split in verdict.splits.items()
        },
    }


def refusal(verdict: Verdict, path: object) -> str:
    """Return the sentence with which the step fails: split, feature, rule, share, first rows."""
    told = [
        _told(name, anomaly)
        for name, split in verdict.splits.items()
        for anomaly in split.anomalies
        if anomaly.outcome == "fail"
    ]
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return (
        f"The data did not pass validation: {'; '.join(told[:SHOWN])}{more}; mend the data or the "
        f"schema, or change the policy (everything found is in {path}/verdict.json)."
    )


def summary(verdict: Verdict, columns: int) -> str:
    """Return one line for people."""
    parts, clean = [], []
    for name, split in verdict.splits.items():
        counted = [a for a in split.anomalies if a.outcome in VERDICTS]
        aside = [a for a in split.anomalies if a.outcome == "tolerated"]
        if counted or aside:
            parts.append(_split_in_words(name, split, counted, len(aside)))
        else:
            clean.append(name)
    if clean:
        parts.append(f"no anomalies in {', '.join(clean)}")
    return f"{columns} feature{'s'[: columns != 1]}, {'; '.join(parts)}"


def _split_in_words(
    name: str, split: SplitVerdict, counted: Sequence[Anomaly], tolerated: int
) -> str:
    words = []
    for outcome in VERDICTS:
        some = [a for a in counted if a.outcome == outcome]
        if some:
            what = dict.fromkeys(a.feature or a.rule for a in some)
            shown = ", ".join(list(what)[:5]) + (", ..." if len(what) > 5 else "")
            label = {"fail": "", "warn": " (warning)", "quarantine": " (quarantined)"}[outcome]
            count = f"{len(some)} anomal{'y' if len(some) == 1 else 'ies'}{label}"
            first = next((f", first at {a.examples[0]['place']}" for a in some if a.examples), "")
            words.append(f"{count} in {name}: {shown}{first}")
    if tolerated:
        words.append(f"{tolerated} tolerated in {name}")
    if split.quarantined:
        words.append(f"{split.quarantined:,} of {split.rows:,} rows quarantined from {name}")
    return ", ".join(words)


def _told(split: str, anomaly: Anomaly) -> str:
    feature = "" if anomaly.feature is None else f", feature {anomaly.feature!r}"
    text = f"split {split!r}{feature}: {anomaly.description.rstrip('. ')} [{anomaly.rule}]"
    if anomaly.offending is not None and anomaly.share is not None:
        text += f", {rows_in_words(anomaly.offending)} ({share_in_words(anomaly.share)})"
    if anomaly.examples:
        text += f", first at {'; '.join(each['place'] for each in anomaly.examples)}"
    return text


def rows_in_words(rows: int) -> str:
    """Return a number of rows with its noun."""
    return f"{rows:,} row{'s'[: rows != 1]}"


def share_in_words(share: float) -> str:
    """Return a share as a percentage of enough digits not to be zero."""
    return f"{share:.1%}" if share >= 0.0005 or not share else f"{100 * share:.2g}%"


def default_description(kind: str) -> str:
    """Return what a type means, where TFDV gives no words."""
    known = ANOMALY_TYPES.get(kind)
    return known.meaning if known else "An anomaly that this version of Penstock does not know."
