"""`penstock compile`: a pipeline to YAML."""

from pathlib import Path

import click

from .options import EXIT_CODES, TARGET, parameters


@click.command(
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
@parameters
def compile_pipeline(target: str, output: Path, params: tuple[str, ...]) -> None:
    """Compile a pipeline to YAML that Kubeflow accepts."""
    from ..orchestration.target import compile_target, write

    write(compile_target(target, params), output)
    click.echo(f"Wrote {output}.")
