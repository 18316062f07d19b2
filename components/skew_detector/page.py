"""What was found, for people: a page that stands by itself, and a few lines of Markdown."""

from __future__ import annotations

from pathlib import Path

from ...reports.page import render_page
from .findings import Finding, Skew

_TEMPLATE = Path(__file__).with_name("skew.html")
# The page stays small whatever the data.
MOST_FINDINGS = 200
MOST_FEATURES = 300
MOST_SAMPLED = 50

TITLES = {
    "fail": ("Serving is not as training", "bad"),
    "warn": ("Skew that warns", "warn"),
    "insufficient": ("Too little to tell", "warn"),
    "pass": ("No skew", "good"),
}
TONES = {"fail": "bad", "warn": "warn", "insufficient": "warn", "pass": "good"}
# What to look at first, by the rule that was broken.
ADVICE = {
    "VALUES": "Look at the sample pairs: a constant factor is a unit, a constant difference a time "
    "zone, a missing side a default that only one of the two fills in.",
    "DUPLICATE_KEYS": "Name more key columns, or choose which of the rows count by duplicates.",
    "NO_PAIRS": "Check that both sides write the key alike, and that the log is of these rows.",
    "MISSING": "Log the feature in serving; when serving cannot have it, say so in the schema by "
    'not_in_environment: "SERVING", and keep it from the model.',
    "TYPE": "Write the feature in one type on both sides.",
    "VALENCY": "Write the feature in one shape on both sides.",
    "DOMAIN": "Mend the values, or review the schema by penstock schema diff.",
    "PRESENCE": "Find out why serving lacks the value, or review the schema.",
    "NO_ROWS": "Check the splits, and what example_gen read.",
}
OF_DISTRIBUTIONS = (
    "See what moved in the table of distributions: a planned change needs a new training, any "
    "other is a fault of one side."
)


def skew_page(skew: Skew) -> str:
    """Return one HTML document that needs nothing from elsewhere."""
    title, tone = TITLES[skew.verdict]
    counts = skew.counts
    by_key = [] if counts is None else list(counts.features.items())
    by_key.sort(key=lambda item: (-item[1].share, item[0]))
    sampled = [(name, skew.samples[name]) for name, _ in by_key if name in skew.samples]
    return render_page(
        _TEMPLATE,
        title=title,
        tone=tone,
        sentence=_sentence(skew),
        skew=skew,
        findings=skew.findings[:MOST_FINDINGS],
        tones=TONES,
        advice=[(finding, _advice(finding)) for finding in _first_of_rules(skew)],
        features=by_key[:MOST_FEATURES],
        sampled=sampled[:MOST_SAMPLED],
        distributions=[d for d in skew.distributions if d["value"] is not None][:MOST_FEATURES],
    )


def skew_summary(skew: Skew) -> str:
    """Return the verdict, the findings and the counts as Markdown."""
    title, _ = TITLES[skew.verdict]
    lines = [f"# {title}", "", _sentence(skew), ""]
    for finding in skew.findings[:20]:
        lines.append(f"- **{finding.verdict}** ({finding.part}) {_escaped(finding.sentence)}")
    if len(skew.findings) > 20:
        lines.append(f"- and {len(skew.findings) - 20} more")
    if skew.counts is not None and skew.counts.features:
        lines += ["", "| feature | pairs that differ | only training | only serving |"]
        lines += ["|---|---:|---:|---:|"]
        ranked = sorted(skew.counts.features.items(), key=lambda item: -item[1].share)
        for name, feature in ranked[:20]:
            lines.append(
                f"| {_escaped(name)} | {feature.share:.3%} | {feature.only_training:,} | "
                f"{feature.only_serving:,} |"
            )
    return "\n".join(lines) + "\n"


def _sentence(skew: Skew) -> str:
    rows = f"Training has {skew.rows[0]:,} rows, serving {skew.rows[1]:,}"
    if skew.counts is None:
        return f"{rows}."
    return (
        f"{rows}; {skew.counts.pairs:,} pairs by key, {skew.counts.skewed_pairs:,} of which differ."
    )


def _first_of_rules(skew: Skew) -> list[Finding]:
    found: dict[str, Finding] = {}
    for finding in skew.findings:
        if finding.verdict in ("fail", "warn"):
            found.setdefault(_advice(finding), finding)
    return [finding for advice, finding in found.items() if advice]


def _advice(finding: Finding) -> str:
    if finding.part == "distribution":
        return OF_DISTRIBUTIONS
    return ADVICE.get(finding.rule, "")


def _escaped(text: str) -> str:
    """Return text in which Markdown finds no table and no HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
