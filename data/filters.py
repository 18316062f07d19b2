"""Filters as text: a Python expression over columns, turned into an Arrow expression.

Columns are names, or `col("...")` for names that are not identifiers; `trip.distance` is a field of
a struct. There are comparisons, `in` a list, `and`, `or`, `not`, `+ - * /`, and `is_null(x)`. A row
is kept where the expression is true; where a missing value makes it unknown the row is left out, as
in SQL.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from ..errors import PenstockError

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def filter_columns(text: str) -> list[str]:
    """Return the columns that a filter looks at, in the order of their first use.

    Raises:
        PenstockError: The text is no filter.
    """
    names: dict[str, None] = {}
    _build(_parsed(text), text, names)
    return list(names)


def filter_expression(text: str) -> ds.Expression:
    """Return the filter as an Arrow expression.

    Raises:
        PenstockError: The text is no filter.
    """
    return _build(_parsed(text), text, {})


def check_filter(text: str, schema: pa.Schema) -> None:
    """Check that a filter fits the columns and types of the data.

    Raises:
        PenstockError: It names no column, compares what does not compare, or is neither true nor
            false.
    """
    for name in filter_columns(text):
        if name not in schema.names:
            raise PenstockError(
                f"The filter {text!r} names {name!r}, which is no column of the data; there are "
                f"{', '.join(schema.names)}."
            )
    try:
        apply_filter(pa.RecordBatch.from_pylist([], schema=schema), filter_expression(text))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"The filter {text!r} does not fit the columns' types ({reason}); compare numbers with "
            "numbers and text with text."
        ) from error


def apply_filter(batch: pa.RecordBatch, expression: ds.Expression) -> pa.RecordBatch:
    """Return the rows of `batch` where the expression is true, in their order."""
    table = ds.dataset(pa.Table.from_batches([batch])).to_table(filter=expression)
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else batch.slice(0, 0)


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _no_filter(text, "it does not parse") from error


def _no_filter(text: str, reason: str) -> PenstockError:
    return PenstockError(
        f"{text!r} is no filter: {reason}; write an expression over columns, such as "
        "distance > 100 and origin in ['JFK', 'LGA']."
    )


def _build(node: ast.expr, text: str, names: dict[str, None]) -> Any:
    """Return a node as an Arrow expression, noting the columns in `names`."""
    match node:
        case ast.Name(id=name):
            names[name] = None
            return pc.field(name)
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
            names[name] = None
            return pc.field(name)
        case ast.Attribute():
            path = _path(node, text)
            names[path[0]] = None
            return pc.field(*path)
        case ast.Call(func=ast.Name(id="is_null"), args=[argument], keywords=[]):
            return _build(argument, text, names).is_null()
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return pc.scalar(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_build(operand, text, names)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return pc.scalar(-value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return ARITHMETIC[type(op)](_build(left, text, names), _build(right, text, names))
        case ast.BoolOp(op=op, values=values):
            built = [_build(value, text, names) for value in values]
            whole = built[0]
            for part in built[1:]:
                whole = whole & part if isinstance(op, ast.And) else whole | part
            return whole
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            whole = None
            for comparison, right in zip(ops, comparators, strict=True):
                part = _compared(left, comparison, right, text, names)
                whole = part if whole is None else whole & part
                left = right
            return whole
    raise _no_filter(text, f"it has {ast.unparse(node)!r}")


def _path(node: ast.expr, text: str) -> list[str]:
    """Return the names from a column down to a field."""
    match node:
        case ast.Attribute(value=above, attr=name):
            return [*_path(above, text), name]
        case ast.Name(id=name):
            return [name]
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
            return [name]
    raise _no_filter(text, f"it has {ast.unparse(node)!r}")


def _compared(
    left: ast.expr, op: ast.cmpop, right: ast.expr, text: str, names: dict[str, None]
) -> Any:
    if isinstance(op, (ast.In, ast.NotIn)):
        try:
            values = list(ast.literal_eval(right))
            found = _build(left, text, names).isin(values)
        except (ValueError, TypeError, SyntaxError, pa.ArrowInvalid) as error:
            raise _no_filter(text, f"{ast.unparse(right)!r} is no list of values") from error
        return found if isinstance(op, ast.In) else ~found
    if type(op) not in COMPARISONS:
        raise _no_filter(
            text, f"it compares in another way than Arrow does at {ast.unparse(left)!r}"
        )
    return COMPARISONS[type(op)](_build(left, text, names), _build(right, text, names))
