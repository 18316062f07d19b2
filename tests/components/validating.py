"""Tables validated as the component does it, from files, for the tests of example_validator."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import text_format
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from penstock.components.example_validator.executor import validate_examples
from penstock.data.examples import split_folder
from penstock.data.list_arrays import list_batch
from penstock.errors import PenstockError


@dataclass(frozen=True)
class Outcome:
    """What a validation wrote, returned and said."""

    folder: Path
    metadata: dict[str, Any] | None
    sentence: str | None

    @property
    def verdict(self) -> dict[str, Any] | None:
        file = self.folder / "anomalies" / "verdict.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def anomalies(self, split: str = "train") -> dict[tuple[str | None, str], dict[str, Any]]:
        """The anomalies of a split by feature and rule."""
        found = self.verdict["splits"][split]["anomalies"]
        by_rule = {(each["feature"], each["rule"]): each for each in found}
        assert len(by_rule) == len(found)
        return by_rule

    def rows(self, name: str, split: str = "train") -> list[dict[str, Any]]:
        """The rows of a Parquet file of a split."""
        return pq.read_table(self.folder / "anomalies" / split_folder(split) / name).to_pylist()


def statistics_of(
    table: pa.Table, schema: schema_pb2.Schema | None = None, **options: Any
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's own statistics of a table."""
    if not len(table):
        empty = statistics_pb2.DatasetFeatureStatisticsList()
        empty.datasets.add()
        return empty
    batch = list_batch(table.combine_chunks().to_batches()[0])
    return generate_statistics_in_memory(batch, StatsOptions(schema=schema, **options))


def validate(
    folder: Path,
    splits: Mapping[str, pa.Table],
    schema: str,
    policy: str = "",
    *,
    write_examples: Callable[..., Path] | None = None,
    environment: str = "",
    previous: Mapping[str, pa.Table] | None = None,
    serving: Mapping[str, pa.Table] | None = None,
    edit: Callable[[statistics_pb2.DatasetFeatureStatistics], Any] | None = None,
    options: Mapping[str, Any] | None = None,
    shards: int = 1,
    before: Path | None = None,
) -> Outcome:
    """Write tables as artifacts, and validate them.

    Args:
        folder: Where everything goes.
        splits: The data.
        schema: As text.
        policy: As text.
        write_examples: Writes the data as Examples; without it no examples are given.
        environment: The environment.
        previous: The data of the previous span.
        serving: The data of serving.
        edit: Changes the statistics of each split.
        options: TFDV's, for the statistics.
        shards: How many a split has.
        before: The folder of an earlier validation.
    """
    parsed = text_format.Parse(schema, schema_pb2.Schema())
    (folder / "schema").mkdir(parents=True)
    (folder / "schema" / "schema.pbtxt").write_text(schema)
    sides = {"statistics": splits, "previous": previous, "serving": serving}
    for name, tables in sides.items():
        for split, table in (tables or {}).items():
            found = statistics_of(table, parsed, **(options or {}))
            found.datasets[0].name = split
            if edit and name == "statistics":
                edit(found.datasets[0])
            place = folder / name / split_folder(split)
            place.mkdir(parents=True)
            (place / "stats.binpb").write_bytes(found.SerializeToString())
    examples = write_examples(folder / "examples", splits, shards) if write_examples else None
    metadata, sentence = None, None
    try:
        metadata = validate_examples(
            folder / "statistics",
            folder / "schema",
            folder / "anomalies",
            policy,
            environment,
            examples_path=examples,
            previous_statistics_path=folder / "previous" if previous else None,
            serving_statistics_path=folder / "serving" if serving else None,
            previous_anomalies_path=before / "anomalies" if before else None,
            cleaned_examples_path=folder / "cleaned",
            report_path=folder / "report.html",
            digest_path=folder / "findings.md",
        )
    except PenstockError as error:
        sentence = str(error)
    return Outcome(folder, metadata, sentence)
