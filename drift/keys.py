"""Rows of two sides brought together by key columns: which row pairs with which, and which cannot.

Keys are compared exactly, not by a fingerprint: two keys are one when they agree in every column.
Whole numbers agree by value whatever their width, text by its bytes, times by the instant. Floats
are no keys: two computations of one number may differ in the last bit. A row with a missing value
in any key column has no key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..data.row_hash import Hashes, row_hashes
from ..errors import PenstockError
from .equality import instants, kind_of, valid

# What becomes of keys that occur more than once on a side:
# `refuse`  none of their rows are compared, and whoever asks is told so that they can fail;
# `drop`    none of their rows are compared;
# `first`   the first row of each side is, in the order of the Examples;
# `all`     every row of one side is compared with every row of the other.
DUPLICATES = ("refuse", "drop", "first", "all")
MOST_PAIRS_OF_A_KEY = 1_000_000
CHUNK = 1_000_000

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Keys:
    """Key columns, and per column the form in which both sides' values are compared."""

    names: tuple[str, ...]
    forms: tuple[str, ...]

    def columns(self, batch: pa.RecordBatch | pa.Table) -> pa.RecordBatch:
        """Return the keys of rows in forms that are equal exactly when the keys are."""
        arrays = []
        for name, form in zip(self.names, self.forms, strict=True):
            arrays += _formed(whole(batch[name]), form)
        return pa.RecordBatch.from_arrays(arrays, names=[f"k{n}" for n in range(len(arrays))])

    def hashes(self, batch: pa.RecordBatch) -> tuple[Hashes, Any]:
        """Return each row's hash of its key, and whether it has one, both of shape `[rows]`."""
        formed = self.columns(batch)
        there = np.ones(batch.num_rows, bool)
        for column in formed.columns:
            there &= valid(column)
        return row_hashes(formed), there


def check_keys(names: Sequence[str], training: pa.Schema, serving: pa.Schema) -> Keys:
    """Return how rows are keyed.

    Args:
        names: The key columns, at least one.
        training: The columns of one side.
        serving: The columns of the other.

    Raises:
        PenstockError: There are no names, one is given twice or not there, or its types are no keys
            or do not compare.
    """
    if not names:
        raise PenstockError(
            "There are no key columns; name at least one, such as an id and a time."
        )
    forms = []
    for name in names:
        for side, schema in (("training", training), ("serving", serving)):
            if name not in schema.names:
                raise PenstockError(
                    f"The key column {name!r} is not in the {side} examples; they have "
                    f"{', '.join(schema.names)}."
                )
        if list(names).count(name) > 1:
            raise PenstockError(f"The key column {name!r} is given twice; give it once.")
        kinds = [training.field(name).type, serving.field(name).type]
        for side, kind in zip(("training", "serving"), kinds, strict=True):
            if not _is_key(kind):
                raise PenstockError(
                    f"The key column {name!r} is {kind} in the {side} examples; a key is of whole "
                    "numbers, text, booleans, dates or times."
                )
        if kind_of(kinds[0]) != kind_of(kinds[1]):
            raise PenstockError(
                f"The key column {name!r} is {kinds[0]} in the training examples and {kinds[1]} in "
                "the serving examples, which never agree; write it in one type."
            )
        # int64 and uint64 have no common type but their digits.
        digits = any(pa.types.is_uint64(_value_type(kind)) for kind in kinds)
        forms.append("digits" if digits else kind_of(kinds[0]))
    return Keys(tuple(names), tuple(forms))


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def key_codes(keys: Keys, training: pa.Table, serving: pa.Table) -> tuple[Places, Places]:
    """Return per row of each side a number from 0 that is the same exactly for the same keys.

    Every row must have a key.
    """
    split = training.num_rows
    parts = [keys.columns(side) for side in (training, serving)]
    codes: Places = np.zeros(split + serving.num_rows, np.int64)
    for one, other in zip(*(part.columns for part in parts), strict=True):
        values = pa.concat_arrays([one, other])
        if pa.types.is_binary(values.type):
            numbers = values.dictionary_encode().indices.to_numpy().astype(np.int64)
        else:
            numbers = values.to_numpy(zero_copy_only=False)
        found, _ = pd.factorize(numbers)
        codes = codes * (int(found.max(initial=0)) + 1) + found
        # Renumbered each time, so that the product stays far from 2^63.
        codes, _ = pd.factorize(codes)
    return codes[:split], codes[split:]


