"""One pass over a column: how often each value occurs, counted shard by shard, here or by Beam.

Counts are whole numbers and adding them is exact, so the result is the same for any shards, in any
order, on any number of machines.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...data.beam import pipeline_options
from ...data.examples import iter_shard

Keys = Callable[[pa.Array], pa.Array]
Counts = Callable[[str, Keys], pa.Table]

WAITING_ROWS = 1_000_000


def count_values(
    files: Sequence[Path],
    column: str,
    keys: Keys,
    beam_pipeline_args: Sequence[str] | None = None,
) -> pa.Table:
    """Return how often each key of a column occurs.

    Args:
        files: The Parquet shards.
        column: Which column.
        keys: What to count of a batch of its values; nulls are left out.
        beam_pipeline_args: Beam's flags, to count where they say; None counts in this process.

    Returns:
        `value` and `n` (int64), in no order.
    """
    if beam_pipeline_args is not None:
        return _on_beam(files, column, keys, beam_pipeline_args)
    with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1) or 1) as pool:
        return add_counts(pool.map(lambda file: _count_shard(file, column, keys), files))


def count_batches(batches: Iterable[pa.Array], keys: Keys) -> pa.Table:
    """Return how often each key occurs in batches of values; see `count_values`."""
    return add_counts(_counts(keys(batch).drop_null()) for batch in batches)


def add_counts(tables: Iterable[pa.Table], waiting_rows: int = WAITING_ROWS) -> pa.Table:
    """Return the sum of tables of counts.

    Args:
        tables: As `count_values` returns them.
        waiting_rows: They are added up when more than this waits, and more than the sum is long,
            so that no row is added over and over.
    """
    total: pa.Table | None = None
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        held = 0 if total is None else len(total)
        if sum(map(len, waiting)) > max(waiting_rows, held):
            total, waiting = _sum([*([total] if total is not None else []), *waiting]), []
    if total is not None:
        waiting.append(total)
    if not waiting:
        return pa.table({"value": pa.nulls(0), "n": pa.array([], pa.int64())})
    return waiting[0] if len(waiting) == 1 else _sum(waiting)


def _sum(tables: Sequence[pa.Table]) -> pa.Table:
    grouped = pa.concat_tables(tables).group_by("value").aggregate([("n", "sum")])
    return pa.table({"value": grouped["value"], "n": grouped["n_sum"]})


def _counts(values: pa.Array) -> pa.Table:
    found = pc.value_counts(values)
    return pa.table({"value": found.field("values"), "n": found.field("counts")})


def _count_shard(file: Path, column: str, keys: Keys) -> pa.Table:
    return count_batches((batch.column(0) for batch in iter_shard(file, [column])), keys)


def _on_beam(
    files: Sequence[Path], column: str, keys: Keys, beam_pipeline_args: Sequence[str]
) -> pa.Table:
    """Count shards on workers, which see the shards under the same paths, as does this process."""
    import apache_beam as beam

    class Add(beam.CombineFn):
        def create_accumulator(self) -> list[bytes]:
            return []

        def add_input(self, held: list[bytes], table: bytes) -> list[bytes]:
            return self.compact([*held, table])

        def merge_accumulators(self, parts: Iterable[list[bytes]]) -> list[bytes]:
            return self.compact([table for part in parts for table in part])

        def compact(self, held: list[bytes]) -> list[bytes]:
            return [_to_bytes(add_counts(map(_from_bytes, held)))] if len(held) > 1 else held

        def extract_output(self, held: list[bytes]) -> bytes:
            return held[0] if held else b""

    def count(file: str) -> bytes:
        return _to_bytes(_count_shard(Path(file), column, keys))

    # Beside the shards, because that is where workers and this process both can write.
    with tempfile.TemporaryDirectory(prefix=".counts-", dir=files[0].parent) as folder:
        result = Path(folder) / "counts.arrow"
        with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
            _ = (
                pipeline
                | beam.Create([str(file) for file in files])
                | beam.Reshuffle()
                | beam.Map(count)
                | beam.CombineGlobally(Add())
                | beam.Map(lambda table: result.write_bytes(table))
            )
        return _from_bytes(result.read_bytes())


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _from_bytes(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()
