"""`penstock runs`: what ran, how it went, and what differs between two runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .store import as_json, open_store, print_json, stored
from .words import console_of, digest, duration, plain, print_section, short, state, table_of, when

if TYPE_CHECKING:
    from ..metadata.comparison import Comparison, Pair
    from ..metadata.values import Execution, Run


@click.group()
def runs() -> None:
    """Show what ran."""


@runs.command(name="list")
@stored
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True)
@as_json
def list_runs(
    root: Path, store: str | None, pipeline: str | None, limit: int, json_output: bool
) -> None:
    """List the runs, the newest first."""
    with open_store(root, store) as opened:
        found = opened.runs(pipeline, limit)
        counts = opened.step_counts([run.id for run in found])
    if json_output:
        print_json(
            [
                {**_run(run), "steps": {s.value: n for s, n in counts[run.id].items()}}
                for run in found
            ]
        )
        return
    table = table_of("Run", "Pipeline", "State", "Started", "Duration", "Steps")
    for run in found:
        steps = ", ".join(f"{n} {how.value.lower()}" for how, n in counts[run.id].items())
        table.add_row(run.id, run.pipeline, state(run), when(run.started), duration(run), steps)
    console_of().print(table if found else "No runs yet.")


@runs.command(name="show")
@click.argument("run_id", metavar="RUN")
@stored
@as_json
def show_run(run_id: str, root: Path, store: str | None, json_output: bool) -> None:
    """Show one run: its parameters, steps, artifacts and metrics.

    RUN is a run's id, the beginning of one, or `latest`.
    """
    from ..metadata.comparison import artifacts_of, metrics_of, steps_of

    with open_store(root, store) as opened:
        run = opened.run(run_id)
        steps = steps_of(opened.executions(run.id))
    if json_output:
        print_json({**_run(run), "steps": [_step(step) for step in steps]})
        return
    console = console_of()
    console.print(f"[bold]{run.pipeline}[/] {run.id}  ", state(run), sep="", end="")
    end = f", took {duration(run)}" if run.ended else ""
    console.print(f"  started {when(run.started)}{end}")
    if run.error:
        console.print(f"[red]{plain(run.error)}[/]")
    console.print(f"Files: {plain(run.folder)}")
    if run.artifacts:
        console.print(f"Artifacts: {plain(run.artifacts)}")
    print_section(console, "Parameters", run.parameters.items())
    table = table_of("Step", "State", "Duration", "", title="Steps")
    for step in steps:
        note = step.error or ", ".join(
            f"{name}={short(value)}" for name, value in step.output_parameters.items()
        )
        table.add_row(step.task, state(step), duration(step), plain(note))
    console.print(table)
    table = table_of("Id", "Artifact", "Type", "Digest", "Where", title="Artifacts")
    for step in steps:
        for place, artifact in artifacts_of(step).items():
            where = artifact.uri.removeprefix(f"{run.artifacts or run.folder}/")
            if artifact.state.value != "LIVE":
                where = f"[dim]{artifact.state.value.lower().replace('_', ' ')}[/]"
            kind = artifact.type.removeprefix("system.")
            table.add_row(str(artifact.id), place, kind, digest(artifact.digest), where)
    if table.row_count:
        console.print(table)
    print_section(console, "Metrics", [pair for s in steps for pair in metrics_of(s).items()])


@runs.command(name="compare")
@click.argument("left", metavar="RUN_A")
@click.argument("right", metavar="RUN_B")
@stored
@click.option("--all", "everything", is_flag=True, help="Show also what is the same.")
@as_json
def compare_runs(
    left: str, right: str, root: Path, store: str | None, everything: bool, json_output: bool
) -> None:
    """Show two runs side by side: parameters, steps, artifacts, metrics; differences are marked."""
    from ..metadata.comparison import compare

    with open_store(root, store) as opened:
        comparison = compare(opened, opened.run(left), opened.run(right))
    parts = _parts(comparison)
    if json_output:
        print_json(
            {
                "left": _run(comparison.left),
                "right": _run(comparison.right),
                **{title.lower().replace(" ", "_"): _pairs(part) for title, part in parts.items()},
            }
        )
        return
    console = console_of()
    table = table_of("", "", comparison.left.id, comparison.right.id)
    for title, part in parts.items():
        shown = [pair for pair in part if everything or not pair.same]
        if shown:
            table.add_section()
            table.add_row("", f"[bold]{title}[/]", "", "")
        for pair in shown:
            values = _value(title, pair.left), _value(title, pair.right)
            mark = "" if pair.same else "[yellow]≠[/]" if pair.known else "[yellow]?[/]"
            table.add_row(mark, pair.name, *values, style="dim" if pair.same else None)
    if table.row_count:
        console.print(table)
    same = sum(pair.same for part in parts.values() for pair in part)
    different = sum(not pair.same for part in parts.values() for pair in part)
    console.print(f"{different} different, {same} the same.")


def _parts(comparison: "Comparison") -> "dict[str, tuple[Pair, ...]]":
    return {
        "Parameters": comparison.parameters,
        "Steps": comparison.steps,
        "Output parameters": comparison.outputs,
        "Artifacts": comparison.artifacts,
        "Metrics": comparison.metrics,
    }


def _run(run: "Run") -> dict[str, Any]:
    return {
        "id": run.id,
        "pipeline": run.pipeline,
        "state": run.state.value,
        "lost": run.lost,
        "started": run.started,
        "ended": run.ended,
        "seconds": run.seconds,
        "parameters": run.parameters,
        "spec_digest": run.spec_digest,
        "folder": run.folder,
        "artifacts": run.artifacts or run.folder,
        "error": run.error,
    }


def _step(step: "Execution") -> dict[str, Any]:
    from ..metadata.comparison import metrics_of

    def named(side: Any) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [
                {
                    "id": artifact.id,
                    "type": artifact.type,
                    "uri": artifact.uri,
                    "digest": artifact.digest,
                    "state": artifact.state.value,
                    "metadata": artifact.metadata,
                }
                for artifact in artifacts
            ]
            for name, artifacts in side.items()
        }

    return {
        "task": step.task,
        "component": step.component,
        "state": step.state.value,
        "lost": step.lost,
        "started": step.started,
        "ended": step.ended,
        "seconds": step.seconds,
        "parameters": step.parameters,
        "inputs": named(step.inputs),
        "outputs": named(step.outputs),
        "output_parameters": step.output_parameters,
        "metrics": metrics_of(step),
        "error": step.error,
    }


def _pairs(pairs: "tuple[Pair, ...]") -> list[dict[str, Any]]:
    return [
        {"name": pair.name, "left": pair.left, "right": pair.right, "same": pair.same}
        for pair in pairs
    ]


def _value(title: str, value: Any) -> str:
    if value is None:
        return "[dim]-[/]"
    if title == "Steps":
        return str(value).lower()
    return digest(value) if title == "Artifacts" else plain(short(value))
