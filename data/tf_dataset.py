"""Batches for training and evaluation: Examples as a `tf.data.Dataset`, columnar all the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError
from .examples import iter_shard, read_manifest, read_schema, shard_paths

if TYPE_CHECKING:
    import os

    import tensorflow as tf

# A split with at most this many cells is held in memory (4 bytes a number, 8 a string's pointer)
# and shuffled as a whole; a larger one is shuffled shard group by shard group.
IN_MEMORY_CELLS = 200_000_000
STACK_ROWS = 16_384

Chunk = dict[str, np.ndarray[Any, Any]]


def tf_dataset(
    path: str | os.PathLike[str],
    split: str,
    columns: Sequence[str],
    batch_size: int,
    *,
    label: str | None = None,
    shuffle_seed: int | None = None,
    repeat: bool = False,
    drop_remainder: bool = False,
    num_shards: int = 1,
    index: int = 0,
) -> tf.data.Dataset:
    """Return batches of a split as tensors, sliced from columns without touching single rows.

    Numbers and booleans become float32 with NaN for a missing value, strings become `tf.string`
    with `""` for a missing value. Of a struct column the fields are asked for by name, such as
    `trip.distance`, and become elements of that name.

    With `shuffle_seed` every epoch has its own order, and the same seed gives the same orders
    everywhere. A split of up to `IN_MEMORY_CELLS` rows x columns is permuted as a whole. Of a
    larger one the shards are permuted, and the rows within each group of shards that fits.

    With `num_shards` each worker gets its own stretch of the rows, and reads only the files that it
    touches. Stretches differ by at most one row in length; with `drop_remainder` and `repeat`
    workers in step never wait for one that has ended.

    Args:
        path: The examples' folder.
        split: Which split.
        columns: The features to read, without the label.
        batch_size: Rows per batch, at least 1.
        label: The column that becomes the second element, float32; none when None.
        shuffle_seed: Seed of the shuffle; None keeps the order on disk.
        repeat: Whether to go on after the last row without end.
        drop_remainder: Whether to drop a last batch that is not full.
        num_shards: Among how many workers the rows are divided, at least 1.
        index: Which of the workers this is, from 0.

    Returns:
        A dataset of `{name: [batch]}`, or of `({name: [batch]}, [batch])` with a label.

    Raises:
        PenstockError: The split or a column is unknown, a column is neither number, boolean nor
            string, the batch size is below 1, there is no such worker, or an endless dataset would
            be without a batch.
    """
    import tensorflow as tf

    names = list(dict.fromkeys(columns))
    wanted = names if label is None or label in names else [*names, label]
    strings = _string_columns(path, split, wanted, label)
    stretches = _stretches(path, split, num_shards, index)
    rows = sum(stretch.rows for stretch in stretches)
    _check_batches(split, rows, batch_size, repeat, drop_remainder)

    # Several batches cross from Python to TensorFlow at once, stacked: [batches, batch].
    shape = [None, batch_size if drop_remainder else None]
    spec = {
        name: tf.TensorSpec(shape, tf.string if name in strings else tf.float32) for name in wanted
    }
    in_memory = rows * len(wanted) <= IN_MEMORY_CELLS
    held = (
        [_arrays([b for s in stretches for b in s.batches(wanted)], wanted)] if in_memory else None
    )

    def stacks() -> Iterator[Chunk]:
        for epoch in itertools.count() if repeat else range(1):
            order = (
                None
                if shuffle_seed is None
                else np.random.default_rng([shuffle_seed, epoch, index])
            )
            chunks = held if held is not None else _groups(stretches, wanted, order)
            yield from _stacked_batches(chunks, batch_size, order, drop_remainder)

    dataset = tf.data.Dataset.from_generator(stacks, output_signature=spec).unbatch()
    count = rows // batch_size if drop_remainder else -(-rows // batch_size)
    cardinality = tf.data.INFINITE_CARDINALITY if repeat else count
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    if label is not None:
        dataset = dataset.map(lambda batch: ({name: batch[name] for name in names}, batch[label]))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _string_columns(
    path: str | os.PathLike[str], split: str, wanted: Sequence[str], label: str | None
) -> set[str]:
    """Return which of the columns are strings, after checking that every one can be a tensor."""
    if not wanted:
        raise PenstockError("No columns were asked for; name at least one feature or the label.")
    strings = set()
    for field in read_schema(path, split, wanted):
        kind = field.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            strings.add(field.name)
        elif not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_null(kind)
        ):
            way = "leave it out or turn it into one before example_gen"
            if pa.types.is_struct(kind) and kind.num_fields:
                way = f"name its fields instead, such as {f'{field.name}.{kind.field(0).name}'!r}"
            raise PenstockError(
                f"Column {field.name!r} has type {kind}, which does not become one number or "
                f"string per row; {way}."
            )
    if label in strings:
        raise PenstockError(f"The label {label!r} is a string column; a label must be a number.")
    return strings


def _check_batches(
    split: str, rows: int, batch_size: int, repeat: bool, drop_remainder: bool
) -> None:
    if batch_size < 1:
        raise PenstockError(f"The batch size is {batch_size}; it must be at least 1.")
    if repeat and rows < (batch_size if drop_remainder else 1):
        raise PenstockError(
            f"Split {split!r} has {rows} rows, which make no batch of {batch_size}, so repeating "
            "it would never end; give more rows or a smaller batch size."
        )


@dataclass(frozen=True)
class _Stretch:
    """Consecutive rows of one file."""

    file: Path
    start: int
    rows: int

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows as record batches."""
        place, end = 0, self.start + self.rows
        for batch in iter_shard(self.file, names):
            first, last = max(self.start - place, 0), min(end - place, batch.num_rows)
            if first < last:
                yield batch.slice(first, last - first)
            place += batch.num_rows
            if place >= end:
                return


