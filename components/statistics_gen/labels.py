"""Statistics about a label, by TFDV's generators: lift and mutual information."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from tensorflow_data_validation import types
from tensorflow_data_validation.statistics.generators import (
    lift_stats_generator,
    partitioned_stats_generator,
    sklearn_mutual_information,
)
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_data_validation.utils import schema_util

from .batches import read_list_batches
from .counting import ShardTask

# Mutual information is estimated on so many rows of a split, drawn with this seed.
SAMPLE_ROWS = 20_000
SEED = 0


class LabelStatistics(beam.PTransform):
    """From shards to statistics about the label, keyed by split.

    Lift is given for a categorical label, mutual information for a number too; the rows of a shard
    cross Beam here, as TFDV's own generators want them.
    """

    def __init__(self, label: str, columns: Sequence[str], options: StatsOptions) -> None:
        super().__init__()
        self.name = label
        self.about = types.FeaturePath([label])
        self.columns = columns
        self.options = options

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """Return (split, `DatasetFeatureStatistics`)."""
        batches = tasks | "Read" >> beam.FlatMap(_read, self.columns, self.name).with_output_types(
            types.SlicedRecordBatch
        )
        schema = self.options.schema
        generators = [
            partitioned_stats_generator.NonStreamingCustomStatsGenerator(
                sklearn_mutual_information.SkLearnMutualInformation(self.about, schema, SEED),
                num_partitions=1,
                min_partitions_stat_presence=1,
                seed=SEED,
                max_examples_per_partition=SAMPLE_ROWS,
                batch_size=SAMPLE_ROWS,
                name="mutual_information",
            )
        ]
        if schema_util.is_categorical_feature(schema_util.get_feature(schema, self.about)):
            generators.append(
                lift_stats_generator.LiftStatsGenerator(
                    y_path=self.about,
                    schema=schema,
                    example_weight_map=self.options.example_weight_map,
                    output_custom_stats=True,
                    name="lift",
                )
            )
        return [
            batches | generator.name >> generator.ptransform for generator in generators
        ] | beam.Flatten()


def _read(
    task: ShardTask, columns: Sequence[str], label: str
) -> Iterator[tuple[str, pa.RecordBatch]]:
    place = columns.index(label)
    for batch in read_list_batches(task.path, columns, task.sample_rate):
        arrays = batch.columns
        # Mutual information takes a label's words as strings only.
        if pa.types.is_binary(arrays[place].type.value_type):
            arrays[place] = arrays[place].cast(pa.large_list(pa.string()))
        yield task.split, pa.RecordBatch.from_arrays(arrays, names=list(columns))
