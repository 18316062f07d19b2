"""TFDV's own generators, fed with large Arrow batches: shards are Beam's elements, not rows."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.arrow import array_util

from ...data.beam import pipeline_options
from ...data.examples import Manifest, iter_shard, read_manifest, shard_paths, split_folder
from ...data.output import new_folder
from ...data.statistics import STATISTICS
from ...errors import PenstockError


def generate_statistics(
    examples_path: str | os.PathLike[str],
    statistics_path: str | os.PathLike[str],
    exclude_splits: Sequence[str] | None = None,
    sample_rate: float = 1.0,
    beam_pipeline_args: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write the statistics of every split of the examples.

    TFDV knows integers, floats and strings. Booleans are counted as the integers 0 and 1, dates as
    days and timestamps as the integer of their own unit since 1970-01-01.

    Args:
        examples_path: The examples' folder.
        statistics_path: The folder to write.
        exclude_splits: Splits to leave out.
        sample_rate: The chance of each row to be used, above 0 and up to 1, drawn with a seed that
            comes from the shard's name.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Returns:
        Metadata: summary, rows counted per split.

    Raises:
        PenstockError: An excluded split is unknown, none is left, the rate is out of range, or
            the examples cannot be read.
    """
    manifest = read_manifest(examples_path)
    splits = _chosen_splits(manifest, exclude_splits or ())
    if not 0 < sample_rate <= 1:
        raise PenstockError(
            f"sample_rate is {sample_rate}; give a share above 0 and up to 1, such as 0.1."
        )
    columns = [column.name for column in manifest.columns]
    with new_folder(statistics_path) as folder:
        files = {split: folder / split_folder(split) / STATISTICS for split in splits}
        with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
            for split, file in files.items():
                file.parent.mkdir()
                shards = [str(path) for path in shard_paths(examples_path, split)]
                _ = (
                    pipeline
                    | f"Shards[{split}]" >> beam.Create(shards)
                    | f"Spread[{split}]" >> beam.Reshuffle()
                    | f"Read[{split}]"
                    >> beam.FlatMap(
                        read_list_batches, columns=columns, sample_rate=sample_rate
                    ).with_output_types(pa.RecordBatch)
                    | f"Count[{split}]" >> tfdv.GenerateStatistics(tfdv.StatsOptions())
                    | f"Write[{split}]" >> beam.Map(_write, file, split)
                )
        rows = {
            split: int(tfdv.load_stats_binary(str(file)).datasets[0].num_examples)
            for split, file in files.items()
        }
    counted = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    columns_counted = f"{len(columns)} column{'s'[: len(columns) != 1]}"
    return {"summary": f"{columns_counted} over the rows of {counted}", "rows": rows}


def read_list_batches(
    shard: str, columns: Sequence[str], sample_rate: float = 1.0
) -> Iterator[pa.RecordBatch]:
    """Yield a shard's rows as TFDV wants them: a list of values per cell, null when missing.

    Args:
        shard: A Parquet file of the examples.
        columns: Which columns, in this order.
        sample_rate: The chance of each row to be taken.
    """
    draw = np.random.default_rng(zlib.crc32("/".join(Path(shard).parts[-2:]).encode()))
    for batch in iter_shard(shard, columns):
        if sample_rate < 1:
            batch = batch.filter(pa.array(draw.random(batch.num_rows) < sample_rate))
        if batch.num_rows:
            arrays = [_list_array(batch.column(place)) for place in range(batch.num_columns)]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _list_array(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_list(kind):
        return column
    if pa.types.is_boolean(kind) or pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    return array_util.ToSingletonListArray(column)


def _write(statistics: statistics_pb2.DatasetFeatureStatisticsList, file: Path, split: str) -> None:
    named = statistics_pb2.DatasetFeatureStatisticsList()
    named.CopyFrom(statistics)
    named.datasets[0].name = split
    file.write_bytes(named.SerializeToString(deterministic=True))


def _chosen_splits(manifest: Manifest, exclude_splits: Sequence[str]) -> list[str]:
    known = ", ".join(manifest.splits)
    for split in exclude_splits:
        if split not in manifest.splits:
            raise PenstockError(
                f"exclude_splits names {split!r}, which is no split of the examples; there are "
                f"{known}."
            )
    chosen = [split for split in manifest.splits if split not in exclude_splits]
    if not chosen:
        raise PenstockError(f"exclude_splits leaves none of the splits {known}; keep at least one.")
    return chosen
