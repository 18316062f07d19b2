"""TFDV's statistics of every split: shards are Beam's elements, not rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

from ...data.beam import pipeline_options
from ...data.examples import Manifest, read_manifest, shard_paths, split_folder
from ...data.output import new_folder
from ...data.statistics import PAGE, STATISTICS, TABLE, statistics_table
from ...errors import PenstockError
from ...reports.statistics import statistics_page
from .counting import CountShard, MergePartials, ShardTask


def generate_statistics(
    examples_path: str | os.PathLike[str],
    statistics_path: str | os.PathLike[str],
    exclude_splits: Sequence[str] | None = None,
    sample_rate: float = 1.0,
    beam_pipeline_args: Sequence[str] | None = None,
    report_path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Write the statistics of every split of the examples, as protos, as a table and as a page.

    TFDV knows integers, floats and strings. Booleans are counted as the integers 0 and 1, dates as
    days and timestamps as the integer of their own unit since 1970-01-01.

    Args:
        examples_path: The examples' folder.
        statistics_path: The folder to write.
        exclude_splits: Splits to leave out.
        sample_rate: The chance of each row to be used, above 0 and up to 1, drawn with a seed that
            comes from the shard's name.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.
        report_path: Where the page shall lie a second time, for Kubeflow's UI.

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
        tasks = [
            ShardTask(split, str(path), sample_rate)
            for split in splits
            for path in shard_paths(examples_path, split)
        ]
        files = {split: folder / split_folder(split) / STATISTICS for split in splits}
        for file in files.values():
            file.parent.mkdir()
        options = tfdv.StatsOptions()
        with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(tasks)
                | "Spread" >> beam.Reshuffle()
                | "Count" >> beam.ParDo(CountShard(columns, options))
                | "Merge" >> beam.CombinePerKey(MergePartials(options))
                | "Write" >> beam.Map(_write, files, columns)
            )
        datasets = [tfdv.load_stats_binary(str(file)).datasets[0] for file in files.values()]
        pq.write_table(statistics_table(datasets), folder / TABLE)
        page = statistics_page(datasets)
        (folder / PAGE).write_text(page, encoding="utf-8")
        if report_path is not None:
            Path(report_path).parent.mkdir(parents=True, exist_ok=True)
            Path(report_path).write_text(page, encoding="utf-8")
    rows = {dataset.name: int(dataset.num_examples) for dataset in datasets}
    counted = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    columns_counted = f"{len(columns)} column{'s'[: len(columns) != 1]}"
    return {"summary": f"{columns_counted} over the rows of {counted}", "rows": rows}


def _write(
    counted: tuple[str, statistics_pb2.DatasetFeatureStatistics],
    files: dict[str, Path],
    columns: Sequence[str],
) -> None:
    split, statistics = counted
    found = statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics])
    (dataset,) = found.datasets
    dataset.name = split
    order = {name: place for place, name in enumerate(columns)}
    dataset.features.sort(key=lambda feature: order.get(feature.path.step[0], len(order)))
    files[split].write_bytes(found.SerializeToString(deterministic=True))


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
