"""Slices by SQL, in the form of TFDV's slicing queries, evaluated by DuckDB.

TFDV's own engine for them is not in every release of tfx_bsl. The form and the slices' names are
TFDV's: `SELECT STRUCT(carrier, origin AS airport) FROM example.carrier, example.origin WHERE ...`
gives slices such as `carrier_UA_airport_JFK`. Expressions are DuckDB's SQL.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import PenstockError

Rows = np.ndarray[Any, Any]
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
    """A slicing query in its parts: what is selected, the features and their names, the filter."""

    text: str
    selected: str
    features: tuple[tuple[str, str], ...]
    where: str


def slice_queries(
    sqls: Sequence[str] | None, schema: pa.Schema, shard: str
) -> tuple[SliceQuery, ...]:
    """Return the queries that the parameter `slice_sqls` stands for, tried on no rows of a shard.

    Raises:
        PenstockError: One is not of TFDV's form, names an unknown feature, or is no SQL.
    """
    queries = tuple(_parsed(text, place) for place, text in enumerate(sqls or ()))
    if queries:
        SqlSlicer(queries, schema).slices(shard, limit=0)
    return queries


class SqlSlicer:
    """Finds the rows of each slice of a shard.

    Args:
        queries: What to select.
        schema: The columns that are counted.
    """

    def __init__(self, queries: Sequence[SliceQuery], schema: pa.Schema) -> None:
        import duckdb

        self.queries = queries
        self.schema = schema
        self._database = duckdb.connect(config={"threads": 1})

    def slices(self, shard: str, limit: int | None = None) -> dict[str, Rows]:
        """Return the numbers of each slice's rows in the shard, ascending, by the slices' names.

        A row that several queries, or several values of a list, put in one slice counts there once.

        Args:
            shard: A Parquet file of the examples.
            limit: How many rows to look at; all when None.

        Raises:
            PenstockError: A query does not fit the columns.
        """
        found: dict[str, list[Rows]] = {}
        for place, query in enumerate(self.queries):
            for key, rows in self._run(query, place, shard, limit):
                found.setdefault(key, []).append(rows)
        return {key: np.unique(np.concatenate(parts)) for key, parts in found.items()}

    def _run(
        self, query: SliceQuery, place: int, shard: str, limit: int | None
    ) -> Iterator[tuple[str, Rows]]:
        import duckdb

        try:
            chosen = self._selected(query, shard, limit)
            names, kinds = chosen.columns[1:], chosen.types[1:]
            for name in names:
                if not re.fullmatch(r"\w+", name) and name not in self.schema.names:
                    raise PenstockError(
                        f"slice_sqls[{place}] selects {name}, which has no name for the slices; "
                        "give it one by AS."
                    )
            parts = [_key_part(n, str(kind)) for n, kind in zip(names, kinds, strict=True)]
            keys = chosen.project(f"{' || chr(95) || '.join(parts)} AS key, __row")
            for key, rows in keys.aggregate("key, list(DISTINCT __row)", "key").fetchall():
                yield key, np.array(rows)
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise PenstockError(
                f"slice_sqls[{place}] {query.text!r} cannot be evaluated ({reason}); expressions "
                "are DuckDB's, words in single quotes."
            ) from error

    def _selected(self, query: SliceQuery, shard: str, limit: int | None) -> Any:
        """Return a DuckDB relation of the rows' numbers and what is selected."""
        for feature, _ in query.features:
            if feature not in self.schema.names:
                raise PenstockError(
                    f"The slicing query {query.text!r} names the feature {feature!r}, which is "
                    f"not among those counted; there are {', '.join(self.schema.names)}."
                )
        # A column that the query's text does not name need not be read.
        columns = [n for n in self.schema.names if _is_named(n, query)]
        packed = ", ".join(f"{_quoted(name)} := {_quoted(name)}" for name in columns)
        example = f"struct_pack({packed})" if columns else "NULL"
        known = [_quoted(name) for name in columns]
        rows = self._database.read_parquet(glob.escape(shard), file_row_number=True)
        for name in columns:
            if name not in rows.columns:
                raise PenstockError(
                    f"The slicing query {query.text!r} names {name!r}, and another column has that "
                    "name but for upper and lower case, which SQL does not tell apart; rename one."
                )
        rows = rows if limit is None else rows.limit(limit)
        rows = rows.project(_list("file_row_number AS __row", f"{example} AS example", *known))
        for feature, name in query.features:
            value = f"example.{_quoted(feature)}"
            if pa.types.is_list(self.schema.field(feature).type):
                value = f"unnest({value})"
            known = [column for column in known if column != _quoted(name)]
            rows = rows.project(_list("__row", "example", *known, f"{value} AS {_quoted(name)}"))
            rows = rows.filter(f"{_quoted(name)} IS NOT NULL")
            known.append(_quoted(name))
        return rows.filter(query.where).project(_list("__row", query.selected))


def _parsed(text: str, place: int) -> SliceQuery:
    start = re.match(r"\s*SELECT\s+STRUCT\s*\(", text, re.IGNORECASE)
    end = _closing(text, start.end()) if start else None
    rest = None if end is None else AFTER.fullmatch(text, end + 1)
    if start is None or end is None or rest is None or not text[start.end() : end].strip():
        raise PenstockError(f"slice_sqls[{place}] is {text!r}; {FORM}.")
    features = [
        (_unquoted(feature), _unquoted(name or feature))
        for feature, name in re.findall(FEATURE, rest["features"] or "", re.IGNORECASE)
    ]
    selected = text[start.end() : end]
    return SliceQuery(text, selected, tuple(features), (rest["where"] or "TRUE").strip())


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


def _key_part(name: str, kind: str) -> str:
    """Return SQL for a name and its value in TFDV's spelling: `n_2`, also of 2.0, or `n_NULL`."""
    value = f"CAST({_quoted(name)} AS VARCHAR)"
    if kind in ("DOUBLE", "FLOAT"):
        value = f"regexp_replace({value}, '\\.0$', '')"
    label = (name + "_").replace("'", "''")
    return f"'{label}' || coalesce({value}, 'NULL')"
