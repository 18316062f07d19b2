"""Where commands find the metadata store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..metadata.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


def stored(command: Command) -> Command:
    """Give a command the options `--root` and `--store`."""
    root = click.option(
        "--root",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("penstock-runs"),
        envvar="PENSTOCK_ROOT",
        show_envvar=True,
        show_default=True,
        help="Where runs and their artifacts lie.",
    )
    store = click.option(
        "--store",
        envvar="PENSTOCK_STORE",
        show_envvar=True,
        metavar="PATH|URL",
        show_default="<root>/metadata.sqlite",
        help="The metadata store: an SQLite file, or postgresql://user@host/database.",
    )
    return root(store(command))


def as_json(command: Command) -> Command:
    """Give a command the option `--json`."""
    return click.option("--json", "json_output", is_flag=True, help="Print JSON.")(command)


def open_store(root: Path, store: str | None) -> "Store":
    """Open the store that is there; reading one never makes one."""
    from ..metadata.store import Store

    return Store.open(store or root.absolute() / "metadata.sqlite", create=False)


def print_json(value: Any) -> None:
    """Print a value as JSON, times as ISO 8601 in UTC."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_as_text))


def _as_text(value: Any) -> str:
    from datetime import datetime

    return value.isoformat() if isinstance(value, datetime) else str(value)
