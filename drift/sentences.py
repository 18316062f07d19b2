"""A finding in plain words."""

from __future__ import annotations

from .findings import DRIFT, INSUFFICIENT, Contributor, Finding
from .measures import MEASURES

SHOWN = 3


def sentence_of(finding: Finding, alpha: float | None = None) -> str:
    """Return what a finding of a measure says: the value, the threshold, and what moved.

    Args:
        finding: With its verdict.
        alpha: That the corrected p-value exceeds, where this is why it is no drift.
    """
    title = MEASURES[finding.measure].title
    if finding.value is None and finding.reference_n and finding.current_n:
        return f"{finding.feature}: the numbers are too large for the {title} to be told."
    if finding.value is None:
        side = "reference" if not finding.reference_n else "current side"
        return f"{finding.feature}: the {side} has no values, so its {title} cannot be told."
    source = "calibrated threshold" if finding.calibrated else "threshold"
    said = f"{finding.feature}: {title} {finding.value:.3g}"
    sizes = f"{finding.reference_n:,.0f} and {finding.current_n:,.0f} values"
    if finding.verdict == INSUFFICIENT:
        return (
            f"{said}, but {sizes} are too few to tell {finding.threshold:.3g} from chance: "
            f"{finding.min_n:,} a side are needed."
        )
    if alpha is not None:
        return (
            f"{said} passes the {source} {finding.threshold:.3g}, but chance may do so (corrected "
            f"p {finding.corrected_p_value:.2g} > {alpha:g})."
        )
    if finding.verdict == DRIFT:
        moved = "; ".join(_moved(part) for part in finding.contributors[:SHOWN])
        return f"{said} passes the {source} {finding.threshold:.3g}" + (
            f"; most moved: {moved}." if moved else "."
        )
    return f"{said} is below the {source} {finding.threshold:.3g}."


def _moved(part: Contributor) -> str:
    return f"{part.cell} from {part.reference:.1%} to {part.current:.1%}"
