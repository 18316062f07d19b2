"""TFDV's generators driven shard by shard: one small partial result per shard crosses Beam.

`tfdv.GenerateStatistics` sends every batch of rows through Beam, which encodes it to estimate its
size. Here the rows stay within the shard's own call, and what is merged are the accumulators.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from tensorflow_data_validation.statistics.generators import stats_generator
from tensorflow_data_validation.statistics.stats_impl import get_generators
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_data_validation.utils import slicing_util
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.arrow import table_util
from tfx_bsl.statistics import merge_util

from ...data.sql_slices import Rows, SliceKey, SliceQuery, SqlSlicer
from ...errors import PenstockError
from .batches import read_numbered_batches
from .options import Slice
from .top_values import Counts, count_values, merge_counts, top_values

# Every feature belongs to one lane; lanes are counted side by side. The number is fixed, not the
# machine's, so that partial results of different machines fit together.
LANES = 4

# The key of all rows of a split, among its slices.
WHOLE = ""
MOST_SLICES = 1000


@dataclass(frozen=True)
class ShardTask:
    """One shard to count: of which split, where, and the chance of each of its rows."""

    split: str
    path: str
    sample_rate: float


@dataclass
class Partial:
    """What some rows came to: an accumulator per generator, and the counts of values."""

    accumulators: list[Any]
    counts: Counts


class Counting:
    """TFDV's generators for some options, with the lanes that they run in."""

    def __init__(self, options: StatsOptions) -> None:
        self.options = options
        combiners = [
            generator
            for generator in get_generators(options)
            if isinstance(generator, stats_generator.CombinerStatsGenerator)
        ]
        for generator in combiners:
            generator.setup()
        # A generator that looks at several features together cannot be given some of them.
        lanes = LANES if len(combiners) == 1 and options.weight_feature is None else 1
        self.lanes = range(lanes)
        self.generators = combiners * lanes

    def create(self) -> Partial:
        """Return the partial result of no rows."""
        return Partial([generator.create_accumulator() for generator in self.generators], {})

    def add(self, partial: Partial, batch: pa.RecordBatch, pool: Executor) -> Partial:
        """Return `partial` with the rows of `batch` added."""
        if len(self.lanes) > 1:
            parts = [_lane(batch, lane, len(self.lanes)) for lane in self.lanes]
        else:
            parts = [batch] * len(self.generators)
        counts = pool.submit(count_values, batch, self.options)
        accumulators = pool.map(_add_input, self.generators, partial.accumulators, parts)
        return Partial(list(accumulators), merge_counts([partial.counts, counts.result()]))

    def merge(self, partials: Iterable[Partial]) -> Partial:
        """Return the partial result of all rows together."""
        found = list(partials)
        accumulators = [
            generator.merge_accumulators(parts)
            for generator, parts in zip(
                self.generators, zip(*(p.accumulators for p in found), strict=True), strict=True
            )
        ]
        return Partial(accumulators, merge_counts([p.counts for p in found]))

    def compact(self, partial: Partial) -> Partial:
        """Return `partial` as small as it gets, to be sent on."""
        compacted = [
            generator.compact(accumulator)
            for generator, accumulator in zip(self.generators, partial.accumulators, strict=True)
        ]
        return replace(partial, accumulators=compacted)

    def extract(self, partial: Partial) -> statistics_pb2.DatasetFeatureStatistics:
        """Return the statistics that `partial` comes to."""
        outputs = [
            generator.extract_output(accumulator)
            for generator, accumulator in zip(self.generators, partial.accumulators, strict=True)
        ]
        outputs.append(top_values(partial.counts, self.options))
        return merge_util.merge_dataset_feature_statistics(outputs).datasets[0]


