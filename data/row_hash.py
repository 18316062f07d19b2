"""A 64-bit hash of each row that depends on nothing but the row's content.

The same row has the same hash in every file, order, span, machine and version of the libraries:

- a number is hashed by the bits of its float64 value (-0.0 as 0.0, every NaN alike), so that 1, 1.0
  and true agree; an integer beyond +-2^53 by its own 64 bits;
- a date or timestamp by its integer in its own unit;
- a string or binary value by SipHash-2-4 of its bytes with pandas' key (`pandas.util.hash_array`);
- a list by its length and its values in order;
- a struct by its fields, as a row by its columns, so that their order does not count either.

A cell's value is combined with the column's name (BLAKE2b, 8 bytes) and mixed by the finalizer of
SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). The row's
hash is the mixed sum of its cells modulo 2^64: the order of columns does not count, and a missing
value adds nothing, so a column that is missing everywhere changes no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from .digest import digest_bytes

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

EXACT_IN_FLOAT64 = 1 << 53
# 2^64 over the golden ratio, SplitMix64's own increment.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ContentSum:
    """The rows of a set, order ignored: their number and two sums of their hashes modulo 2^64.

    Sums of parts add up to the sum of the whole, however the rows are divided.
    """

    rows: int = 0
    first: int = 0
    second: int = 0

    @staticmethod
    def of(hashes: Hashes) -> ContentSum:
        """Return the sum of rows with these hashes."""
        second = mix(hashes ^ GOLDEN)
        return ContentSum(len(hashes), int(hashes.sum()), int(second.sum()))

    def __add__(self, other: ContentSum) -> ContentSum:
        """Return the sum of both sets of rows together."""
        modulus = 1 << 64
        return ContentSum(
            self.rows + other.rows,
            (self.first + other.first) % modulus,
            (self.second + other.second) % modulus,
        )


def content_digest(sums: Mapping[str, ContentSum]) -> str:
    """Return the manifest's digest of which rows lie in which split, `sha256:<hex>`."""
    contents = {split: [s.rows, s.first, s.second] for split, s in sorted(sums.items())}
    return digest_bytes(json.dumps(contents).encode())


def row_hashes(batch: pa.RecordBatch, columns: Sequence[str] | None = None) -> Hashes:
    """Return the hash of each row of `batch`, shape `[rows]`.

    Args:
        batch: Rows of null, boolean, number, date, timestamp, string or binary columns, or lists
            or structs of these.
        columns: The columns that count; all when None.
    """
    names = batch.schema.names if columns is None else columns
    cells = {name: batch.column(batch.schema.get_field_index(name)) for name in names}
    return mix(_sum_of_cells(cells, batch.num_rows))


def mix(values: Hashes) -> Hashes:
    """Return SplitMix64's finalizer of each value: a bijection that spreads every bit."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _sum_of_cells(columns: Mapping[str, pa.Array], rows: int) -> Hashes:
    total = np.zeros(rows, np.uint64)
    for name, array in columns.items():
        if pa.types.is_null(array.type):
            continue
        cells = mix(_value_hashes(array) ^ _name_hash(name))
        if array.null_count:
            cells[array.is_null().to_numpy(zero_copy_only=False)] = 0
        total += cells
    return total


def _name_hash(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big"))


def _value_hashes(array: pa.Array) -> Hashes:
    """Return a hash per value; what stands for a null is of no account."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _string_hashes(array)
    if pa.types.is_list(kind):
        return _list_hashes(array)
    if pa.types.is_struct(kind):
        fields = {kind.field(place).name: array.field(place) for place in range(kind.num_fields)}
        return mix(_sum_of_cells(fields, len(array)) ^ GOLDEN)
    if pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(kind):
        array = array.cast(pa.int64())
    if array.null_count:
        array = array.fill_null(False if pa.types.is_boolean(kind) else 0)
    numbers = array.to_numpy(zero_copy_only=False)
    # Adding zero turns -0.0 into 0.0.
    floats = numbers.astype(np.float64) + 0.0
    if numbers.dtype.kind == "f":
        floats[np.isnan(floats)] = np.nan
    bits: Hashes = floats.view(np.uint64)
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize == 8 and len(numbers):
        large = (numbers > EXACT_IN_FLOAT64) | (numbers < -EXACT_IN_FLOAT64)
        bits[large] = numbers[large].view(np.uint64)
    return bits


def _string_hashes(array: pa.Array) -> Hashes:
    encoded = array.fill_null("" if pa.types.is_string(array.type) else b"").dictionary_encode()
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)
    hashed = pd.util.hash_array(distinct, categorize=False)
    hashes: Hashes = hashed[encoded.indices.to_numpy()]
    return hashes


def _list_hashes(array: pa.ListArray) -> Hashes:
    """Return the mixed sum of each list's values, each mixed with its position."""
    offsets = array.offsets.to_numpy()
    values = array.values.slice(offsets[0], offsets[-1] - offsets[0])
    offsets = offsets - offsets[0]
    lengths = np.diff(offsets)
    position = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    cells = np.zeros(len(values), np.uint64)
    if not pa.types.is_null(values.type):
        cells = mix(_value_hashes(values) ^ mix(position.astype(np.uint64) + np.uint64(1)))
        if values.null_count:
            cells[values.is_null().to_numpy(zero_copy_only=False)] = 0
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(cells, dtype=np.uint64)])
    contents = running[offsets[1:]] - running[offsets[:-1]]
    return mix(contents + mix(lengths.astype(np.uint64) ^ GOLDEN))
