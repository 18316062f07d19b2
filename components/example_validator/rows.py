"""The rows that break rules: counted, sampled, and put aside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ...data.examples import read_schema, shard_paths, split_folder
from ...errors import PenstockError
from .row_rules import RowRule
from .sql import answered, check_rule, literal, locked_database, quoted, reason_of, select

# What DuckDB calls a row's place in Parquet: which of the files it is in, and the row there.
SHARD, ROW = "file_index", "file_row_number"
RULES_AT_ONCE = 200
SAMPLE_SCHEMA = {
    "rule": pa.string(),
    "feature": pa.string(),
    "shard": pa.string(),
    "row": pa.int64(),
    "value": pa.string(),
}


@dataclass(frozen=True)
class SplitRows:
    """The rows of a split, open for questions.

    Attributes:
        database: Holds them as `examples`, with `file_index` and `file_row_number`.
        columns: The columns of the examples.
        shards: The shards, such as `Split-train/part-00000.parquet`.
    """

    database: duckdb.DuckDBPyConnection
    columns: pa.Schema
    shards: tuple[str, ...]

    def place(self, shard: int) -> str:
        """Return a shard's path in the artifact."""
        return self.shards[shard]


@contextmanager
def open_split(path: str | os.PathLike[str], split: str, spill: Path) -> Iterator[SplitRows]:
    """Open the rows of a split.

    Args:
        path: The examples' folder.
        split: The split.
        spill: Where a folder may be made for what does not fit into memory.

    Raises:
        PenstockError: The split is unknown, a shard cannot be read, or SQL cannot tell the
            columns' names apart.
    """
    files = shard_paths(path, split)
    columns = read_schema(path, split)
    _check_names(columns.names)
    with locked_database(files, spill) as database:
        chosen = [*map(quoted, columns.names), SHARD, ROW]
        listed = ", ".join(literal(str(file)) for file in files)
        try:
            database.sql(select(chosen, f"read_parquet([{listed}])")).create_view("examples")
        except duckdb.Error as error:
            raise PenstockError(
                f"The shards of split {split!r} of {path} cannot be read ({reason_of(error)}); run "
                "example_gen again."
            ) from error
        shards = tuple(f"{split_folder(split)}/{file.name}" for file in files)
        yield SplitRows(database, columns, shards)


def check_rules(rows: SplitRows, rules: Sequence[RowRule]) -> None:
    """Check rules of the author's against the columns there are.

    Raises:
        PenstockError: One is not an SQL expression that is true or false.
    """
    for rule in rules:
        check_rule(rows.database, rule.name, rule.sql, "examples")


def count_offending(rows: SplitRows, rules: Sequence[RowRule]) -> list[int]:
    """Return how many rows break each rule.

    One pass asks whether any row breaks some rule of a feature, and a second one counts, for the
    features where it does: most data is good, and one question is cheaper than six.

    Raises:
        PenstockError: A rule cannot be computed for some row.
    """
    groups: dict[str | int, list[int]] = {}
    for place, rule in enumerate(rules):
        groups.setdefault(place if rule.feature is None else rule.feature, []).append(place)
    together = [
        # A conjunction is false where one of its parts is, whatever is unknown.
        " AND ".join(dict.fromkeys(f"(\n{rules[place].sql}\n)" for place in places))
        for places in groups.values()
    ]
    asked = [(rules[places[0]], sql) for places, sql in zip(groups.values(), together, strict=True)]
    broken = _counts(rows, asked)
    counts = [0] * len(rules)
    again: list[int] = []
    for places, count in zip(groups.values(), broken, strict=True):
        if count and len(places) > 1:
            again += places
        else:
            counts[places[0]] = count
    each = [(rules[place], rules[place].sql) for place in again]
    for place, count in zip(again, _counts(rows, each), strict=True):
        counts[place] = count
    return counts


