"""How runs and artifacts are put in words and colours."""

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..metadata.values import Execution, Run

COLOURS = {
    "RUNNING": "blue",
    "COMPLETE": "green",
    "CACHED": "cyan",
    "FAILED": "bold red",
    "CANCELED": "yellow",
    "LOST": "magenta",
}


def console_of() -> "Console":
    """Return where to print; what is not a terminal gets whole lines."""
    from rich.console import Console

    wide = not sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=wide, width=10_000 if wide else None)


def table_of(*columns: str, title: str | None = None) -> "Table":
    """Return an empty table with these columns."""
    from rich.table import Table

    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
        title=title,
        title_justify="left",
        title_style="bold",
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_section(console: "Console", title: str, values: Iterable[tuple[str, Any]]) -> None:
    """Print names and values under a title, unless there are none."""
    table = table_of("", "", title=title)
    table.show_header = False
    for name, value in values:
        table.add_row(f"  {plain(name)}", plain(short(value)))
    if table.row_count:
        console.print(table)


def state(thing: "Run | Execution") -> str:
    """Return how a run or step stands, in colour."""
    word = "LOST" if thing.lost else thing.state.value
    return f"[{COLOURS[word]}]{word.lower()}[/]"


def when(moment: datetime) -> str:
    """Return a time in the reader's own time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def seconds(value: float) -> str:
    """Return a duration for people: `0.2 s`, `12 s`, `3 min 05 s`."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def duration(thing: "Run | Execution") -> str:
    """Return how long a run or step took; nothing while it runs."""
    return "" if thing.seconds is None else seconds(thing.seconds)


def digest(value: str | None) -> str:
    """Return the first digits of a digest."""
    return (value or "").removeprefix("sha256:")[:12]


def short(value: Any) -> str:
    """Return a JSON value in at most 60 characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain(text: str) -> str:
    """Return text in which rich finds no markup."""
    from rich.markup import escape

    return escape(text)
