"""Slices by SQL, in the form of TFDV's and TFMA's slicing queries, evaluated by DuckDB.

Their own engine is not in every release of tfx_bsl. The form is theirs:
`SELECT STRUCT(carrier, origin AS airport) FROM example.carrier, example.origin WHERE ...` gives
slices such as `carrier` UA, `airport` JFK; a value is text, `NULL` where there is none.
Expressions are DuckDB's SQL.
"""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import PenstockError
from .arrow_kinds import is_list

Rows = np.ndarray[Any, Any]
# Names and values, in the order in which they were selected.
SliceKey = tuple[tuple[str, str], ...]
NAME = r'"(?:[^"]|"")+"|\w+'
FEATURE = rf"example\.({NAME})(?:\s+(?:AS\s+)?(?!WHERE\b)({NAME}))?"
AFTER = re.compile(
    rf"\s*(?:FROM\s+(?P<features>{FEATURE}(?:\s*,\s*{FEATURE})*)\s*)?(?:\bWHERE\b(?P<where>.+?))?"
    r"\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)
FORM = 'write it as "SELECT STRUCT(feature [AS name], ...) [FROM example.feature, ...] [WHERE ...]"'


@dataclass(frozen=True)
class SliceQuery:
    """A slicing query in its parts: what is selected, the features and their names, the filter.

    `place` is where it was given, for errors.
    """

    place: str
    text: str
    selected: str
    features: tuple[tuple[str, str], ...]
    where: str


def slice_queries(sqls: Sequence[str], places: Sequence[str]) -> tuple[SliceQuery, ...]:
    """Return slicing queries in their parts.

    Args:
        sqls: The queries.
        places: Where each was given, for errors, such as `slice_sqls[0]`.

    Raises:
        PenstockError: One is not of the form.
    """
    return tuple(_parsed(text, place) for text, place in zip(sqls, places, strict=True))


class SqlSlicer:
    """Finds the rows of each slice.

    Args:
        queries: What to select.
        schema: The columns that there are.
    """

    def __init__(self, queries: Sequence[SliceQuery], schema: pa.Schema) -> None:
        import duckdb

        self.queries = queries
        self.schema = schema
        self._database = duckdb.connect(config={"threads": 1})

    def slices_of_shard(self, shard: str, limit: int | None = None) -> dict[SliceKey, Rows]:
        """Return the numbers of each slice's rows, ascending.

        A row that several queries, or several values of a list, put in one slice counts there once.

        Args:
            shard: A Parquet file of the examples.
            limit: How many rows to look at; all when None.

        Raises:
            PenstockError: A query does not fit the columns.
        """

        def rows() -> Any:
            found = self._database.read_parquet(glob.escape(shard), file_row_number=True)
            return found if limit is None else found.limit(limit)

        return self._slices(rows)

    def slices_of_batch(self, batch: pa.RecordBatch) -> dict[SliceKey, Rows]:
        """Return the numbers of each slice's rows in a batch; see `slices_of_shard`."""
        # By way of a file: DuckDB does not take the Arrow that every supported pyarrow gives.
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            pq.write_table(pa.Table.from_batches([batch]), file.name, compression="none")
            return self.slices_of_shard(file.name)

    def _slices(self, rows: Callable[[], Any]) -> dict[SliceKey, Rows]:
        found: dict[SliceKey, list[Rows]] = {}
        for query in self.queries:
            for key, numbers in self._run(query, rows):
                found.setdefault(key, []).append(numbers)
        return {key: np.unique(np.concatenate(parts)) for key, parts in found.items()}

    def _run(self, query: SliceQuery, rows: Callable[[], Any]) -> Iterator[tuple[SliceKey, Rows]]:
        import duckdb

        try:
            chosen = self._selected(query, rows())
            names, kinds = chosen.columns[1:], chosen.types[1:]
            for name in names:
                if not re.fullmatch(r"\w+", name) and name not in self.schema.names:
                    raise PenstockError(
                        f"{query.place} selects {name}, which has no name for the slices; give it "
                        "one by AS."
                    )
            values = [_value(n, str(kind)) for n, kind in zip(names, kinds, strict=True)]
            keys = chosen.project(f"[{', '.join(values)}] AS key, __row")
            found = keys.aggregate("key, list(DISTINCT __row) AS rows", "key").to_arrow_table()
            for key, numbers in zip(found["key"].to_pylist(), found["rows"], strict=True):
                yield tuple(zip(names, key, strict=True)), numbers.values.to_numpy()
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise PenstockError(
                f"{query.place} {query.text!r} cannot be evaluated ({reason}); expressions are "
                "DuckDB's, words in single quotes."
            ) from error

    def _selected(self, query: SliceQuery, rows: Any) -> Any:
        """Return a DuckDB relation of the rows' numbers and what is selected."""
        for feature, _ in query.features:
            if feature not in self.schema.names:
                raise PenstockError(
                    f"{query.place} {query.text!r} names the feature {feature!r}, which is not "
                    f"among the columns; there are {', '.join(self.schema.names)}."
                )
        # A column that the query's text does not name need not be read.
        columns = columns_named(query, self.schema.names)
        packed = ", ".join(f"{_quoted(name)} := {_quoted(name)}" for name in columns)
        example = f"struct_pack({packed})" if columns else "NULL"
        known = [_quoted(name) for name in columns]
        for name in columns:
            if name not in rows.columns:
                raise PenstockError(
                    f"{query.place} {query.text!r} names {name!r}, and another column has that "
                    "name but for upper and lower case, which SQL does not tell apart; rename one."
                )
        rows = rows.project(_list("file_row_number AS __row", f"{example} AS example", *known))
        for feature, name in query.features:
            value = f"example.{_quoted(feature)}"
            if is_list(self.schema.field(feature).type):
                value = f"unnest({value})"
            known = [column for column in known if column != _quoted(name)]
            rows = rows.project(_list("__row", "example", *known, f"{value} AS {_quoted(name)}"))
            rows = rows.filter(f"{_quoted(name)} IS NOT NULL")
            known.append(_quoted(name))
        return rows.filter(query.where).project(_list("__row", query.selected))


def columns_named(query: SliceQuery, columns: Sequence[str]) -> list[str]:
    """Return which of the columns a query may name: no other need be read."""
    return [name for name in columns if _is_named(name, query)]


def _parsed(text: str, place: str) -> SliceQuery:
    start = re.match(r"\s*SELECT\s+STRUCT\s*\(", text, re.IGNORECASE)
    end = _closing(text, start.end()) if start else None
    rest = None if end is None else AFTER.fullmatch(text, end + 1)
    if start is None or end is None or rest is None or not text[start.end() : end].strip():
        raise PenstockError(f"{place} is {text!r}; {FORM}.")
    features = [
        (_unquoted(feature), _unquoted(name or feature))
        for feature, name in re.findall(FEATURE, rest["features"] or "", re.IGNORECASE)
    ]
    selected, where = text[start.end() : end], (rest["where"] or "TRUE").strip()
    return SliceQuery(place, text, _as_text(selected), tuple(features), _as_text(where))


def _as_text(expression: str) -> str:
    """Return an expression with literals of bytes, in which TFMA compares text, as text."""
    tokens = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<!\w)[bB](?=')"
    return re.sub(tokens, lambda token: "" if token[0] in ("b", "B") else token[0], expression)


def _closing(text: str, start: int) -> int | None:
    """Return where the parenthesis that was opened before `start` closes."""
    depth = 1
    for token in re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]", text[start:]):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            return start + token.start()
    return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _is_named(column: str, query: SliceQuery) -> bool:
    word = rf"(?<!\w){re.escape(column)}(?!\w)"
    return column in dict(query.features) or re.search(word, query.text) is not None


def _list(*expressions: str) -> str:
    return ", ".join(expressions)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _value(name: str, kind: str) -> str:
    """Return SQL for a value in TFDV's spelling: `2`, also of 2.0, or `NULL`."""
    value = f"CAST({_quoted(name)} AS VARCHAR)"
    if kind in ("DOUBLE", "FLOAT"):
        value = f"regexp_replace({value}, '\\.0$', '')"
    return f"coalesce({value}, 'NULL')"