def _counts(rows: SplitRows, asked: Sequence[tuple[RowRule, str]]) -> list[int]:
    """Return for how many rows each expression is false; errors name its rule."""
    counts: list[int] = []
    for start in range(0, len(asked), RULES_AT_ONCE):
        some = asked[start : start + RULES_AT_ONCE]
        counted = [f"count(*) FILTER (WHERE NOT r{place})" for place in range(len(some))]
        query = select(counted, answered([sql for _, sql in some], "examples", ()))
        try:
            found = rows.database.sql(query).fetchall()[0]
        except duckdb.Error as error:
            if len(some) == 1:
                raise _cannot_compute(some[0][0], error) from error
            # One after another, to find which one it is.
            found = tuple(_counts(rows, [each])[0] for each in some)
        counts += found
    return counts


def sample_offending(rows: SplitRows, rule: RowRule, limit: int) -> pa.Table:
    """Return the first rows that break a rule, in the order of the shards.

    Returns:
        At most `limit` rows with the columns of `SAMPLE_SCHEMA` and `example`, the row itself.
    """
    value = "NULL" if rule.feature is None else _shown(rows, rule.feature)
    columns = [f"{SHARD} AS shard", f'{ROW} AS "row"', f'{value} AS "value"', _row(rows)]
    first = f"WHERE NOT r0 ORDER BY {SHARD}, {ROW} LIMIT {limit}"
    query = select(columns, answered([rule.sql], "examples"), first)
    found = rows.database.sql(query).to_arrow_table()
    shards = [rows.place(shard) for shard in found["shard"].to_pylist()]
    sample = {
        "rule": pa.array([rule.name] * len(found), pa.string()),
        "feature": pa.array([rule.feature] * len(found), pa.string()),
        "shard": pa.array(shards, pa.string()),
        "row": found["row"].cast(pa.int64()),
        "value": found["value"].cast(pa.string()),
        "example": found["example"],
    }
    return pa.table(sample)


def rows_to_put_aside(rows: SplitRows, rules: Sequence[RowRule]) -> Iterator[pa.RecordBatch]:
    """Yield the rows that break any of the rules, in the order of the shards.

    Yields:
        Batches of `rules` (a list of what each row breaks), `shard`, `row` and `example`.
    """
    names = ", ".join(
        f"CASE WHEN NOT r{place} THEN {literal(name_of(rule))} END"
        for place, rule in enumerate(rules)
    )
    broken = " OR ".join(f"NOT r{place}" for place in range(len(rules)))
    columns = [
        f"list_filter([{names}], lambda n: n IS NOT NULL) AS rules",
        f"{SHARD} AS shard",
        f'{ROW} AS "row"',
        _row(rows),
    ]
    rest = f"WHERE {broken} ORDER BY {SHARD}, {ROW}"
    query = select(columns, answered([rule.sql for rule in rules], "examples"), rest)
    for batch in rows.database.sql(query).to_arrow_reader():
        shards = [rows.place(shard) for shard in batch.column("shard").to_pylist()]
        arrays = [
            batch.column("rules"),
            pa.array(shards, pa.string()),
            batch.column("row").cast(pa.int64()),
            batch.column("example"),
        ]
        yield pa.RecordBatch.from_arrays(arrays, ["rules", "shard", "row", "example"])


def name_of(rule: RowRule) -> str:
    """Return what a rule is called where rules of several features stand together."""
    return rule.name if rule.feature is None else f"{rule.feature}: {rule.name}"


def _row(rows: SplitRows) -> str:
    fields = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in rows.columns.names)
    return f"struct_pack({fields}) AS example"


def _shown(rows: SplitRows, feature: str) -> str:
    """Return a feature's value as text of bounded length; bytes as DuckDB escapes them."""
    if feature not in rows.columns.names:
        return "NULL"
    return f"left(CAST({quoted(feature)} AS VARCHAR), 200)"


def _check_names(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise PenstockError(
                f"The examples have the columns {other!r} and {name!r}, which SQL does not tell "
                "apart; rename one before example_gen, or validate without examples."
            )
    for name in (SHARD, ROW):
        if name in seen:
            raise PenstockError(
                f"The examples have a column {seen[name]!r}, the name of a row's place in its "
                "shard; rename it before example_gen, or validate without examples."
            )


def _cannot_compute(rule: RowRule, error: Any) -> PenstockError:
    return PenstockError(
        f"The rule {name_of(rule)!r} cannot be computed for every row ({reason_of(error)}); mend "
        "it, such as with try_cast in place of a cast."
    )
