"""The Statistics format: one `DatasetFeatureStatisticsList` per split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from ..errors import PenstockError
from .examples import split_folder

if TYPE_CHECKING:
    import os

    from tensorflow_metadata.proto.v0 import statistics_pb2

STATISTICS = "stats.binpb"
SLICES = "slices.binpb"
TABLE = "statistics.parquet"
PAGE = "statistics.html"

# The columns of `statistics.parquet`: one row per split, slice and feature. A measure that does not
# exist for the feature's type is null.
TABLE_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("slice", pa.string()),
        ("feature", pa.string()),
        ("type", pa.string()),
        ("rows", pa.int64()),
        ("missing", pa.int64()),
        ("values", pa.int64()),
        ("min_values_per_row", pa.int64()),
        ("max_values_per_row", pa.int64()),
        ("mean", pa.float64()),
        ("std_dev", pa.float64()),
        ("zeros", pa.int64()),
        ("min", pa.float64()),
        ("median", pa.float64()),
        ("max", pa.float64()),
        ("quantiles", pa.list_(pa.float64())),
        ("distinct", pa.int64()),
        ("mean_length", pa.float64()),
        ("top_values", pa.list_(pa.struct([("value", pa.string()), ("count", pa.float64())]))),
    ]
)


def statistics_splits(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the splits that have statistics in the folder `path`, sorted.

    Raises:
        PenstockError: There are none.
    """
    files = f"{split_folder('*')}/{STATISTICS}"
    found = sorted(file.parent.name for file in Path(path).glob(files))
    if not found:
        raise PenstockError(
            f"There are no statistics at {path}: no {files}; give the folder that statistics_gen "
            "wrote."
        )
    return [name.removeprefix(split_folder("")) for name in found]


def read_statistics(
    path: str | os.PathLike[str], split: str
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Read the statistics of one split: a list with one dataset, named after the split.

    Raises:
        PenstockError: There are none of this split, or the file is not a statistics proto.
    """
    from tensorflow_metadata.proto.v0 import statistics_pb2

    known = statistics_splits(path)
    if split not in known:
        raise PenstockError(
            f"There is no split {split!r} in the statistics; they have {', '.join(known)}."
        )
    file = Path(path) / split_folder(split) / STATISTICS
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    try:
        statistics.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise PenstockError(
            f"{file} is not a DatasetFeatureStatisticsList; run statistics_gen again."
        ) from error
    if len(statistics.datasets) != 1:
        raise PenstockError(
            f"{file} holds {len(statistics.datasets)} datasets, expected one; run statistics_gen "
            "again."
        )
    return statistics


def statistics_table(
    datasets: Mapping[str, Sequence[statistics_pb2.DatasetFeatureStatistics]],
) -> pa.Table:
    """Return the statistics as a table of `TABLE_SCHEMA`, a row per split, slice and feature.

    `slice` is null for all rows of the split. `quantiles` are the edges of TFDV's quantile
    histogram, by default the deciles from the minimum to the maximum. A feature's name is its path,
    the steps joined by dots. A field of a struct is missing where the struct is there without it.

    Args:
        datasets: Per split the statistics of all its rows, then those of its slices, named.
    """
    rows = [
        _table_row(split, dataset.name if place else None, dataset, feature)
        for split, found in datasets.items()
        for place, dataset in enumerate(found)
        for feature in dataset.features
    ]
    return pa.Table.from_pylist(rows, schema=TABLE_SCHEMA)


def _table_row(split: str, slice_: str | None, dataset: Any, feature: Any) -> dict[str, Any]:
    kind = feature.WhichOneof("stats")
    stats = getattr(feature, kind) if kind else feature.num_stats
    common = stats.common_stats
    row = {
        "split": split,
        "slice": slice_,
        "feature": ".".join(feature.path.step) or feature.name,
        "type": type(feature).Type.Name(feature.type).lower(),
        "rows": int(dataset.num_examples),
        "missing": int(common.num_missing),
        "values": int(common.tot_num_values),
        "min_values_per_row": int(common.min_num_values),
        "max_values_per_row": int(common.max_num_values),
    }
    if not common.tot_num_values:
        return row
    if kind == "num_stats":
        row |= {name: getattr(stats, name) for name in ("mean", "std_dev", "min", "median", "max")}
        row["zeros"] = int(stats.num_zeros)
        for histogram in stats.histograms:
            if histogram.type == histogram.QUANTILES and histogram.buckets:
                edges = [bucket.low_value for bucket in histogram.buckets]
                row["quantiles"] = [*edges, histogram.buckets[-1].high_value]
    elif kind == "string_stats":
        row["distinct"] = int(stats.unique)
        row["mean_length"] = stats.avg_length
        row["top_values"] = [{"value": t.value, "count": t.frequency} for t in stats.top_values]
    elif kind == "bytes_stats":
        row["distinct"] = int(stats.unique)
        row["mean_length"] = stats.avg_num_bytes
    return row