@dataclass(frozen=True)
class Joined:
    """How the rows of two sides pair, all counts by side: training, then serving.

    Attributes:
        duplicate_keys: Keys that occur more than once on a side.
        duplicates: Rows of the sides of such keys.
        left_out: Rows that the rule for duplicates leaves out.
        unmatched: Rows whose key the other side does not have.
        lonely: The places of these rows.
        repeated: The places of the first row of each duplicate key, on the side that has it twice.
    """

    duplicate_keys: int
    duplicates: tuple[int, int]
    left_out: tuple[int, int]
    unmatched: tuple[int, int]
    lonely: tuple[Places, Places]
    repeated: tuple[Places, Places]


def join(
    training: Places, serving: Places, rule: str
) -> tuple[Joined, Iterator[tuple[Places, Places]]]:
    """Return how rows pair by their codes, and the pairs, as places, some at a time.

    Args:
        training: The codes of one side's rows.
        serving: The codes of the other's.
        rule: One of `DUPLICATES`.
    """
    number = int(max(training.max(initial=-1), serving.max(initial=-1))) + 1
    counts = [np.bincount(codes, minlength=number) for codes in (training, serving)]
    several = (counts[0] > 1) | (counts[1] > 1)
    allowed = ~several if rule in ("refuse", "drop") else np.ones(number, bool)
    first = [_first(codes, number) for codes in (training, serving)]
    alone = [
        allowed & (counts[0] > 0) & (counts[1] == 0),
        allowed & (counts[1] > 0) & (counts[0] == 0),
    ]
    kept = [np.minimum(count, 1) if rule == "first" else count for count in counts]
    left_out = [
        int((count - keep * allowed).sum()) for count, keep in zip(counts, kept, strict=True)
    ]
    found = Joined(
        int(several.sum()),
        (int(counts[0][several].sum()), int(counts[1][several].sum())),
        (left_out[0], left_out[1]),
        (int(kept[0][alone[0]].sum()), int(kept[1][alone[1]].sum())),
        (first[0][alone[0]], first[1][alone[1]]),
        (first[0][counts[0] > 1], first[1][counts[1] > 1]),
    )
    if rule == "all":
        return found, _all_pairs(training, serving, counts[0], counts[1])
    both = allowed & (counts[0] > 0) & (counts[1] > 0)
    return found, iter([(first[0][both], first[1][both])] if both.any() else [])


def most_pairs(training: Places, serving: Places) -> tuple[int, int]:
    """Return the place of the training row whose key makes most pairs, and how many it makes."""
    number = int(max(training.max(initial=-1), serving.max(initial=-1))) + 1
    if not number:
        return 0, 0
    products = np.bincount(training, minlength=number) * np.bincount(serving, minlength=number)
    code = int(products.argmax())
    return int(_first(training, number)[code]), int(products[code])


def _first(codes: Places, number: int) -> Places:
    places = np.full(number, -1, np.int64)
    # The last to be written is the first row.
    places[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return places


def _all_pairs(
    training: Places, serving: Places, counts: Any, others: Any
) -> Iterator[tuple[Places, Places]]:
    order = np.argsort(serving, kind="stable")
    begins = np.cumsum(others) - others
    matches = others[training]
    ends = np.cumsum(matches)
    start, total = 0, len(training)
    while start < total:
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + CHUNK, side="right")), start + 1)
        rows = np.arange(start, stop)
        lengths = matches[rows]
        left = np.repeat(rows, lengths)
        offset = np.arange(len(left)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        right = order[np.repeat(begins[training[rows]], lengths) + offset]
        if len(left):
            yield left, right
        start = stop


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_key(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return not pa.types.is_null(kind)
    return kind_of(kind) in ("text", "date", "time", "duration", "instant", "local time")


def _formed(column: pa.Array, form: str) -> list[pa.Array]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if form == "text":
        return [column.cast(pa.binary())]
    if form == "digits":
        return [column.cast(pa.string()).cast(pa.binary())]
    if form == "number":
        return [column.cast(pa.int64())]
    there = pa.array(valid(column))
    seconds, rest = (pa.array(np.broadcast_to(n, len(column))) for n in instants(column))
    missing = pa.nulls(len(column), pa.int64())
    return [pc.if_else(there, seconds, missing), pc.if_else(there, rest.cast(pa.int64()), missing)]
