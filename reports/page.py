"""How a report becomes one self-contained HTML page: the shared look, and values in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

# A value from the data is cut after so many characters.
CHARACTERS = 60

_FOLDER = Path(__file__).parent


def render_page(template: Path, **content: Any) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    Everything in `content` is text, never markup. The filters `number`, `share` and `cut` are this
    module's functions.

    Args:
        template: A Jinja template that extends `page.html`; it may import `parts.html`.
        content: What the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, share=share, cut=cut)
    return environment.from_string(template.read_text(encoding="utf-8")).render(**content)


def number(value: float) -> str:
    """Return a number in the few digits that people read."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "∞", "-inf": "\N{MINUS SIGN}∞"}.get(str(value), "NaN")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "\N{MINUS SIGN}")
    text = f"{value:,.5g}" if abs(value) < 1e4 else f"{value:,.1f}"
    if abs(value) >= 1e15:
        text = f"{value:.3e}"
    return text.replace("-", "\N{MINUS SIGN}")


def share(part: float | None) -> str:
    """Return a share as a percentage; what is not quite none or all is never said to be."""
    if part is None:
        return "\N{EN DASH}"
    if 0 < part < 0.001:
        return "< 0.1%"
    if 0.999 < part < 1:
        return "> 99.9%"
    return f"{100 * part:.0f}%" if part in (0, 1) else f"{100 * part:.1f}%"


def cut(text: str, characters: int = CHARACTERS) -> str:
    """Return `text`, cut after so many characters."""
    return text if len(text) <= characters else text[: characters - 1] + "\N{HORIZONTAL ELLIPSIS}"