class CountShard(beam.DoFn):
    """Count a shard: one partial result for all its rows and one per slice.

    Keys are the split and the slice, `WHOLE` for all rows.
    """

    def __init__(
        self,
        columns: Sequence[str],
        options: StatsOptions,
        slices: Sequence[Slice] = (),
        queries: Sequence[SliceQuery] = (),
        schema: pa.Schema | None = None,
    ) -> None:
        self.columns = columns
        self.options = options
        self.slices = slices
        self.queries = queries
        self.schema = schema

    def setup(self) -> None:
        """Make the generators, which do not travel."""
        self.counting = Counting(self.options)
        self.slicers = [slicing_util.get_feature_value_slicer(dict(s)) for s in self.slices]
        self.sql = SqlSlicer(self.queries, self.schema) if self.queries else None

    def process(self, task: ShardTask) -> Iterator[tuple[tuple[str, str], Partial]]:
        """Yield split and slice with the partial result of their rows."""
        partials = {WHOLE: self.counting.create()}
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            chosen = by_name(self.sql.slices_of_shard(task.path)) if self.sql else {}
            batches = read_numbered_batches(task.path, self.columns, task.sample_rate)
            for numbers, batch in batches:
                self._check_weights(batch, task)
                for key, rows in self._slices_of(batch, numbers, chosen):
                    partial = partials.get(key) or self.counting.create()
                    partials[key] = self.counting.add(partial, rows, pool)
                    if len(partials) > MOST_SLICES:
                        raise PenstockError(
                            f"The slices are more than {MOST_SLICES}; name the values wanted "
                            "instead of taking every one."
                        )
        for key, partial in partials.items():
            yield (task.split, key), self.counting.compact(partial)

    def _slices_of(
        self, batch: pa.RecordBatch, numbers: Rows, chosen: Mapping[str, Rows]
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        yield WHOLE, batch
        seen: set[str] = set()
        for slicer in self.slicers:
            found = [(key, rows) for key, rows in slicer(batch) if key not in seen]
            # What two entries of `slices` ask for counts once.
            seen.update(key for key, _ in found)
            yield from found
        for key, rows in chosen.items():
            places = np.flatnonzero(np.isin(numbers, rows, assume_unique=True))
            if len(places):
                yield key, table_util.RecordBatchTake(batch, pa.array(places))

    def _check_weights(self, batch: pa.RecordBatch, task: ShardTask) -> None:
        name = self.options.weight_feature
        if name is None:
            return
        weights = batch.column(batch.schema.get_field_index(name))
        numbers = weights.flatten().to_numpy(zero_copy_only=False)
        if weights.null_count or not (np.isfinite(numbers) & (numbers >= 0)).all():
            raise PenstockError(
                f"The weight {name!r} is missing, negative or not finite in some row of split "
                f"{task.split!r}; give every row a weight of at least 0."
            )


class MergePartials(beam.CombineFn):
    """Merge partial results into a `DatasetFeatureStatistics`."""

    def __init__(self, options: StatsOptions) -> None:
        self.options = options

    def setup(self) -> None:
        """Make the generators, which do not travel."""
        self.counting = Counting(self.options)

    def create_accumulator(self) -> Partial:  # noqa: D102
        return self.counting.create()

    def add_input(self, accumulator: Partial, partial: Partial) -> Partial:  # noqa: D102
        return self.counting.merge([accumulator, partial])

    def merge_accumulators(self, accumulators: Iterable[Partial]) -> Partial:  # noqa: D102
        return self.counting.merge(accumulators)

    def compact(self, accumulator: Partial) -> Partial:  # noqa: D102
        return self.counting.compact(accumulator)

    def extract_output(  # noqa: D102
        self, accumulator: Partial
    ) -> statistics_pb2.DatasetFeatureStatistics:
        return self.counting.extract(accumulator)


def by_name(slices: Mapping[SliceKey, Rows]) -> dict[str, Rows]:
    """Return the rows of slices by TFDV's names for them, such as `carrier_UA_airport_JFK`."""
    found: dict[str, list[Rows]] = {}
    for key, rows in slices.items():
        found.setdefault("_".join(f"{name}_{value}" for name, value in key), []).append(rows)
    return {name: np.unique(np.concatenate(parts)) for name, parts in found.items()}


def _lane(batch: pa.RecordBatch, lane: int, lanes: int) -> pa.RecordBatch:
    names = batch.schema.names
    return pa.RecordBatch.from_arrays(batch.columns[lane::lanes], names=names[lane::lanes])


def _add_input(
    generator: stats_generator.CombinerStatsGenerator, accumulator: Any, batch: pa.RecordBatch
) -> Any:
    return generator.add_input(accumulator, batch)
