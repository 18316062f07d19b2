"""What a schema asks of single rows, as SQL expressions that must not be false.

As in SQL's CHECK, a row passes where an expression is unknown: a missing value breaks no range and
no domain, only what is said about its presence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from .columns import Column, all_of, column_of
from .domain_rules import domain_rules, type_rules

NOT_VALIDATED = (
    schema_pb2.PLANNED,
    schema_pb2.ALPHA,
    schema_pb2.DEPRECATED,
    schema_pb2.DEBUG_ONLY,
    schema_pb2.DISABLED,
)


@dataclass(frozen=True)
class RowRule:
    """Something that every row must satisfy.

    Attributes:
        name: The anomaly type, or the name of a rule of the author's.
        feature: What it is about; None for a rule of the author's.
        sql: An expression over the columns; a row offends where it is false.
        wrong: What is wrong with a row that offends: the end of a sentence that begins with
            "3 rows have".
        allowed: The share of offending rows, from 0 to 1, up to which it is no anomaly. None when
            only the statistics can tell: then rows are named when TFDV reports the type.
    """

    name: str
    feature: str | None
    sql: str
    wrong: str
    allowed: float | None = 0.0


def rules_of_schema(
    schema: schema_pb2.Schema, columns: pa.Schema, environment: str = "", weighted: bool = False
) -> list[RowRule]:
    """Return what the schema asks of rows with these columns.

    A row breaks what is asked of a field of structs where one of its structs does. Features that
    are not in the environment, that the data lacks, or whose lists are nested more than twice, ask
    nothing; of values that are neither numbers, booleans nor text, only how many there are counts.

    Args:
        schema: The schema.
        columns: The examples' columns.
        environment: The environment; `""` for none.
        weighted: Whether the statistics are weighted, so that TFDV measures presence by weight.
    """
    rules: list[RowRule] = []
    for feature in schema.feature:
        column = column_of(columns, feature.name)
        if column is not None:
            rules += _asked(feature, feature.name, column, schema, environment, weighted)
    return _merged([*rules, *_sparse(schema, columns), *_weighted(schema, columns)])


def _asked(
    feature: Any,
    path: str,
    column: Column,
    schema: schema_pb2.Schema,
    environment: str,
    weighted: bool,
) -> Iterator[RowRule]:
    """Yield what is asked of a feature and of the fields of its structs."""
    if not is_validated(feature, environment):
        return
    yield from _presence(feature, path, column, weighted)
    yield from _valency(feature, path, column)
    yield from _values(feature, path, column, schema)
    for child in feature.struct_domain.feature:
        field = column.field(child.name)
        if field is not None:
            below = f"{path}.{child.name}"
            yield from _asked(child, below, field, schema, environment, weighted)


def is_validated(feature: Any, environment: str) -> bool:
    """Return whether a feature of the schema is validated in an environment."""
    if feature.deprecated or feature.lifecycle_stage in NOT_VALIDATED:
        return False
    if not environment or environment in feature.in_environment:
        return True
    return environment not in feature.not_in_environment and not feature.in_environment


def _merged(rules: Sequence[RowRule]) -> list[RowRule]:
    """Return one rule per type and feature: levels of nesting have several of each."""
    found: dict[tuple[str, str | None], RowRule] = {}
    for rule in rules:
        key = (rule.name, rule.feature)
        other = found.get(key)
        found[key] = (
            rule if other is None else replace(other, sql=f"({other.sql}) AND ({rule.sql})")
        )
    return list(found.values())


def _presence(feature: Any, path: str, column: Column, weighted: bool) -> Iterator[RowRule]:
    present, wrong = column.present(f"{column.sql} IS NOT NULL"), "no value"
    fraction = feature.presence.min_fraction
    if 0 < fraction <= 1:
        # TFDV counts weights when there are any, and of a field of structs the structs.
        by_rows = fraction == 1 or not (weighted or column.parent)
        name = "FEATURE_TYPE_LOW_FRACTION_PRESENT"
        yield RowRule(name, path, present, wrong, 1 - fraction if by_rows else None)
    for name in ("FEATURE_TYPE_LOW_NUMBER_PRESENT", "FEATURE_TYPE_NOT_PRESENT"):
        yield RowRule(name, path, present, wrong, None)


def _valency(feature: Any, path: str, column: Column) -> Iterator[RowRule]:
    for level, count in enumerate(feature.value_counts.value_count or [feature.value_count]):
        for name, op, limit, wrong in (
            ("FEATURE_TYPE_LOW_NUMBER_VALUES", ">=", count.min, "fewer values than"),
            ("FEATURE_TYPE_HIGH_NUMBER_VALUES", "<=", count.max, "more values than"),
        ):
            asked = count.HasField("min" if op == ">=" else "max")
            sql = _number_of_values(column, level, f"{op} {limit}")
            if asked and sql:
                yield RowRule(name, path, column.everywhere(sql), f"{wrong} {limit}")
    if feature.HasField("shape"):
        size = int(np.prod([dim.size for dim in feature.shape.dim], dtype=np.int64))
        sql = column.present(f"coalesce({column.size()} = {size}, false)")
        wrong = f"not the {size} value{'s'[: size != 1]} of its shape"
        yield RowRule("INVALID_FEATURE_SHAPE", path, sql, wrong)


def _number_of_values(column: Column, level: int, wanted: str) -> str:
    """Return what is asked of the number of values at a level of nesting; empty for none."""
    if level == 0:
        number = f"len({column.sql})" if column.depth else column.size()
        return f"{number} {wanted}"
    if level == 1 and column.depth == 2:
        return all_of(column.sql, "v", f"len(v) {wanted}")
    return ""


def _values(
    feature: Any, path: str, column: Column, schema: schema_pb2.Schema
) -> Iterator[RowRule]:
    for name, condition, wrong in type_rules(feature.type, column.kind):
        yield RowRule(name, path, column.each(condition), wrong, None)
    # Up to 1 - min_domain_mass of the values, which are not rows, may be out of a string domain.
    some = feature.HasField("distribution_constraints")
    some = some and feature.distribution_constraints.min_domain_mass < 1
    for name, condition, wrong in domain_rules(feature, schema, column.kind):
        allowed = None if some and name == "ENUM_TYPE_UNEXPECTED_STRING_VALUES" else 0.0
        yield RowRule(name, path, column.each(condition), wrong, allowed)


def _sparse(schema: schema_pb2.Schema, columns: pa.Schema) -> Iterator[RowRule]:
    for sparse in schema.sparse_feature:
        if sparse.lifecycle_stage not in NOT_VALIDATED:
            others = [index.name for index in sparse.index_feature]
            names = ("SPARSE_FEATURE", "INDEX", "indices")
            yield from _side_by_side(names, sparse.name, sparse.value_feature.name, others, columns)


def _weighted(schema: schema_pb2.Schema, columns: pa.Schema) -> Iterator[RowRule]:
    for feature in schema.weighted_feature:
        if feature.lifecycle_stage not in NOT_VALIDATED:
            values = ".".join(feature.feature.step)
            weights = [".".join(feature.weight_feature.step)]
            names = ("WEIGHTED_FEATURE", "WEIGHT", "weights")
            yield from _side_by_side(names, feature.name, values, weights, columns)


def _side_by_side(
    names: tuple[str, str, str],
    feature: str,
    values: str,
    others: Sequence[str],
    columns: pa.Schema,
) -> Iterator[RowRule]:
    """Yield that a row has values where it has indices or weights, and as many."""
    prefix, part, word = names
    main = column_of(columns, values)
    rest = [column_of(columns, other) for other in others]
    if main is None or not all(rest):
        return
    some = " OR ".join(f"{other.sql} IS NOT NULL" for other in rest if other)
    every = " AND ".join(f"{other.sql} IS NOT NULL" for other in rest if other)
    number = f"coalesce({main.size()}, 0)"
    same = " AND ".join(f"{number} = coalesce({other.size()}, 0)" for other in rest if other)
    for kind, sql, wrong in (
        ("MISSING_VALUE", f"{main.sql} IS NOT NULL OR NOT ({some})", f"{word} and no values"),
        (f"MISSING_{part}", f"{main.sql} IS NULL OR ({every})", f"values and no {word}"),
        ("LENGTH_MISMATCH", same, f"another number of values than of {word}"),
    ):
        yield RowRule(f"{prefix}_{kind}", feature, sql, wrong, None)
