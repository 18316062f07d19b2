"""The `penstock` command. Heavy imports wait until a command needs them."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from .. import __version__
from ..errors import PenstockError
from .gc import gc
from .lineage import lineage
from .runs import runs

if TYPE_CHECKING:
    from ..orchestration.run import Stop
    from .show import Screen

EXIT_CODES = """\b
Exit codes:
  0    it worked
  1    a step failed
  2    the request was wrong: unknown target, parameter or option
  130  stopped with Ctrl-C
"""
TARGET = """\b
TARGET is one of:
  package.module              a module that has one pipeline
  package.module:function     that pipeline of the module
  path/to/file.py[:function]  the same, from a file
"""


def main() -> None:
    """Run the command line and exit."""
    try:
        cli.main(prog_name="penstock", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except PenstockError as error:
        click.echo(f"penstock: {error}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("penstock: stopped.", err=True)
        sys.exit(130)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, "--version", message="penstock %(version)s")
def cli() -> None:
    """Run and compile Kubeflow pipelines built from Penstock's components."""


for command in (runs, lineage, gc):
    cli.add_command(command)


_params = click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline; lists and objects as JSON. May be repeated.",
)


_root = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("penstock-runs"),
    envvar="PENSTOCK_ROOT",
    show_envvar=True,
    show_default=True,
    help="Where runs and their artifacts lie.",
)
_store = click.option(
    "--store",
    envvar="PENSTOCK_STORE",
    show_envvar=True,
    metavar="PATH|URL",
    show_default="<root>/metadata.sqlite",
    help="The metadata store: an SQLite file, or postgresql://user@host/database.",
)


@cli.command(
    help=f"Run a pipeline on this machine.\n\n{TARGET}  path/to/pipeline.yaml       "
    f"a compiled pipeline\n\n{EXIT_CODES}"
)
@click.argument("target", required=False)
@_params
@_root
@_store
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="the cores",
    help="How many independent steps run side by side.",
)
@click.option("--isolate", is_flag=True, help="Give every step a process of its own.")
@click.option(
    "--containers",
    is_flag=True,
    help="Run every step in its image, Python components too, by podman or docker.",
)
@click.option("--no-cache", is_flag=True, help="Execute every step, also what ran before.")
@click.option("--explain-cache", is_flag=True, help="Say why each step was or was not cached.")
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
    root: Path,
    store: str | None,
    workers: int,
    isolate: bool,
    containers: bool,
    no_cache: bool,
    explain_cache: bool,
    resume: str | None,
    start: str | None,
    end: str | None,
    only: str | None,
    base: str,
) -> None:
    """Run a pipeline on this machine."""
    from ..orchestration import run as runner
    from ..orchestration.parameters import read_parameters
    from ..orchestration.report import RunReport
    from ..orchestration.selection import select
    from ..orchestration.target import load
    from .show import Screen

    stop = runner.Stop()

    def settings() -> runner.Settings:
        return runner.Settings(
            root=root,
            store=store,
            workers=workers,
            isolate=isolate,
            containers=containers,
            use_cache=not no_cache,
            explain=explain_cache,
            sys_path=runner.author_path(),
        )

    if resume:
        if target or params or start or end or only:
            raise PenstockError(
                "--resume continues a run with its own pipeline and parameters; leave out TARGET, "
                "--param, --from, --to and --only."
            )
        with Screen(f"resuming {resume}", explain_cache) as screen, _interruptible(screen, stop):
            report: RunReport = runner.resume_run(resume, settings(), screen.step, stop)
    else:
        if not target:
            raise PenstockError("Say what to run: TARGET, or --resume RUN.")
        pipeline = load(target)
        given = read_parameters(pipeline, params)
        selection = select(pipeline, start=start, end=end, only=only)
        with Screen(pipeline.name, explain_cache) as screen, _interruptible(screen, stop):
            report = runner.run_pipeline(
                pipeline, given, settings(), screen.step, stop, selection=selection, base=base
            )
    where = ["--root", str(root), *(["--store", store] if store else [])]
    screen.summary(report, where, [] if resume else [str(target), *_repeated(params)])
    sys.exit({"done": 0, "failed": 1}.get(report.state.value, 130))


def _repeated(params: tuple[str, ...]) -> list[str]:
    return [word for pair in params for word in ("--param", pair)]


@contextmanager
def _interruptible(screen: "Screen", stop: "Stop") -> Iterator[None]:
    """Let Ctrl-C ask the run to stop instead of breaking into it."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        screen.stopping(now=stop())

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@cli.command(
    name="compile",
    help=f"Compile a pipeline to YAML that Kubeflow accepts.\n\n{TARGET}\n{EXIT_CODES}",
)
@click.argument("target")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write: .yaml or .json.",
)
@_params
def compile_command(target: str, output: Path, params: tuple[str, ...]) -> None:
    """Compile a pipeline to YAML that Kubeflow accepts."""
    from ..orchestration.target import compile_target, write

    write(compile_target(target, params), output)
    click.echo(f"Wrote {output}.")
