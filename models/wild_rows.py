"""Rows as no training set has them and as servers get them all the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from .transform_graph import Kind

# What such rows have, in words.
CASES = {
    "missing_optional": "optional features missing",
    "unseen_category": "categories never seen",
    "nan": "numbers that are NaN",
    "empty_string": "empty strings",
    "long_string": "strings of 100,000 characters",
}
UNSEEN = "penstock: never seen before"
LONG = "x" * 100_000


def wild_rows(
    rows: pa.Table, kinds: Mapping[str, Kind], optional: Collection[str]
) -> dict[str, pa.Table]:
    """Return rows for each case that the features allow, made from real ones.

    In each case one feature after the other is made wild, and then all of them together, in a row
    each.

    Args:
        rows: Real rows, at least one.
        kinds: The features that the model is sent.
        optional: Those of them that a row may lack.

    Returns:
        By case, those of `CASES` that concern some feature.
    """
    texts = [name for name, kind in kinds.items() if kind == "string"]
    numbers = [name for name, kind in kinds.items() if kind == "float"]
    found = {
        "missing_optional": ([name for name in kinds if name in optional], None),
        "unseen_category": (texts, UNSEEN),
        "nan": (numbers, float("nan")),
        "empty_string": (texts, ""),
        "long_string": (texts, LONG),
    }
    return {case: _changed(rows, names, value) for case, (names, value) in found.items() if names}


def among(rows: pa.Table, wild: pa.Table) -> tuple[pa.Table, range]:
    """Put wild rows into the middle of real ones.

    Returns:
        The rows, and the places of the wild ones among them.
    """
    before = rows.num_rows // 2
    real = rows.cast(wild.schema)
    mixed = pa.concat_tables([real.slice(0, before), wild, real.slice(before)])
    return mixed, range(before, before + wild.num_rows)


def _changed(rows: pa.Table, names: Iterable[str], value: Any) -> pa.Table:
    """Return a row with `value` for each of the names, and one with it for all."""
    sets = [[name] for name in names]
    if len(sets) > 1:
        sets.append(list(names))
    places = [place % rows.num_rows for place in range(len(sets))]
    changed = rows.take(places)
    for name in names:
        values = changed.column(name).to_pylist()
        for place, those in enumerate(sets):
            if name in those:
                values[place] = value
        kind = changed.schema.field(name).type
        # A column of whole numbers cannot hold NaN.
        kind = pa.float64() if isinstance(value, float) else kind
        column = changed.schema.get_field_index(name)
        changed = changed.set_column(column, pa.field(name, kind), pa.array(values, kind))
    return changed