def _stretches(
    path: str | os.PathLike[str], split: str, num_shards: int, index: int
) -> list[_Stretch]:
    """Return where the rows of one worker lie."""
    if not 0 <= index < num_shards:
        raise PenstockError(
            f"There is no worker {index} of {num_shards}; the index counts from 0 to num_shards - "
            "1, and num_shards is at least 1."
        )
    shards = read_manifest(path).shards(split)
    rows = sum(shard.rows for shard in shards)
    first, last = rows * index // num_shards, rows * (index + 1) // num_shards
    stretches = []
    place = 0
    for file, shard in zip(shard_paths(path, split), shards, strict=True):
        start, end = max(first - place, 0), min(last - place, shard.rows)
        if start < end:
            stretches.append(_Stretch(file, start, end - start))
        place += shard.rows
    return stretches


def _groups(
    stretches: Sequence[_Stretch], names: Sequence[str], order: np.random.Generator | None
) -> Iterator[Chunk]:
    """Yield groups of whole shards that fit in memory, the shards in a new order when shuffling."""
    places = range(len(stretches)) if order is None else order.permutation(len(stretches)).tolist()
    group: list[pa.RecordBatch] = []
    cells = 0
    for place in places:
        new = stretches[place].rows * len(names)
        if group and cells + new > IN_MEMORY_CELLS:
            yield _arrays(group, names)
            group, cells = [], 0
        group.extend(stretches[place].batches(names))
        cells += new
    yield _arrays(group, names)


def _arrays(batches: Sequence[pa.RecordBatch], names: Sequence[str]) -> Chunk:
    """Return each column as one numpy array: float32, or objects of `bytes`."""
    return {
        name: np.concatenate([_array(batch.column(place)) for batch in batches])
        if batches
        else np.zeros(0, np.float32)
        for place, name in enumerate(names)
    }


def _array(column: pa.Array) -> np.ndarray[Any, Any]:
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        # One Python object per distinct value, not per row.
        encoded = pc.fill_null(column.cast(pa.binary()), b"").dictionary_encode()
        values = np.empty(len(encoded.dictionary), object)
        values[:] = encoded.dictionary.to_pylist()
        strings: np.ndarray[Any, Any] = values[encoded.indices.to_numpy()]
        return strings
    numbers = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, np.float32)


def _stacked_batches(
    chunks: Iterable[Chunk], batch_size: int, order: np.random.Generator | None, drop: bool
) -> Iterator[Chunk]:
    """Yield batches across chunks, stacked, the rows of each chunk shuffled by `order`.

    Args:
        chunks: Columns of the same rows, shape `[rows]` each.
        batch_size: Rows per batch.
        order: Draws the order of each chunk's rows; None keeps it.
        drop: Whether to drop a last batch that is not full.

    Yields:
        Columns of shape `[batches, batch_size]`; last the batch that is not full, `[1, rest]`.
    """
    step = max(1, STACK_ROWS // batch_size) * batch_size
    rest: Chunk = {}
    for chunk in chunks:
        rows = len(next(iter(chunk.values())))
        index = np.arange(rows) if order is None else order.permutation(rows)
        if rest:
            chunk = {k: np.concatenate([rest[k], v[index]]) for k, v in chunk.items()}
            rows = len(next(iter(chunk.values())))
            index = np.arange(rows)
        full = rows - rows % batch_size
        for start in range(0, full, step):
            place = index[start : min(start + step, full)].reshape(-1, batch_size)
            yield {name: values[place] for name, values in chunk.items()}
        rest = {k: v[index[full:]] for k, v in chunk.items()} if full < rows else {}
    if rest and not drop:
        yield {name: values[np.newaxis] for name, values in rest.items()}
