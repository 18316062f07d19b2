"""What a check has to say about a compiled pipeline."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How much a finding matters."""

    ERROR = "error"
    """Kubeflow refuses the pipeline, or every run of it goes wrong."""

    WARNING = "warning"
    """It goes wrong on some clusters, with some values, or at the second run."""


@dataclass(frozen=True)
class Finding:
    """One thing that stands against running a pipeline on Kubeflow.

    Attributes:
        severity: How much it matters.
        rule: The rule's name, as docs/kubeflow.md lists it.
        text: What is wrong, where, and how to mend it: a sentence without its full stop.
    """

    severity: Severity
    rule: str
    text: str


def error(rule: str, text: str) -> Finding:
    """Return an error."""
    return Finding(Severity.ERROR, rule, text)


def warning(rule: str, text: str) -> Finding:
    """Return a warning."""
    return Finding(Severity.WARNING, rule, text)


def several(names: Iterable[str]) -> str:
    """Return the first three names, and whether there are more."""
    known = sorted(set(names))
    return ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
