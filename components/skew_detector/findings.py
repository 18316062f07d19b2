"""What was found, what it does, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...drift.key_counts import KeyCounts
from ...errors import PenstockError
from ...reports.distribution import Plot
from .samples import PlacedSample

# What was seen row by row comes first: it names rows.
PARTS = ("key", "schema", "distribution")
SEVERITIES = ("fail", "warn", "ignore")
# From the worst on. What too few rows or pairs leave open is `insufficient`: it warns, and never
# passes.
VERDICTS = ("fail", "warn", "insufficient", "pass")
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One way in which serving is not as training, or one that could not be told.

    Attributes:
        part: `schema`, `distribution` or `key`.
        feature: The feature's path; None when it concerns the rows as such.
        rule: What it breaks: such as `TYPE`, a measure's name, or `VALUES`.
        verdict: `fail`, `warn` or `insufficient`.
        sentence: What was found.
        value: The measured number, such as the share of pairs that differ; None where there is
            none.
        threshold: The number that it may not pass.
    """

    part: str
    feature: str | None
    rule: str
    verdict: str
    sentence: str
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Skew:
    """All that was found.

    Attributes:
        findings: The worst first.
        rows: Of training, then of serving.
        distributions: What each rule of drift says of each feature.
        counts: The comparison by key; None without keys.
        limits: By feature the share of pairs that may differ.
        samples: By feature pairs that differ, with the places of their rows.
        notes: What a reader must know of how it was done.
        plots: Of numbers whose distribution is skewed: the feature, and training's and serving's
            histograms over one axis.
    """

    findings: tuple[Finding, ...]
    rows: tuple[int, int]
    distributions: tuple[dict[str, Any], ...]
    counts: KeyCounts | None
    limits: dict[str, float]
    samples: Mapping[str, Sequence[PlacedSample]]
    notes: tuple[str, ...]
    plots: tuple[tuple[str, tuple[Plot, Plot]], ...] = ()

    @property
    def verdict(self) -> str:
        """The worst verdict of a finding, else `pass`."""
        found = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in VERDICTS if verdict in found), "pass")

    def document(self) -> dict[str, Any]:
        """Return what `verdict.json` holds."""
        return {
            "verdict": self.verdict,
            "rows": {"training": self.rows[0], "serving": self.rows[1]},
            "notes": list(self.notes),
            "findings": [asdict(finding) for finding in self.findings],
            "distributions": list(self.distributions),
            "by_key": None if self.counts is None else by_key_document(self.counts, self.limits),
        }


def by_key_document(counts: KeyCounts, limits: dict[str, float]) -> dict[str, Any]:
    """Return the comparison by key for JSON; sides as objects, without the hashes."""

    def sides(pair: tuple[int, int]) -> dict[str, int]:
        return {"training": pair[0], "serving": pair[1]}

    return {
        **{
            name: sides(getattr(counts, name))
            for name in ("rows", "null_keys", "duplicate_rows", "left_out", "unmatched")
        },
        "duplicate_keys": counts.duplicate_keys,
        "pairs": counts.pairs,
        "skewed_pairs": counts.skewed_pairs,
        "sample_keys": {
            name: [key for _, key in getattr(counts, name)]
            for name in ("repeated", "only_training", "only_serving")
        },
        "features": {
            name: {
                "match": feature.match,
                "mismatch": feature.mismatch,
                "only_training": feature.only_training,
                "only_serving": feature.only_serving,
                "both_missing": feature.both_missing,
                "share": feature.share,
                "max_skew": limits[name],
            }
            for name, feature in counts.features.items()
        },
    }


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings with the worst first, then part by part, the largest values first."""
    return tuple(
        sorted(
            findings,
            key=lambda f: (
                VERDICTS.index(f.verdict),
                PARTS.index(f.part),
                -(f.value or 0.0),
                f.feature or "",
            ),
        )
    )


def checked_severity(given: dict[str, str] | None) -> dict[str, str]:
    """Return what each part's findings do; `fail` where it is not given.

    Raises:
        PenstockError: A part or a severity is unknown, or all parts are ignored.
    """
    for part, severity in (given or {}).items():
        if part not in PARTS:
            raise PenstockError(f"severity names the part {part!r}; there are {', '.join(PARTS)}.")
        if severity not in SEVERITIES:
            raise PenstockError(
                f"severity gives {part} as {severity!r}; expected {', '.join(SEVERITIES)}."
            )
    chosen = dict.fromkeys(PARTS, "fail") | dict(given or {})
    if set(chosen.values()) == {"ignore"}:
        raise PenstockError("severity ignores every part, so nothing would be found; keep one.")
    return chosen


def refusal(skew: Skew, path: object) -> str:
    """Return the sentence with which the step fails: features, shares, and a sample key."""
    worst: dict[str, str] = {}
    for finding in skew.findings:
        if finding.verdict == "fail":
            worst.setdefault(finding.feature or finding.rule, finding.sentence.rstrip("."))
    told = list(worst.values())
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return (
        f"Serving is not as training: {'; '.join(told[:SHOWN])}{more}; mend the side that is "
        "wrong, or change max_skew, rules or severity (everything found is in "
        f"{path}/verdict.json)."
    )


def summary_of(skew: Skew) -> str:
    """Return the line for people."""
    failed = [finding for finding in skew.findings if finding.verdict == "fail"]
    parts = []
    if skew.counts is not None:
        differ = f", {skew.counts.skewed_pairs:,} differ" if skew.counts.skewed_pairs else ""
        parts.append(f"{skew.counts.pairs:,} pairs by key{differ}")
    parts.append(f"training {skew.rows[0]:,} rows, serving {skew.rows[1]:,}")
    if failed:
        names = list(dict.fromkeys(f.feature or f.rule.lower() for f in failed))
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return f"skew in {shown}; {'; '.join(parts)}"
    words = {"pass": "no skew", "warn": "skew that warns", "insufficient": "too little to tell"}
    return f"{words[skew.verdict]}; {'; '.join(parts)}"
