"""`penstock lineage`: where an artifact came from, and what it led to."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PenstockError
from .store import as_json, open_store, print_json, stored
from .words import console_of, digest, plain

if TYPE_CHECKING:
    from rich.tree import Tree

    from ..metadata.lineage import Lineage, Step
    from ..metadata.values import Artifact


@click.command()
@click.argument("artifact")
@stored
@click.option(
    "--depth",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="So many steps in each direction.",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.svg",
    help="Draw it too.",
)
@as_json
def lineage(
    artifact: str,
    root: Path,
    store: str | None,
    depth: int,
    picture: Path | None,
    json_output: bool,
) -> None:
    """Show where an artifact came from and what it led to.

    \b
    ARTIFACT is one of:
      12                 its number, as `penstock runs show` lists them
      path or URI        where it lies; a file in it will do
      sha256:5f2a09      its digest, or the beginning of one
      trainer/model@RUN  what a step of a run made; also by step, output or name
    """  # noqa: D301 - \b keeps click from wrapping the lines
    from ..metadata.lineage import lineage as find_lineage

    with open_store(root, store) as opened:
        found = find_lineage(opened, opened.find(artifact), depth=depth)
    if picture is not None:
        _write(picture, found)
    if json_output:
        print_json(_json(found))
        return
    console = console_of()
    console.print(_tree(found))
    if found.repeated:
        console.print(f"[dim]Not shown: {found.repeated} cached steps that repeat one above.[/]")
    if found.truncated:
        console.print("[yellow]There is more: this is what is nearest; see --depth.[/]")
    if picture is not None:
        console.print(f"Wrote {plain(str(picture))}.")


def _write(picture: Path, found: "Lineage") -> None:
    from ..metadata.picture import draw

    try:
        picture.write_text(draw(found), encoding="utf-8")
    except OSError as error:
        raise PenstockError(
            f"The picture cannot be written to {picture}: {error.strerror}; choose another place."
        ) from error


def _tree(found: "Lineage") -> "Tree":
    from rich.tree import Tree

    top = Tree(f"[bold]{_named(found.artifact)}[/]", guide_style="dim")
    assert found.artifact.id is not None
    before = top.add("[dim]came from[/]")
    maker = found.maker(found.artifact.id)
    if maker is None:
        before.add("[dim]outside: no step made it[/]")
    else:
        _origin(before, maker, found, set())
    after = top.add("[dim]led to[/]")
    users = found.users(found.artifact.id)
    seen: set[int] = set()
    for user in users:
        _use(after, user, found, seen)
    if not users:
        after.add("[dim]nothing[/]")
    return top


def _origin(branch: "Tree", step: "Step", found: "Lineage", seen: set[int]) -> None:
    node = branch.add(_step(step, step.id in seen))
    if step.id in seen:
        return
    seen.add(step.id)
    for artifact_id in dict.fromkeys(step.inputs):
        leaf = node.add(_named(found.artifacts[artifact_id]))
        maker = found.maker(artifact_id)
        if maker is not None:
            _origin(leaf, maker, found, seen)


def _use(branch: "Tree", step: "Step", found: "Lineage", seen: set[int]) -> None:
    node = branch.add(_step(step, step.id in seen))
    if step.id in seen:
        return
    seen.add(step.id)
    for artifact_id in dict.fromkeys(step.outputs):
        leaf = node.add(_named(found.artifacts[artifact_id]))
        for user in found.users(artifact_id):
            _use(leaf, user, found, seen)


def _step(step: "Step", again: bool) -> str:
    word = "" if step.state.value == "COMPLETE" else f", {step.state.value.lower()}"
    more = " [dim]… as above[/]" if again else ""
    return f"[cyan]{plain(step.task)}[/] [dim]{plain(step.pipeline)} {step.run_id}{word}[/]{more}"


def _named(artifact: "Artifact") -> str:
    kind = artifact.type.removeprefix("system.")
    gone = "" if artifact.state.value == "LIVE" else " [red](deleted)[/]"
    parts = [f"#{artifact.id}", digest(artifact.digest), artifact.uri]
    return f"{kind} [dim]{plain('  '.join(part for part in parts if part))}[/]{gone}"


def _json(found: "Lineage") -> dict[str, Any]:
    return {
        "artifact": found.artifact.id,
        "artifacts": [asdict(artifact) for artifact in found.artifacts.values()],
        "origins": [asdict(step) for step in found.origins],
        "uses": [asdict(step) for step in found.uses],
        "repeated": found.repeated,
        "truncated": found.truncated,
    }
