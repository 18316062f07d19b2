"""`penstock models`: versions, champions and their history, and how they change."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .store import as_json, print_json
from .words import console_of, digest, plain, print_section, short, table_of, when

if TYPE_CHECKING:
    from ..registry.connection import Registry
    from ..registry.deployments import Entry, Standing
    from ..registry.versions import Version

Command = TypeVar("Command", bound=Callable[..., Any])


def registered(command: Command) -> Command:
    """Give a command the option `--registry`."""
    return click.option(
        "--registry",
        default="penstock-runs/registry",
        envvar="PENSTOCK_REGISTRY",
        show_envvar=True,
        show_default=True,
        metavar="FOLDER|URI",
        help="A folder, or the URI of an MLflow server.",
    )(command)


def changing(command: Command) -> Command:
    """Give a command the options of one who changes the champion."""
    destination = click.option(
        "--destination",
        metavar="FOLDER|URL",
        help="What TensorFlow Serving watches, such as s3://models/flights; '' for none.  "
        "[default: where the champion is served from]",
    )
    return said(destination(command))


def said(command: Command) -> Command:
    """Give a command the options that the history keeps."""
    by = click.option("--by", default="", help="Who does it.  [default: you@this host]")
    why = click.option("--why", default="", help="Why; kept in the history.")
    return by(why(command))


@click.group()
def models() -> None:
    """Show the models of each product, and choose the champion."""


@models.command(name="list")
@click.argument("product", required=False)
@registered
@as_json
def list_models(product: str | None, registry: str, json_output: bool) -> None:
    """List the products, or the versions of one, the newest first."""
    from ..registry.deployments import entries, standing
    from ..registry.versions import products, versions

    opened = _open(registry)
    names = [product] if product else products(opened)
    found = {name: versions(opened, name) for name in names}
    standings = {name: standing(entries(opened, name)) for name in names}
    if json_output:
        print_json({name: [_version(v, standings[name]) for v in found[name]] for name in names})
        return
    if product:
        table = table_of("Version", "", "Blessed", "Metrics", "Registered", "Digest")
        for one in reversed(found[product]):
            table.add_row(
                str(one.number),
                _role(one.number, standings[product]),
                _blessed(one),
                plain(_metrics(one)),
                when(one.created),
                digest(one.digest),
            )
    else:
        table = table_of("Product", "Versions", "Champion", "Challenger")
        for name in names:
            now = standings[name]
            table.add_row(
                plain(name), str(len(found[name])), _or_dash(now.champion), _or_dash(now.challenger)
            )
    if table.row_count:
        console_of().print(table)
    else:
        what = f"versions of {product}" if product else "models"
        click.echo(f"No {what} in the registry at {registry}.")


@models.command(name="show")
@click.argument("product")
@click.argument("version", default="champion")
@registered
@as_json
def show_model(product: str, version: str, registry: str, json_output: bool) -> None:
    """Show one version: its metrics, its blessing, and where it came from.

    VERSION is a number, champion, previous or challenger.
    """
    from ..registry.deployments import entries, standing

    opened = _open(registry)
    found = _find(opened, product, version)
    now = standing(entries(opened, product))
    if json_output:
        print_json(_version(found, now))
        return
    console = console_of()
    role = _role(found.number, now)
    console.print(f"[bold]{plain(product)}[/] version {found.number}  {role}".rstrip())
    console.print(f"Registered {when(found.created)}, {found.digest}")
    blessed, reason = found.stands()
    console.print(f"{'[green]blessed[/]' if blessed else '[red]not blessed[/]'}: {plain(reason)}")
    console.print(f"Files: {plain(found.source)}")
    print_section(console, "Metrics", found.metrics.items())
    print_section(console, "Where it came from", [(k, v) for k, v in found.facts.items() if v])


@models.command(name="compare")
@click.argument("product")
@click.argument("left", metavar="VERSION_A")
@click.argument("right", metavar="VERSION_B")
@registered
@as_json
def compare_models(product: str, left: str, right: str, registry: str, json_output: bool) -> None:
    """Show two versions side by side: metrics, and what they were made from; only differences."""
    opened = _open(registry)
    pair = (_find(opened, product, left), _find(opened, product, right))
    rows: dict[str, tuple[Any, Any]] = {
        "digest": (pair[0].digest, pair[1].digest),
        "blessed": (pair[0].stands()[0], pair[1].stands()[0]),
    }
    for part in ("metrics", "facts"):
        first, second = (_flat(getattr(one, part)) for one in pair)
        for name in dict.fromkeys([*first, *second]):
            rows[f"{part}.{name}"] = (first.get(name), second.get(name))
    different = {name: values for name, values in rows.items() if values[0] != values[1]}
    if json_output:
        print_json({name: {"left": a, "right": b} for name, (a, b) in different.items()})
        return
    table = table_of("", f"version {pair[0].number}", f"version {pair[1].number}", "difference")
    for name, (a, b) in different.items():
        gap = f"{b - a:+.6g}" if isinstance(a, float) and isinstance(b, float) else ""
        table.add_row(plain(name), *(plain(_shown(v)) for v in (a, b)), gap)
    if table.row_count:
        console_of().print(table)
    click.echo(f"{len(different)} different, {len(rows) - len(different)} the same.")


@models.command(name="register")
@click.argument("product")
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--blessing",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The Blessing that the evaluator wrote for this model.",
)
@registered
def register_model(product: str, model: Path, blessing: Path | None, registry: str) -> None:
    """Make a model, a folder that the trainer wrote, a version of a product."""
    from ..evaluation.blessing import read_blessing
    from ..registry.connection import open_registry
    from ..registry.registration import register_version

    record = read_blessing(blessing) if blessing else None
    made = register_version(open_registry(registry), product, model, record)
    click.echo(f"{product} has this model as version {made.number}. {made.stands()[1]}")


@models.command(name="promote")
@click.argument("product")
@click.argument("version")
@registered
@changing
@click.option("--allow-unblessed", is_flag=True, help="Also one that is not blessed; needs --why.")
@click.option(
    "--expect",
    type=click.IntRange(min=0),
    metavar="VERSION",
    help="Only if this is the champion still; 0 for none.",
)
def promote_model(
    product: str,
    version: str,
    registry: str,
    by: str,
    why: str,
    destination: str | None,
    allow_unblessed: bool,
    expect: int | None,
) -> None:
    """Make a version the champion, and serve it from where the champion is served.

    VERSION is a number, previous or challenger.
    """
    from ..registry.served import promote_served

    opened = _open(registry)
    number = _find(opened, product, version).number
    entry = promote_served(
        opened,
        product,
        number,
        destination,
        by=by,
        why=why,
        allow_unblessed=allow_unblessed,
        expected=expect,
    )
    _say(product, entry)


@models.command(name="rollback")
@click.argument("product")
@click.option("--to", type=click.IntRange(min=1), metavar="VERSION", help="An earlier champion.")
@registered
@changing
def roll_back_model(
    product: str, to: int | None, registry: str, by: str, why: str, destination: str | None
) -> None:
    """Make the champion before, or an earlier one, the champion again, and serve it."""
    from ..registry.served import roll_back_served

    _say(product, roll_back_served(_open(registry), product, to, destination, by=by, why=why))


@models.command(name="withdraw")
@click.argument("product")
@registered
@said
def withdraw_model(product: str, registry: str, by: str, why: str) -> None:
    """End the trial of the challenger: a canary's traffic goes back to the champion."""
    from ..registry.served import withdraw_served

    entry = withdraw_served(_open(registry), product, by=by, why=why)
    click.echo(f"Version {entry.version} is no longer the challenger of {product}.")


