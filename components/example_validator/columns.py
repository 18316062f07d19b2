"""Columns of Examples, and fields of the structs in them, as SQL."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from .sql import literal, quoted


@dataclass(frozen=True)
class Column:
    """A column of the examples, or a field of the structs in one.

    Attributes:
        sql: Its value.
        kind: The type of its values.
        depth: How deeply they are listed, 2 at most.
        parent: The struct that it is a field of; empty for a column.
        within: The lists of structs that it is in, outermost first, and what a struct of theirs is
            called in `sql`.
    """

    sql: str
    kind: pa.DataType
    depth: int
    parent: str = ""
    within: tuple[tuple[str, str], ...] = ()

    def each(self, condition: str) -> str:
        """Return the expression that all values satisfy `condition`, which calls a value {v}."""
        if not self.depth:
            return self.everywhere(condition.format(v=self.sql))
        return self.everywhere(all_of(self.values(), "v", condition.format(v="v")))

    def everywhere(self, condition: str) -> str:
        """Return the expression that a condition on the value holds in all structs of a row."""
        for listed, name in reversed(self.within):
            condition = all_of(listed, name, condition)
        return condition

    def present(self, condition: str) -> str:
        """Return the expression that a condition holds wherever the value could be."""
        return self.everywhere(
            f"{self.parent} IS NULL OR {condition}" if self.parent else condition
        )

    def values(self) -> str:
        """Return all values of a listed one in one list."""
        return self.sql if self.depth == 1 else f"flatten({self.sql})"

    def size(self) -> str:
        """Return the number of values; NULL where there is none."""
        if not self.depth:
            return f"CASE WHEN {self.sql} IS NOT NULL THEN 1 END"
        return f"len({self.values()})"

    def shown(self) -> str:
        """Return the value in a row, which is a list where its structs are in lists."""
        sql = self.sql
        for listed, name in reversed(self.within):
            sql = f"list_transform({listed}, lambda {name}: {sql})"
        return sql

    def field(self, name: str) -> Column | None:
        """Return a field of the structs that are the values; None where there is none."""
        place = self.kind.get_field_index(name) if pa.types.is_struct(self.kind) else -1
        if place < 0:
            return None
        parent, within = self.sql, self.within
        if self.depth:
            parent = f"p{len(within)}"
            within = (*within, (self.values(), parent))
        sql = f"struct_extract({parent}, {literal(name)})"
        return _typed(sql, self.kind.field(place).type, parent, within)


def all_of(listed: str, name: str, condition: str) -> str:
    """Return the expression that a condition is false for nothing in a list."""
    return f"len(list_filter({listed}, lambda {name}: NOT ({condition}))) = 0"


def column_of(columns: pa.Schema, path: str) -> Column | None:
    """Return a column, or a field of structs by its path, such as `trip.distance`.

    Returns:
        None where there is no such one, or its lists are nested more than twice.
    """
    if path in columns.names:
        return _typed(quoted(path), columns.field(path).type)
    names = path.split(".")
    for place in range(1, len(names)):
        found = column_of(columns, ".".join(names[:place]))
        for name in names[place:]:
            found = found.field(name) if found else None
        if found:
            return found
    return None


def _typed(
    sql: str, kind: pa.DataType, parent: str = "", within: tuple[tuple[str, str], ...] = ()
) -> Column | None:
    depth = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, depth = kind.value_type, depth + 1
    return Column(sql, kind, depth, parent, within) if depth <= 2 else None
