"""Artifacts for steps that come after the data steps, written without them."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.data.examples import Column, Manifest, Shard, split_folder, write_manifest


@dataclass(frozen=True)
class Artifacts:
    """Folders of Examples, their Statistics, and the Schema inferred from them."""

    examples: Path
    statistics: Path
    schema: Path


def write_examples(folder: Path, splits: Mapping[str, pa.Table], shards: int = 1) -> Path:
    """Write tables in the Examples format, each cut into `shards` contiguous pieces."""
    listed = {}
    for split, table in splits.items():
        place = folder / split_folder(split)
        place.mkdir(parents=True)
        cuts = [round(i * len(table) / shards) for i in range(shards + 1)]
        listed[split] = []
        for number, (start, end) in enumerate(itertools.pairwise(cuts)):
            file = place / f"part-{number:05d}.parquet"
            pq.write_table(table.slice(start, end - start), file)
            listed[split].append(Shard(file.name, end - start, file.stat().st_size))
    columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
    digest = "sha256:" + "0" * 64
    shards_of = {split: tuple(files) for split, files in listed.items()}
    write_manifest(folder, Manifest(columns, digest, digest, (1, 2), {}, shards_of))
    return folder


def statistics_of(table: pa.Table):
    """TFDV's own statistics of a table, a null being a missing value."""
    from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
    from tensorflow_data_validation.statistics.stats_options import StatsOptions

    arrays = []
    for field in table.schema:
        kind = pa.int64() if pa.types.is_boolean(field.type) else field.type
        values = table[field.name].cast(kind).to_pylist()
        lists = [None if value is None else [value] for value in values]
        arrays.append(pa.array(lists, pa.large_list(kind)))
    batch = pa.RecordBatch.from_arrays(arrays, names=table.column_names)
    return generate_statistics_in_memory(batch, StatsOptions())


@pytest.fixture(scope="session")
def write_tables() -> Callable[..., Path]:
    """A function that writes tables, by split, as Examples."""
    return write_examples


@pytest.fixture(scope="session")
def write_artifacts() -> Callable[..., Artifacts]:
    """A function that writes tables, by split, as Examples, Statistics and Schema."""
    import tensorflow_data_validation as tfdv

    def write(folder: Path, splits: Mapping[str, pa.Table], shards: int = 1) -> Artifacts:
        examples = write_examples(folder / "examples", splits, shards)
        for split, table in splits.items():
            place = folder / "statistics" / split_folder(split)
            place.mkdir(parents=True)
            statistics = statistics_of(table)
            (place / "stats.binpb").write_bytes(statistics.SerializeToString())
            if split == "train":
                schema = tfdv.infer_schema(statistics)
        (folder / "schema").mkdir()
        tfdv.write_schema_text(schema, str(folder / "schema" / "schema.pbtxt"))
        return Artifacts(examples, folder / "statistics", folder / "schema")

    return write
