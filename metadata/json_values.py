"""What may be stored: JSON values and text, the same in SQLite and PostgreSQL."""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import PenstockError


def plain(value: Any, where: str) -> Any:
    """Return `value` as JSON that every database keeps, exactly.

    Numbers that JSON does not know become the words that protobuf's JSON uses: `NaN`, `Infinity`
    and `-Infinity`. Tuples become lists.

    Args:
        value: Dictionaries, lists, strings, numbers, booleans, None, nested at will.
        where: What to call it in the error.

    Raises:
        PenstockError: It holds something else.
    """
    if value is None or isinstance(value, bool | int | str):
        return readable(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else _word(value)
    if isinstance(value, Mapping):
        return {readable(str(k)): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise PenstockError(
        f"{where} is a {type(value).__name__}, which cannot be recorded; make it a string, a "
        "number, a boolean, a list or a dictionary."
    )


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def readable(text: str) -> str:
    """Return `text` without what a database refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
