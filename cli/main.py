"""The `penstock` command. Heavy imports wait until a command needs them."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from .. import __version__
from ..errors import PenstockError

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


_params = click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline; lists and objects as JSON. May be repeated.",
)


@cli.command(
    help=f"Run a pipeline on this machine.\n\n{TARGET}  path/to/pipeline.yaml       "
    f"a compiled pipeline\n\n{EXIT_CODES}"
)
@click.argument("target")
@_params
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("penstock-runs"),
    envvar="PENSTOCK_ROOT",
    show_envvar=True,
    show_default=True,
    help="Where runs and their artifacts lie.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="the cores",
    help="How many independent steps run side by side.",
)
@click.option("--isolate", is_flag=True, help="Give every step a process of its own.")
def run(target: str, params: tuple[str, ...], root: Path, workers: int, isolate: bool) -> None:
    """Run a pipeline on this machine."""
    from ..orchestration import run as runner
    from ..orchestration.parameters import read_parameters
    from ..orchestration.report import State
    from ..orchestration.target import load
    from .show import Screen

    pipeline = load(target)
    given = read_parameters(pipeline, params)
    settings = runner.here(runner.Settings(root=root, workers=workers, isolate=isolate))
    stop = runner.Stop()
    with Screen(pipeline.name) as screen:

        def interrupted(number: int, frame: FrameType | None) -> None:
            screen.stopping(now=stop())

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            report = runner.run_pipeline(pipeline, given, settings, screen.step, stop)
        finally:
            signal.signal(signal.SIGINT, before)
    screen.summary(report)
    if report.state is State.STOPPED:
        sys.exit(130)
    sys.exit(0 if report.state is State.SUCCEEDED else 1)


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
