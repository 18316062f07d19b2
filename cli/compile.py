"""`penstock compile`: a pipeline to YAML."""

import sys
from pathlib import Path

import click

from .check import is_refused, say
from .options import EXIT_CODES, TARGET, parameters

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="compile",
    help=f"Compile a pipeline to YAML that Kubeflow accepts.\n\n{TARGET}  path/to/pipeline.yaml   "
    f"    a compiled pipeline, to give it other parameters or defaults\n\n{EXIT_CODES}",
)
@click.argument("target")
@click.option("-o", "--output", type=FILE, required=True, help="The file to write: .yaml or .json.")
@parameters
@click.option(
    "--defaults",
    type=FILE,
    help="Resources, secrets, retries and more for the steps: docs/kubeflow.md.",
)
@click.option(
    "--kubernetes",
    type=FILE,
    help="Write the platform document there, not behind the pipeline.",
)
@click.option("--no-check", is_flag=True, help="Write it whatever `penstock check` would say.")
def compile_pipeline(
    target: str,
    output: Path,
    params: tuple[str, ...],
    defaults: Path | None,
    kubernetes: Path | None,
    no_check: bool,
) -> None:
    """Compile a pipeline to YAML that Kubeflow accepts."""
    from ..orchestration.target import compile_target, write

    pipeline = compile_target(target, params)
    if defaults is not None:
        from ..orchestration.kubeflow.defaults import read_defaults
        from ..orchestration.kubeflow.tailoring import tailored

        pipeline = tailored(pipeline, read_defaults(defaults))
    if not no_check:
        from ..orchestration.kubeflow.acceptance import findings

        found = findings(pipeline)
        if found:
            say(found, pipeline.name, err=True)
        if is_refused(found):
            click.echo(f"{output} was not written; --no-check writes it all the same.", err=True)
            sys.exit(1)
    write(pipeline, output, kubernetes)
    click.echo(f"Wrote {output}.")
