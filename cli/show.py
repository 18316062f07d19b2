"""What a run looks like in the terminal: steps as they go, and a summary at the end."""

import re
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..orchestration.kubeflow.finding import Finding
from ..orchestration.report import RunReport, State, StepReport, label
from ..orchestration.values import Values
from ..orchestration.workers import log_tail
from .words import seconds

MARKS = {
    State.SUCCEEDED: ("✓", "green"),
    State.CACHED: ("✓", "cyan"),
    State.FAILED: ("✗", "bold red"),
    State.SKIPPED: ("-", "yellow"),
    State.NOT_TAKEN: ("-", "dim"),
    State.STOPPED: ("■", "yellow"),
}
METRICS = ("system.Metrics", "system.ClassificationMetrics")


class Screen:
    """The terminal during a run: a spinner per running step, a line per finished one.

    Where the output is not a terminal, plain lines alone.
    """

    def __init__(self, explain: bool = False, console: Console | None = None) -> None:
        """Show a run; with `explain`, say of each step why it was cached or not."""
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.explain = explain
        self._running: dict[str, tuple[float, Spinner]] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None

    @contextmanager
    def showing(self, title: str) -> Iterator[None]:
        """Show the steps of a run called `title` as they go."""
        self.console.print(f"[bold]{escape(title)}[/]")
        if not self.console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._render,
            console=self.console,
            refresh_per_second=8,
            transient=True,
        ) as self._live:
            yield
        self._live = None

    def _render(self) -> RenderableType:
        with self._lock:
            rows = []
            for path, (since, spinner) in self._running.items():
                spinner.update(text=Text(f"{label(path)}  {seconds(time.monotonic() - since)}"))
                rows.append(spinner)
        return Group(*rows)

    def findings(self, found: Sequence[Finding]) -> None:
        """Say what runs here and not, or otherwise, on Kubeflow."""
        for finding in found:
            self.console.print(f"[yellow]Note: {escape(finding.text)}.[/]")

    def step(self, step: StepReport) -> None:
        """Show that a step started or ended."""
        if step.state is State.RUNNING:
            with self._lock:
                started = self._running.get(step.path, (time.monotonic(), Spinner("dots")))
                self._running[step.path] = started
            if self._live is None:
                self.console.print(f"  … {escape(label(step.path))}")
            return
        with self._lock:
            self._running.pop(step.path, None)
        if self._live:
            self._live.refresh()
        self.console.print(line(step))
        if self.explain:
            for phrase in step.explanation:
                self.console.print(f"      [dim]{escape(phrase)}[/]")

    def stopping(self, now: bool) -> None:
        """Say what Ctrl-C did."""
        what = (
            "Stopping now."
            if now
            else "Stopping after the running steps; press Ctrl-C again to stop now."
        )
        self.console.print(f"[yellow]{what}[/]")

    def warn(self, sentence: str) -> None:
        """Say what went wrong beside the run, if anything."""
        if sentence:
            self.console.print(f"[yellow]{escape(sentence)}[/]")

    def summary(self, report: RunReport, where: list[str], target: list[str]) -> None:
        """Show how the run ended: failures first, then metrics, then where things lie.

        Args:
            report: The run.
            where: Options that name its root and store.
            target: What was run, with its parameters; empty when it was resumed.
        """
        for failure in report.failures():
            alone = [*target, *where, "--only", failure.path, "--base", report.run_id]
            self._failure(failure, shlex.join(["penstock", "run", *alone]) if target else "")
        shown = metrics(report)
        if shown:
            table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
            for step, name, value in shown:
                table.add_row(f"  {escape(step)}", escape(name), value)
            self.console.print()
            self.console.print("[bold]Metrics[/]")
            self.console.print(table)
        self.console.print()
        counts = _counts(report)
        word = {State.SUCCEEDED: "[green]Succeeded[/]", State.FAILED: "[bold red]Failed[/]"}.get(
            report.state, "[yellow]Stopped[/]"
        )
        self.console.print(f"{word} in {seconds(report.seconds)}: {counts}.")
        for name, value in sorted(report.outputs.parameters.items()):
            self.console.print(f"  {escape(name)} = {escape(repr(value))}")
        place = f"Run {report.run_id} lies in {escape(str(report.folder))}"
        if report.artifacts:
            place += f", its artifacts in {escape(report.artifacts)}"
        self.console.print(place)
        if report.state is not State.SUCCEEDED:
            again = shlex.join(["penstock", "run", "--resume", report.run_id, *where])
            self.console.print(f"To go on from there: {escape(again)}")

    def _failure(self, step: StepReport, alone: str) -> None:
        self.console.print()
        self.console.print(f"[bold red]{escape(step.path)} failed[/]: {escape(step.reason)}")
        given = [
            *(f"{n}={_short(v)}" for n, v in sorted(step.inputs.parameters.items())),
            *(f"{n}={a[0].uri}" for n, a in sorted(step.inputs.artifacts.items()) if a),
        ]
        if given:
            self.console.print(f"  Inputs: {escape(', '.join(given))}")
        if step.log is None:
            return
        if not step.mendable:
            for text in log_tail(step.log):
                self.console.print(f"  [dim]│[/] {escape(text)}")
        self.console.print(f"  Log: {escape(str(step.log))}")
        if alone:
            self.console.print(f"  Again, alone: {escape(alone)}")


INPUT = re.compile(r"inputs\.parameter_values\['(?:pipelinechannel--)?([^']+)'\]")


def line(step: StepReport) -> Text:
    """Return the line that says how a step ended."""
    mark, style = MARKS[step.state]
    text = Text("  ")
    text.append(f"{mark} {label(step.path)}", style=style)
    if step.state in (State.SUCCEEDED, State.FAILED) and step.log is not None:
        text.append(f"  {seconds(step.seconds)}", style="dim")
    if step.attempts > 1:
        text.append(f"  {step.attempts} attempts", style="dim")
    if step.state is State.CACHED:
        text.append("  cached", style="dim")
    if step.state is State.SKIPPED:
        text.append(f"  skipped: {label(step.cause)} failed")
    elif step.state in (State.NOT_TAKEN, State.STOPPED):
        reason = INPUT.sub(r"\1", step.reason)
        text.append(f"  {step.state.value}: {reason}", style="dim")
    for summary in summaries(step.outputs):
        text.append(f"  {summary}")
    if step.notes:
        text.append(f"  (not applied here: {', '.join(step.notes)})", style="dim")
    return text


def summaries(outputs: Values) -> list[str]:
    """Return what a step's artifacts say of themselves for people."""
    return [
        str(artifact.metadata["summary"])
        for artifacts in outputs.artifacts.values()
        for artifact in artifacts
        if artifact.metadata.get("summary")
    ]


def metrics(report: RunReport) -> list[tuple[str, str, str]]:
    """Return (step, metric, value) of every metrics artifact."""
    found = []
    for step in report.steps:
        for artifacts in step.outputs.artifacts.values():
            for artifact in artifacts:
                if artifact.schema_title in METRICS:
                    found += [
                        (label(step.path), name, _short(value))
                        for name, value in sorted(artifact.metadata.items())
                        if isinstance(value, int | float | str) and name != "summary"
                    ]
    return found


def _counts(report: RunReport) -> str:
    order = (State.SUCCEEDED, State.CACHED, State.FAILED, State.SKIPPED, State.STOPPED)
    counted = [(state, sum(step.state is state for step in report.steps)) for state in order]
    steps = [f"{count} {state.value}" for state, count in counted if count]
    return ", ".join(steps) or "nothing to do"


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
