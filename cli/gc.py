"""`penstock gc`: make room, without touching what is still needed."""

import re
from collections.abc import Sized
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PenstockError
from .store import as_json, open_store, print_json, stored
from .words import console_of, plain, table_of

if TYPE_CHECKING:
    from ..metadata.garbage import Garbage

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SHOWN = 20


@click.command()
@stored
@click.option(
    "--keep", type=click.IntRange(min=0), metavar="N", help="The last N runs of each pipeline."
)
@click.option("--keep-run", multiple=True, metavar="RUN", help="This run. May be repeated.")
@click.option("--newer-than", metavar="AGE", help="Runs of the last 12h, 30d, 4w.")
@click.option("--delete", is_flag=True, help="Delete it. Without this, only say what would be.")
@as_json
def gc(
    root: Path,
    store: str | None,
    keep: int | None,
    keep_run: tuple[str, ...],
    newer_than: str | None,
    delete: bool,
    json_output: bool,
) -> None:
    """Delete the files of runs that are not kept.

    Say at least one of --keep, --keep-run and --newer-than; a run is kept that any of them names,
    or that is at work. What a kept run made or used stays, also what came to it from the cache of
    an older run. Only files that runs made below the root are deleted; what is known of them stays
    in the metadata store.
    """
    from ..metadata.garbage import Keep, delete_garbage, find_garbage
    from ..orchestration.pipeline_root import PipelineRoots

    if keep is None and not keep_run and newer_than is None:
        raise PenstockError("Say what to keep: --keep N, --keep-run RUN or --newer-than AGE.")
    since = None if newer_than is None else datetime.now(timezone.utc) - _age(newer_than)
    with open_store(root, store) as opened:
        runs = frozenset(opened.run(run).id for run in keep_run)
        wanted = Keep(last=keep or 0, runs=runs, newer_than=since)
        stores = PipelineRoots()
        size = find_garbage(opened, root, wanted, stores).size(stores)
        garbage = (delete_garbage if delete else find_garbage)(opened, root, wanted, stores)
    if json_output:
        print_json(_json(garbage, size, delete))
        return
    console = console_of()
    table = table_of("", "")
    table.show_header = False
    for artifact in garbage.artifacts[:SHOWN]:
        table.add_row(artifact.type.removeprefix("system."), plain(artifact.uri))
    for folder in garbage.folders[:SHOWN]:
        table.add_row("Run", plain(str(folder)))
    for left in garbage.left[:SHOWN]:
        table.add_row("Left", plain(left.url))
    if table.row_count:
        console.print(table)
    more = len(garbage.artifacts) + len(garbage.folders) + len(garbage.left) - table.row_count
    if more:
        console.print(f"... and {more} more.")
    what = (
        f"{_count(garbage.artifacts, 'artifact')} and {_count(garbage.folders, 'run folder')}, "
        f"{_size(size)}"
    )
    kept = f"{_count(garbage.kept, 'run')} kept"
    if delete:
        console.print(f"Deleted {what}; {kept}.")
    else:
        console.print(f"Would delete {what}; {kept}. Nothing is deleted without --delete.")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+)([mhdw])", text)
    if found is None:
        raise PenstockError(
            f"--newer-than {text} is no age; write a number and m, h, d or w, such as 30d."
        )
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _size(size: int) -> str:
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"


def _json(garbage: "Garbage", size: int, deleted: bool) -> dict[str, Any]:
    return {
        "deleted": deleted,
        "bytes": size,
        "artifacts": [{"id": a.id, "uri": a.uri} for a in garbage.artifacts],
        "folders": [str(folder) for folder in garbage.folders],
        "left": [left.url for left in garbage.left],
        "outside": [{"id": a.id, "uri": a.uri} for a in garbage.outside],
        "kept": [run.id for run in garbage.kept],
    }
