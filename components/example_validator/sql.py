"""DuckDB for expressions that others wrote: it reads the files it was given, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ...errors import PenstockError


@contextmanager
def locked_database(files: Sequence[Path], spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an empty database in memory whose SQL can open `files` and no others, nor the network.

    Args:
        files: What may be read.
        spill: A folder that is made for what does not fit into memory.
    """
    with duckdb.connect() as database:
        database.execute(f"SET temp_directory = {literal(str(spill))}")
        database.execute(f"SET allowed_paths = [{', '.join(literal(str(f)) for f in files)}]")
        database.execute("SET python_enable_replacements = false")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        yield database


def literal(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def select(columns: Sequence[str], table: str, rest: str = "") -> str:
    """Return a query; what it is made of is ours, quoted, or was checked by `check_rule`."""
    return f"SELECT {', '.join(columns)} FROM {table} {rest}"  # noqa: S608


def answered(sqls: Sequence[str], table: str, columns: Sequence[str] = ("*",)) -> str:
    """Return the table with a rule's answer per row as `r0`, `r1` and so on beside its columns."""
    # On lines of its own, a comment in a rule ends before what follows.
    answers = [f"(\n{sql}\n) AS r{place}" for place, sql in enumerate(sqls)]
    return f"({select([*columns, *answers], table)})"


def check_rule(database: duckdb.DuckDBPyConnection, name: str, sql: str, table: str) -> None:
    """Check that a rule is one expression over `table` that is true or false.

    Raises:
        PenstockError: It does not parse, is more than an expression, names what does not exist, or
            is neither true nor false.
    """
    parsed = database.execute("SELECT json_serialize_sql(?)", [f"SELECT (\n{sql}\n)"]).fetchall()
    tree = json.loads(parsed[0][0])
    if tree.get("error"):
        raise _wrong(name, sql, tree["error_message"])
    nodes = [statement["node"] for statement in tree["statements"]]
    if len(nodes) != 1 or not _is_expression(nodes[0]):
        raise _wrong(name, sql, "it is more than one expression")
    try:
        found = database.sql(select(["r0"], answered([sql], table)))
    except duckdb.Error as error:
        raise _wrong(name, sql, reason_of(error)) from error
    if str(found.types[0]) != "BOOLEAN":
        raise _wrong(name, sql, f"its value is {found.types[0]}, not true or false")


def reason_of(error: Exception) -> str:
    """Return what DuckDB says is wrong, in one phrase."""
    text = str(error).strip().partition("\n")[0]
    return re.sub(r"^[A-Z]\w+ Error: ", "", text).rstrip(".!?")


def _is_expression(node: dict[str, object]) -> bool:
    source = node.get("from_table")
    plain = isinstance(source, dict) and source.get("type") == "EMPTY"
    columns = node.get("select_list")
    rest = ("where_clause", "group_expressions", "having", "qualify", "modifiers")
    single = isinstance(columns, list) and len(columns) == 1
    return plain and single and not any(node.get(key) for key in rest)


def _wrong(name: str, sql: str, reason: str) -> PenstockError:
    shown = " ".join(sql.split())
    return PenstockError(
        f"The rule {name!r} of the data policy, {shown[:200]}, is no SQL expression that is true "
        f"or false ({reason}); mend it, such as distance > 0 AND carrier <> ''."
    )
