"""The rows that break rules: counted, sampled, and put aside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ...data.examples import read_schema, shard_paths
from ...data.positions import SourcePlaces
from ...errors import PenstockError
from .columns import column_of
from .row_rules import RowRule
from .sql import answered, check_rule, literal, locked_database, quoted, reason_of, select
from .verdict import SHOWN

# What DuckDB calls a row's place in Parquet: which of the files it is in, and the row there.
SHARD, ROW = "file_index", "file_row_number"
# Both in one number, in the order of the rows.
ROW_BITS = 40
PLACE = f"({SHARD}::BIGINT << {ROW_BITS}) + {ROW}"
RULES_AT_ONCE = 200
BATCH_ROWS = 20_480
# How many values the samples of a split hold at most, or about so.
CELLS = 4_000_000
PLACE_COLUMNS = ("file", "line", "shard", "row")


@dataclass(frozen=True)
class SplitRows:
    """The rows of a split, open for questions.

    Attributes:
        database: Holds them as `examples`, with `file_index` and `file_row_number`.
        columns: The columns of the examples.
        places: Where the rows stood in their sources.
    """

    database: duckdb.DuckDBPyConnection
    columns: pa.Schema
    places: SourcePlaces


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
    with locked_database(files, spill) as database, closing(SourcePlaces(path, split)) as places:
        chosen = [*map(quoted, columns.names), SHARD, ROW]
        listed = ", ".join(literal(str(file)) for file in files)
        try:
            database.sql(select(chosen, f"read_parquet([{listed}])")).create_view("examples")
        except duckdb.Error as error:
            raise PenstockError(
                f"The shards of split {split!r} of {path} cannot be read ({reason_of(error)}); run "
                "example_gen again."
            ) from error
        yield SplitRows(database, columns, places)


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
    # Several rules of a feature may ask the same, such as all those about its presence.
    again: dict[str, RowRule] = {}
    for places, count in zip(groups.values(), broken, strict=True):
        if count and len(places) > 1:
            again |= {rules[place].sql: rules[place] for place in places}
    counted = _counts(rows, [(rule, sql) for sql, rule in again.items()])
    known = dict(zip(again, counted, strict=True))
    counts = [0] * len(rules)
    for places, count in zip(groups.values(), broken, strict=True):
        for place in places if count else ():
            counts[place] = known[rules[place].sql] if len(places) > 1 else count
    return counts


def _counts(rows: SplitRows, asked: Sequence[tuple[RowRule, str]]) -> list[int]:
    """Return for how many rows each expression is false; errors name its rule."""
    counts: list[int] = []
    for start in range(0, len(asked), RULES_AT_ONCE):
        some = asked[start : start + RULES_AT_ONCE]
        # A filter on count(*) takes six times as long.
        counted = [f"coalesce(count_if(NOT r{place}), 0)" for place in range(len(some))]
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


def sample_offending(
    rows: SplitRows, rules: Sequence[RowRule], counts: Sequence[int], limit: int
) -> list[pa.Table]:
    """Return the first rows that break each rule, in the order of the shards.

    All are looked for together, in one pass over the data, and read together in another one. Of
    very many rules fewer rows each are kept, but never fewer than `SHOWN`, so that there are about
    `CELLS` values.

    Args:
        rows: The split's rows.
        rules: The rules.
        counts: How many rows break each.
        limit: How many rows of each are wanted.

    Returns:
        For each rule at most `limit` rows, with `rule`, `feature`, `file`, `line`, `shard`, `row`,
        `value` (the feature's, as text) and `example`, the row itself.
    """
    limit = min(limit, max(CELLS // max(len(rules) * len(rows.columns), 1), SHOWN))
    places: list[np.ndarray[Any, Any]] = []
    for start in range(0, len(rules), RULES_AT_ONCE):
        wanted = [min(limit, count) for count in counts[start : start + RULES_AT_ONCE]]
        places += _first_places(rows, rules[start : start + RULES_AT_ONCE], wanted)
    every = np.unique(np.concatenate([np.zeros(0, np.int64), *places]))
    features = dict.fromkeys(rule.feature for rule in rules if rule.feature is not None)
    whole = _rows_at(rows, every, list(features))
    found = rows.places.find(every >> ROW_BITS, every & ((1 << ROW_BITS) - 1))
    parts = []
    for rule, some in zip(rules, places, strict=True):
        at = pa.array(np.searchsorted(every, some))
        value = pa.nulls(len(some), pa.string())
        if rule.feature is not None:
            value = whole[f"v{list(features).index(rule.feature)}"].take(at)
        sample = {
            "rule": pa.array([rule.name] * len(some), pa.string()),
            "feature": pa.array([rule.feature] * len(some), pa.string()),
            **{name: found[name].take(at) for name in found.column_names},
            "value": value,
            "example": whole["example"].take(at),
        }
        parts.append(pa.table(sample))
    return parts


def _first_places(
    rows: SplitRows, rules: Sequence[RowRule], wanted: Sequence[int]
) -> list[np.ndarray[Any, Any]]:
    """Return the places of the first so many rows that break each rule, all of which there are."""
    names = [f"r{place}" for place in range(len(rules))]
    query = select(
        [PLACE, *names],
        answered([rule.sql for rule in rules], "examples", (SHARD, ROW)),
        f"WHERE NOT ({' AND '.join(names)})",
    )
    found = [np.zeros(0, np.int64) for _ in rules]
    # Batches come in any order; most bring nothing that is before what was found.
    with rows.database.sql(query).to_arrow_reader(BATCH_ROWS) as reader:
        for batch in reader:
            here = batch.column(0).to_numpy()
            first = here.min(initial=np.iinfo(np.int64).max)
            for place, number in enumerate(wanted):
                if len(found[place]) == number and found[place].max(initial=-1) < first:
                    continue
                answers = batch.column(place + 1).fill_null(True)
                offending = here[~answers.to_numpy(zero_copy_only=False)]
                found[place] = np.sort(np.concatenate([found[place], offending]))[:number]
    return found


def _rows_at(rows: SplitRows, places: np.ndarray[Any, Any], features: Sequence[str]) -> pa.Table:
    """Return rows by their places, in ascending order: `example`, and features as text, `v0`."""
    listed = ", ".join(map(str, places.tolist()))
    wanted = f"(SELECT unnest([{listed}]::BIGINT[]) AS place)"
    values = [f"{_shown(rows, name)} AS v{place}" for place, name in enumerate(features)]
    query = select(
        [*values, _row(rows)], f"examples JOIN {wanted} ON place = {PLACE}", "ORDER BY place"
    )
    return rows.database.sql(query).to_arrow_table()


def rows_to_put_aside(rows: SplitRows, rules: Sequence[RowRule]) -> Iterator[pa.RecordBatch]:
    """Yield the rows that break any of the rules, in the order of the shards.

    Yields:
        Batches of `rules` (a list of what each row breaks), `file`, `line`, `shard`, `row` and
        `example`.
    """
    names = ", ".join(
        f"CASE WHEN NOT r{place} THEN {literal(name_of(rule))} END"
        for place, rule in enumerate(rules)
    )
    broken = " OR ".join(f"NOT r{place}" for place in range(len(rules)))
    columns = [
        f"list_filter([{names}], lambda n: n IS NOT NULL) AS rules",
        SHARD,
        ROW,
        _row(rows),
    ]
    rest = f"WHERE {broken} ORDER BY {SHARD}, {ROW}"
    query = select(columns, answered([rule.sql for rule in rules], "examples"), rest)
    for batch in rows.database.sql(query).to_arrow_reader():
        found = rows.places.find(batch.column(SHARD).to_numpy(), batch.column(ROW).to_numpy())
        arrays = [
            batch.column("rules"),
            *(found[name].combine_chunks() for name in PLACE_COLUMNS),
            batch.column("example"),
        ]
        yield pa.RecordBatch.from_arrays(arrays, ["rules", *PLACE_COLUMNS, "example"])


def name_of(rule: RowRule) -> str:
    """Return what a rule is called where rules of several features stand together."""
    return rule.name if rule.feature is None else f"{rule.feature}: {rule.name}"


def _row(rows: SplitRows) -> str:
    fields = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in rows.columns.names)
    return f"struct_pack({fields}) AS example"


def _shown(rows: SplitRows, feature: str) -> str:
    """Return a feature's value as text of bounded length; bytes as DuckDB escapes them."""
    column = column_of(rows.columns, feature)
    return "NULL" if column is None else f"left(CAST({column.shown()} AS VARCHAR), 200)"


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
