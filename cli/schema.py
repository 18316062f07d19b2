"""`penstock schema`: infer, show, diff, merge and check schemas that people review."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PenstockError
from .schema_inputs import is_schema, read_counts, read_text
from .words import console_of, plain, table_of

if TYPE_CHECKING:
    from ..schemas.merging import Conflict

PLACE = click.Path(path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
one_split = click.option("--split", help="The split to count; train, or the only one, by default.")
output = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, instead of the terminal.",
)


@click.group()
def schema() -> None:
    """Infer, show, compare, merge and check schemas.

    A schema is a file in text form (.pbtxt) or the folder of a Schema artifact. Data are the folder
    of Statistics or of Examples, or a CSV, Parquet, JSON lines, Avro or TFRecord file.
    """


@schema.command()
@click.argument("data", type=PLACE)
@output
@one_split
@click.option("--ranges", is_flag=True, help="Give numbers the range that they are found in.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="FEATURE",
    help="A feature that serving rows do not have; may be repeated.",
)
@click.option(
    "--max-domain",
    default=100,
    show_default=True,
    type=click.IntRange(0),
    help="Words that are more than these are not a domain.",
)
@click.option("--no-shapes", is_flag=True, help="Infer no fixed shapes.")
def infer(
    data: Path,
    output: Path | None,
    split: str | None,
    ranges: bool,
    labels: tuple[str, ...],
    max_domain: int,
    no_shapes: bool,
) -> None:
    """Infer a schema from DATA, for people to review."""
    from ..data.remarks import remarks_held_back

    with remarks_held_back():
        from ..schemas.inference import infer_schema
        from ..schemas.text import write

        statistics, _ = _counts(data, split)
        found = infer_schema(
            statistics,
            ranges=ranges,
            max_string_domain_size=max_domain,
            shapes=not no_shapes,
            labels=labels,
        )
    _give(write(found), output)


@schema.command()
@click.argument("path", type=PLACE, metavar="SCHEMA")
@as_json
def show(path: Path, as_json: bool) -> None:
    """Show a SCHEMA: its features, environments, and the digest that pins it."""
    from ..data.schemas import parse_schema
    from ..schemas import schema_digest
    from ..schemas.features import environments
    from ..schemas.table import feature_rows

    text = read_text(path)
    found = parse_schema(text, str(path))
    rows = feature_rows(found)
    if as_json:
        described = {
            "digest": schema_digest(text),
            "environments": environments(found),
            "features": [asdict(row) for row in rows],
        }
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
        return
    console = console_of()
    table = table_of("feature", "type", "presence", "values", "domain", "environments", "limits")
    for row in rows:
        table.add_row(*(plain(str(cell)) for cell in asdict(row).values()))
    console.print(table)
    known = ", ".join(environments(found)) or "none"
    console.print(f"\n{len(rows)} features. Environments: {plain(known)}.")
    console.print(f"Digest: {schema_digest(text)}")


@schema.command()
@click.argument("reviewed", type=PLACE)
@click.argument("new", type=PLACE)
@as_json
@one_split
@click.option(
    "--environment", default="", help="The environment of REVIEWED that the new data belong to."
)
def diff(reviewed: Path, new: Path, as_json: bool, split: str | None, environment: str) -> None:
    """Show what would make REVIEWED like NEW, a schema or data. Changes no file.

    What is printed is a diff that keeps the comments of REVIEWED: `patch -p1` and `git apply` take
    it. Exit code 1 when there are differences, as diff's is.
    """
    from ..data.remarks import remarks_held_back
    from ..data.schemas import parse_schema
    from ..schemas.proposal import propose, propose_update

    text, name = read_text(reviewed), _name(reviewed)
    if new.exists() and is_schema(new):
        target = parse_schema(read_text(new), str(new))
        found = propose(text, target, name=name, source=str(new))
    else:
        with remarks_held_back():
            statistics, source = _counts(new, split)
            rows = int(statistics.datasets[0].num_examples)
            found = propose_update(
                text,
                statistics,
                environment=environment,
                name=name,
                source=f"{source} ({rows:,} rows)",
            )
    if as_json:
        reasons = [{"feature": feature, "reason": reason} for feature, reason in found.reasons]
        changes = [asdict(change) for change in found.changes]
        described = {"changes": changes, "reasons": reasons, "diff": found.diff}
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    elif found.diff:
        click.echo(found.diff, nl=False)
    else:
        click.echo(f"No differences between {reviewed} and {new}.", err=True)
    if found.diff:
        sys.exit(1)


@schema.command()
@click.argument("first", type=PLACE)
@click.argument("second", type=PLACE)
@output
@click.option(
    "--rule",
    type=click.Choice(["first", "second", "wider", "narrower"]),
    help="Who decides where the two contradict each other; nobody by default.",
)
@click.option(
    "--choose",
    "choices",
    multiple=True,
    metavar="PLACE=RULE",
    help="Decide one contradiction, such as carrier.type=second; may be repeated.",
)
def merge(
    first: Path, second: Path, output: Path | None, rule: str | None, choices: tuple[str, ...]
) -> None:
    """Merge two schemas; FIRST keeps its order and comments.

    What only one says is taken. Each contradiction is named; while one is undecided nothing is
    written and the exit code is 1.
    """
    from ..data.schemas import parse_schema
    from ..schemas.merging import merge_schemas
    from ..schemas.text import rewrite

    texts = [read_text(first), read_text(second)]
    one, two = (parse_schema(text, str(p)) for text, p in zip(texts, (first, second), strict=True))
    merged, conflicts = merge_schemas(one, two, rule or "", _choices(choices))
    for conflict in conflicts:
        click.echo(_told(conflict), err=True)
    undecided = sum(not conflict.rule for conflict in conflicts)
    if undecided:
        click.echo(
            f"penstock: {undecided} contradiction{'s'[: undecided != 1]} undecided, so nothing was "
            "written; decide each by --choose PLACE=RULE, or all by --rule.",
            err=True,
        )
        sys.exit(1)
    _give(rewrite(texts[0], merged), output)


@schema.command()
@click.argument("path", type=PLACE, metavar="SCHEMA")
@as_json
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="FEATURE",
    help="A feature that serving rows do not have; may be repeated.",
)
def check(path: Path, as_json: bool, labels: tuple[str, ...]) -> None:
    """Say what is wrong with a SCHEMA as such; exit code 1 when there are errors."""
    from ..data.schemas import parse_schema
    from ..schemas.lint import ERROR, check_schema

    found = check_schema(parse_schema(read_text(path), str(path)), labels)
    errors = sum(finding.severity == ERROR for finding in found)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2, ensure_ascii=False))
    else:
        for finding in found:
            click.echo(str(finding))
        warnings = len(found) - errors
        counts = f"{errors} error{'s'[: errors != 1]}, {warnings} warning{'s'[: warnings != 1]}"
        click.echo(f"{path}: {counts if found else 'no errors'}.")
    if errors:
        sys.exit(1)


def _counts(path: Path, split: str | None) -> tuple[Any, str]:
    if is_schema(path) and path.exists():
        raise PenstockError(
            f"{path} is taken for a schema, not for data; give the folder of Statistics or of "
            "Examples, or a file that ends in .csv, .parquet, .jsonl, .avro or .tfrecord."
        )
    return read_counts(path, split)


def _name(path: Path) -> str:
    """Return the name that a diff gives a file: relative to here when it lies below."""
    from ..data.schemas import SCHEMA

    file = (path / SCHEMA if path.is_dir() else path).absolute()
    here = Path.cwd()
    return file.relative_to(here).as_posix() if file.is_relative_to(here) else file.name


def _choices(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [choice.rpartition("=") for choice in given]
    for choice, (place, _, rule) in zip(given, pairs, strict=True):
        if not place or not rule:
            raise PenstockError(
                f"--choose got {choice!r}; write PLACE=RULE, such as carrier.type=second."
            )
    return {place: rule for place, _, rule in pairs}


def _told(conflict: Conflict) -> str:
    how = f"taken by the rule {conflict.rule}" if conflict.rule else "undecided"
    return (
        f"{conflict.place}: {conflict.first} in the first, {conflict.second} in the second; {how}"
    )


def _give(text: str, file: Path | None) -> None:
    if file is None:
        click.echo(text, nl=False)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_name(f".{file.name}.tmp")
    work.write_text(text, encoding="utf-8")
    work.replace(file)
    click.echo(f"Wrote {file}.")
