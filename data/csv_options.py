"""How a CSV file is written: its delimiter, quotes, column names and spellings of null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.csv as pacsv

from ..errors import PenstockError


@dataclass(frozen=True)
class CsvOptions:
    """How a CSV file is written.

    Attributes:
        columns: The columns' names when the file has no first line that names them.
        delimiter: What separates fields, one character.
        quote: What encloses a field, one character; none when empty.
        nulls: The spellings of a missing value; Arrow's own, which are pandas', when None.
        dates: Whether ISO 8601 dates and timestamps become such; they stay text otherwise.
        skip_lines: How many lines before the header or the first row count for nothing.
    """

    columns: tuple[str, ...] | None = None
    delimiter: str = ","
    quote: str = '"'
    nulls: tuple[str, ...] | None = None
    dates: bool = False
    skip_lines: int = 0

    def read(self, **kwargs: Any) -> pacsv.ReadOptions:
        """Return Arrow's options for reading, with `kwargs` added."""
        names = None if self.columns is None else list(self.columns)
        return pacsv.ReadOptions(**{"column_names": names, "skip_rows": self.skip_lines, **kwargs})

    def parse(self, **kwargs: Any) -> pacsv.ParseOptions:
        """Return Arrow's options for parsing, with `kwargs` added."""
        return pacsv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            newlines_in_values=bool(self.quote),
            **kwargs,
        )

    def convert(self, **kwargs: Any) -> pacsv.ConvertOptions:
        """Return Arrow's options for converting, with `kwargs` added."""
        nulls = None if self.nulls is None else list(self.nulls)
        return pacsv.ConvertOptions(strings_can_be_null=True, null_values=nulls, **kwargs)


def csv_options(given: Mapping[str, Any] | None = None) -> CsvOptions:
    """Return the options that a parameter such as `{"delimiter": ";"}` stands for.

    Raises:
        PenstockError: A key is unknown, or a value is not of its kind.
    """
    checks = {
        "columns": ("a list of column names", _is_names),
        "delimiter": ("one character, such as ';'", lambda v: _is_text(v, 1, 1)),
        "quote": ("one character, or '' for none", lambda v: _is_text(v, 0, 1)),
        "nulls": ("a list of words", lambda v: _is_texts(v)),
        "dates": ("true or false", lambda v: isinstance(v, bool)),
        "skip_lines": ("a whole number from 0 on", _is_count),
    }
    values: dict[str, Any] = {}
    for key, value in (given or {}).items():
        if key not in checks:
            raise PenstockError(f"csv has the unknown key {key!r}; known are {', '.join(checks)}.")
        expected, holds = checks[key]
        if not holds(value):
            raise PenstockError(f"csv gives {key} as {value!r}; expected {expected}.")
        values[key] = tuple(value) if isinstance(value, list) else value
    if "skip_lines" in values:
        values["skip_lines"] = int(values["skip_lines"])
    return CsvOptions(**values)


def _is_text(value: object, shortest: int, longest: int) -> bool:
    # Arrow takes one byte for a delimiter or a quote.
    return isinstance(value, str) and shortest <= len(value) <= longest and value.isascii()


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _is_names(value: object) -> bool:
    return bool(value) and _is_texts(value)


def _is_count(value: object) -> bool:
    # Numbers inside a dictionary travel as floats.
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return 0 <= value < float("inf") and value == int(value)