@models.command(name="history")
@click.argument("product")
@registered
@as_json
def show_history(product: str, registry: str, json_output: bool) -> None:
    """Show what was champion from when to when, who did it and why, the newest first."""
    from ..registry.deployments import deployments, entries

    log = entries(_open(registry), product)
    until = {d.entry.number: d.until for d in deployments(log)}
    if json_output:
        print_json([{**asdict(entry), "until": until.get(entry.number)} for entry in log])
        return
    table = table_of("", "Version", "From", "Until", "By", "Why", "Where")
    for entry in reversed(log):
        live = entry.number in until
        end = until.get(entry.number)
        table.add_row(
            entry.kind,
            f"{entry.version}{'' if entry.blessed else ' [red]not blessed[/]'}",
            when(entry.at),
            (when(end) if end else "[green]now[/]") if live else "",
            plain(entry.by),
            plain(entry.why),
            plain(entry.where),
        )
    if table.row_count:
        console_of().print(table)
    else:
        click.echo(f"{product} was never deployed, says the registry at {registry}.")


def _open(registry: str) -> "Registry":
    from ..registry.connection import open_registry

    return open_registry(registry, create=False)


def _find(registry: "Registry", product: str, which: str) -> "Version":
    from ..errors import PenstockError
    from ..registry.champion import resolve
    from ..registry.promotion import ALIASES
    from ..registry.versions import version

    if which.isdigit():
        return version(registry, product, int(which))
    if which not in ALIASES:
        raise PenstockError(
            f"{which!r} is no version; give a number or one of {', '.join(ALIASES)}."
        )
    found = resolve(registry, product, which)
    if found is None:
        raise PenstockError(
            f"{product} has no {which} in the registry at {registry.where}; give a version's "
            f"number (see `penstock models list {product}`)."
        )
    return found


def _say(product: str, entry: "Entry") -> None:
    where = f", served from {entry.where}" if entry.where else ""
    click.echo(f"Version {entry.version} is the champion of {product}{where}.")


def _version(found: "Version", now: "Standing") -> dict[str, Any]:
    blessed, reason = found.stands()
    return {
        "version": found.number,
        "role": _role(found.number, now),
        "digest": found.digest,
        "registered": found.created,
        "blessed": blessed,
        "reason": reason,
        "metrics": found.metrics,
        "facts": found.facts,
        "source": found.source,
        "tracking_run": found.tracking_run,
    }


def _role(number: int, now: "Standing") -> str:
    roles = ("champion", "challenger", "previous")
    return next((role for role in roles if getattr(now, role) == number), "")


def _blessed(found: "Version") -> str:
    return "[green]yes[/]" if found.stands()[0] else "[red]no[/]"


def _metrics(found: "Version") -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in found.metrics.items())


def _or_dash(number: int | None) -> str:
    return "[dim]-[/]" if number is None else str(number)


def _shown(value: Any) -> str:
    return "-" if value is None else short(value)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, the steps joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
