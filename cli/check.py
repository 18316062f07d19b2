"""`penstock check`: whether Kubeflow accepts and runs a pipeline."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .options import EXIT_CODES, TARGET

if TYPE_CHECKING:
    from ..orchestration.kubeflow.finding import Finding

SIGNS = {"error": ("red", "✗"), "warning": ("yellow", "!")}


@click.command(
    name="check",
    help="Check a pipeline as Kubeflow would at upload, at the creation of a run and in it.\n\n"
    f"{TARGET}  path/to/pipeline.yaml       a compiled pipeline\n\n{EXIT_CODES}",
)
@click.argument("target")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
def check(target: str, strict: bool) -> None:
    """Check a pipeline as Kubeflow would."""
    from ..orchestration.kubeflow.acceptance import findings
    from ..orchestration.target import load

    pipeline = load(target)
    found = findings(pipeline)
    say(found, pipeline.name)
    sys.exit(1 if is_refused(found) or (strict and found) else 0)


def say(found: "Sequence[Finding]", name: str, *, err: bool = False) -> None:
    """Print findings, and how many there are."""
    for finding in found:
        colour, sign = SIGNS[finding.severity.value]
        rule = click.style(finding.rule, dim=True)
        click.echo(f"  {click.style(sign, fg=colour)} {finding.text}.  {rule}", err=err)
    counts = [
        f"{count} {kind}{'' if count == 1 else 's'}"
        for kind in SIGNS
        if (count := sum(finding.severity.value == kind for finding in found))
    ]
    click.echo(f"{name}: {', '.join(counts) or 'nothing found'}.", err=err)


def is_refused(found: "Sequence[Finding]") -> bool:
    """Return whether an error is among the findings."""
    return any(finding.severity.value == "error" for finding in found)
