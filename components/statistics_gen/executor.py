"""TFDV's statistics of every split: shards are Beam's elements, not rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import TypeOptions
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.statistics import merge_util

from ...data.beam import pipeline_options
from ...data.examples import read_manifest, read_schema, shard_paths, split_folder
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...data.sql_slices import SqlSlicer, slice_queries
from ...data.statistics import PAGE, SLICES, STATISTICS, TABLE, statistics_table
from ...errors import PenstockError
from ...reports.statistics import statistics_page
from .batches import check_types
from .counting import WHOLE, CountShard, MergePartials, ShardTask
from .labels import LabelStatistics
from .options import checked_slices, chosen_columns, chosen_splits, stats_options
from .options import sample_rates as choose_sample_rates

SLICES_PAGE = "slices.html"
SLICES_ON_PAGE = 5


@dataclass(frozen=True)
class _Places:
    """Where the statistics of a split go, and the order of their features."""

    folder: Path
    columns: tuple[str, ...]

    def file(self, split: str, name: str = STATISTICS) -> Path:
        return self.folder / split_folder(split) / name


def generate_statistics(
    examples_path: str | os.PathLike[str],
    statistics_path: str | os.PathLike[str],
    exclude_splits: Sequence[str] | None = None,
    sample_rate: float = 1.0,
    beam_pipeline_args: Sequence[str] | None = None,
    report_path: str | os.PathLike[str] | None = None,
    *,
    sample_rates: Mapping[str, float] | None = None,
    include_columns: Sequence[str] | None = None,
    exclude_columns: Sequence[str] | None = None,
    weight_column: str = "",
    label: str = "",
    slices: Sequence[Mapping[str, Sequence[str]]] | None = None,
    slice_sqls: Sequence[str] | None = None,
    schema_path: str | os.PathLike[str] | None = None,
    options: Mapping[str, float] | None = None,
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
        sample_rates: Sample rates of single splits, in place of `sample_rate`.
        include_columns: The only columns to count.
        exclude_columns: Columns to leave out.
        weight_column: A column of numbers of at least 0 that weigh the rows.
        label: The column that lift and mutual information are about; needs a schema.
        slices: Per slice its columns with the values wanted, an empty list for every value; the
            crosses of several columns.
        slice_sqls: In their place slicing queries; see
            `penstock.data.sql_slices`.
        schema_path: The folder of a schema, for categories, bytes and domains.
        options: TFDV's own numbers; see `penstock.components.statistics_gen.options`.

    Returns:
        Metadata: summary, rows counted per split.

    Raises:
        PenstockError: A split, column or option is unknown or out of range, or the examples or the
            schema cannot be read.
    """
    manifest = read_manifest(examples_path)
    splits = chosen_splits(manifest, exclude_splits or ())
    rates = choose_sample_rates(splits, sample_rate, sample_rates)
    columns = chosen_columns(manifest, include_columns, exclude_columns)
    arrow_schema = read_schema(examples_path, splits[0], list(columns))
    check_types(arrow_schema)
    schema = None if schema_path is None else load_schema(schema_path)
    tfdv_options = stats_options(columns, weight_column, label, schema, options)
    slices_by = checked_slices(slices, columns)
    if slices and slice_sqls:
        raise PenstockError(
            "Both slices and slice_sqls are given; give one, as a query can select what slices do."
        )
    first = shard_paths(examples_path, splits[0])[0]
    sqls = slice_sqls or ()
    queries = slice_queries(sqls, [f"slice_sqls[{place}]" for place in range(len(sqls))])
    if queries:
        # Tried on no rows: what does not fit the columns is said before anything is counted.
        SqlSlicer(queries, arrow_schema).slices_of_shard(str(first), limit=0)
    tasks = [
        ShardTask(split, str(path), rates[split])
        for split in splits
        for path in shard_paths(examples_path, split)
    ]
    with new_folder(statistics_path) as folder:
        places = _Places(folder, tuple(columns))
        for split in splits:
            places.file(split).parent.mkdir()
        beam_options = pipeline_options(beam_pipeline_args)
        if label:
            # TFDV's lift declares types that Beam's own inference contradicts.
            beam_options.view_as(TypeOptions).pipeline_type_check = False
        count = CountShard(tuple(columns), tfdv_options, slices_by, queries, arrow_schema)
        with beam.Pipeline(options=beam_options) as pipeline:
            shards = pipeline | "Shards" >> beam.Create(tasks) | "Spread" >> beam.Reshuffle()
            found = (
                shards
                | "Count" >> beam.ParDo(count)
                | "Merge" >> beam.CombinePerKey(MergePartials(tfdv_options))
                | "BySplit" >> beam.Map(_by_split)
            )
            if label:
                about = shards | "Label" >> LabelStatistics(label, tuple(columns), tfdv_options)
                found = (found, about | "Whole" >> beam.Map(_whole)) | beam.Flatten()
            _ = found | "Group" >> beam.GroupByKey() | "Write" >> beam.Map(_write, places)
        datasets = {split: _read(places, split) for split in splits}
        pq.write_table(statistics_table(datasets), folder / TABLE)
        page = statistics_page([whole for whole, *_ in datasets.values()])
        (folder / PAGE).write_text(page, encoding="utf-8")
        if report_path is not None:
            Path(report_path).parent.mkdir(parents=True, exist_ok=True)
            Path(report_path).write_text(page, encoding="utf-8")
    return _metadata(datasets, len(columns))


