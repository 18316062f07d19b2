"""The `penstock` command. Heavy imports wait until a command needs them."""

import io
import sys

import click

from .. import __version__
from ..errors import PenstockError
from .check import check
from .compile import compile_pipeline
from .gc import gc
from .image import image
from .lineage import lineage
from .models import models
from .options import EXIT_CODES
from .run import run
from .runs import runs
from .schema import schema
from .submit import submit


def main() -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without Unicode shows a question mark where others show a tick.
            stream.reconfigure(errors="replace")
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


for command in (run, compile_pipeline, check, submit, runs, lineage, gc, models, schema, image):
    cli.add_command(command)
