"""`penstock run`: a pipeline on this machine."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ..errors import PenstockError
from .options import EXIT_CODES, TARGET, parameters
from .store import stored

if TYPE_CHECKING:
    from ..orchestration.report import RunReport
    from ..orchestration.run import Settings, Stop
    from .show import Screen


@click.command(
    help=f"Run a pipeline on this machine.\n\n{TARGET}  path/to/pipeline.yaml       "
    f"a compiled pipeline\n\n{EXIT_CODES}"
)
@click.argument("target", required=False)
@parameters
@stored
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="the cores",
    help="How many independent steps run side by side.",
)
@click.option(
    "--pipeline-root",
    envvar="PENSTOCK_PIPELINE_ROOT",
    show_envvar=True,
    metavar="URL",
    default="",
    help="Keep artifacts in an object store, such as s3://bucket/folder, and not below --root.",
)
@click.option(
    "--copies-limit",
    envvar="PENSTOCK_COPIES_LIMIT",
    show_envvar=True,
    metavar="GB",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="How much copies of artifacts in object stores may take below --root.",
)
@click.option("--isolate", is_flag=True, help="Give every step a process of its own.")
@click.option(
    "--containers",
    is_flag=True,
    help="Run every step in its image, Python components too, by podman or docker.",
)
@click.option("--no-cache", is_flag=True, help="Execute every step, also what ran before.")
@click.option("--explain-cache", is_flag=True, help="Say why each step was or was not cached.")
@click.option(
    "--openlineage",
    envvar="PENSTOCK_OPENLINEAGE",
    show_envvar=True,
    metavar="FILE|URL",
    help="Send OpenLineage events there: appended to a file, or posted.",
)
@click.option("--resume", metavar="RUN", help="Continue this run (or `latest`) where it ended.")
@click.option("--from", "start", metavar="STEP", help="Run this step and all that depends on it.")
@click.option("--to", "end", metavar="STEP", help="Run this step and all it depends on.")
@click.option("--only", metavar="STEP", help="Run this step alone.")
@click.option(
    "--base",
    metavar="RUN",
    default="latest",
    show_default=True,
    help="With --from and --only: the run whose artifacts the other steps' are taken from.",
)
def run(
    target: str | None,
    params: tuple[str, ...],
    explain_cache: bool,
    openlineage: str | None,
    resume: str | None,
    **options: Any,
) -> None:
    """Run a pipeline on this machine."""
    from .show import Screen

    screen = Screen(explain_cache)
    if resume:
        if target or params or options["start"] or options["end"] or options["only"]:
            raise PenstockError(
                "--resume continues a run with its own pipeline and parameters; leave out TARGET, "
                "--param, --from, --to and --only."
            )
        report = _resumed(resume, screen, openlineage, options)
    elif target:
        report = _executed(target, params, screen, openlineage, options)
    else:
        raise PenstockError("Say what to run: TARGET, or --resume RUN.")
    where = ["--root", str(options["root"])]
    if options["store"]:
        where += ["--store", options["store"]]
    repeated = [word for pair in params for word in ("--param", pair)]
    screen.summary(report, where, [target, *repeated] if target else [])
    sys.exit({"done": 0, "failed": 1}.get(report.state.value, 130))


def _executed(
    target: str,
    params: tuple[str, ...],
    screen: "Screen",
    openlineage: str | None,
    options: dict[str, Any],
) -> "RunReport":
    from ..orchestration.kubeflow.constructs import construct_findings
    from ..orchestration.openlineage import emitting
    from ..orchestration.parameters import read_parameters
    from ..orchestration.run import Stop, run_pipeline
    from ..orchestration.selection import select
    from ..orchestration.target import load

    pipeline = load(target)
    given = read_parameters(pipeline, params)
    selection = select(pipeline, start=options["start"], end=options["end"], only=options["only"])
    stop = Stop()
    screen.findings(list(construct_findings(pipeline)))
    emitter = emitting(openlineage, pipeline.name)
    with screen.showing(pipeline.name), _interruptible(screen, stop):
        report = run_pipeline(
            pipeline,
            given,
            _settings(screen, options),
            emitter.around(screen.step),
            stop,
            selection=selection,
            base=options["base"],
        )
    emitter.end(report)
    screen.warn(emitter.problem)
    return report


def _resumed(
    run_id: str, screen: "Screen", openlineage: str | None, options: dict[str, Any]
) -> "RunReport":
    from ..orchestration.openlineage import emitting
    from ..orchestration.run import Stop, resume_run

    settings = _settings(screen, options)
    with settings.open_store(create=False) as store:
        found = store.run(run_id)
    stop = Stop()
    emitter = emitting(openlineage, found.pipeline)
    with screen.showing(f"{found.pipeline}, run {found.id} resumed"), _interruptible(screen, stop):
        report = resume_run(found.id, settings, emitter.around(screen.step), stop)
    emitter.end(report)
    screen.warn(emitter.problem)
    return report


def _settings(screen: "Screen", options: dict[str, Any]) -> "Settings":
    from ..orchestration.run import Settings, author_path

    return Settings(
        root=Path(options["root"]),
        store=options["store"],
        workers=options["workers"],
        isolate=options["isolate"],
        containers=options["containers"],
        use_cache=not options["no_cache"],
        explain=screen.explain,
        sys_path=author_path(),
        pipeline_root=options["pipeline_root"],
        copies_limit=int(options["copies_limit"] * 10**9),
    )


@contextmanager
def _interruptible(screen: "Screen", stop: "Stop") -> Iterator[None]:
    """Let Ctrl-C ask the run to stop instead of breaking into it; SIGTERM stops it now."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        screen.stopping(now=stop())

    def terminated(number: int, frame: FrameType | None) -> None:
        stop()
        screen.stopping(now=stop())

    before = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGINT, interrupted), (signal.SIGTERM, terminated))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