def _by_split(
    found: tuple[tuple[str, str], statistics_pb2.DatasetFeatureStatistics],
) -> tuple[str, tuple[str, statistics_pb2.DatasetFeatureStatistics]]:
    (split, key), statistics = found
    return split, (key, statistics)


def _whole(
    found: tuple[str, statistics_pb2.DatasetFeatureStatistics],
) -> tuple[str, tuple[str, statistics_pb2.DatasetFeatureStatistics]]:
    split, statistics = found
    return split, (WHOLE, statistics)


def _write(
    grouped: tuple[str, Iterable[tuple[str, statistics_pb2.DatasetFeatureStatistics]]],
    places: _Places,
) -> None:
    """Write a split's statistics; those of its slices into a file and a page of their own."""
    split, found = grouped
    parts: dict[str, list[Any]] = {}
    for key, statistics in found:
        parts.setdefault(key, []).append(statistics)
    order = {name: place for place, name in enumerate(places.columns)}
    datasets = []
    for key in sorted(parts):
        (dataset,) = merge_util.merge_dataset_feature_statistics(parts[key]).datasets
        dataset.name = key or split
        dataset.features.sort(key=lambda feature: order.get(feature.path.step[0], len(order)))
        datasets.append(dataset)
    whole, *slices = datasets
    _write_list(places.file(split), [whole])
    if slices:
        _write_list(places.file(split, SLICES), slices)
        slices.sort(key=lambda dataset: -dataset.num_examples)
        page = statistics_page([whole, *slices[:SLICES_ON_PAGE]], f"Slices of {split}")
        places.file(split, SLICES_PAGE).write_text(page, encoding="utf-8")


def _write_list(file: Path, datasets: Sequence[statistics_pb2.DatasetFeatureStatistics]) -> None:
    found = statistics_pb2.DatasetFeatureStatisticsList(datasets=datasets)
    file.write_bytes(found.SerializeToString(deterministic=True))


def _read(places: _Places, split: str) -> list[statistics_pb2.DatasetFeatureStatistics]:
    """Return the statistics of a split, then of its slices."""
    files = [file for file in (places.file(split), places.file(split, SLICES)) if file.is_file()]
    return [d for file in files for d in tfdv.load_stats_binary(str(file)).datasets]


def _metadata(
    datasets: Mapping[str, Sequence[statistics_pb2.DatasetFeatureStatistics]], columns: int
) -> dict[str, Any]:
    rows = {split: int(whole.num_examples) for split, (whole, *_) in datasets.items()}
    counted = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    slices = sum(len(found) - 1 for found in datasets.values())
    summary = f"{columns} column{'s'[: columns != 1]} over the rows of {counted}"
    if slices:
        summary += f"; {slices} slice{'s'[: slices != 1]}"
    return {"summary": summary, "rows": rows}
