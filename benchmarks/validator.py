"""How fast example_validator is: from statistics alone, and finding the rows that offend.

    python benchmarks/validator.py                   # a million rows of 18 columns
    python benchmarks/validator.py --rows 100000 --peer-rows 500

The data are the flights of 2013, repeated, with a thousandth of the carriers renamed. Beside each
stands its peer in the same process: `tfdv.validate_statistics`, and TFDV's own search for offending
rows, `IdentifyAnomalousExamples`, on fewer rows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from step import peak_mib
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.components.example_gen.executor import generate_examples
from penstock.components.example_validator.executor import validate_examples
from penstock.components.example_validator.row_rules import rules_of_schema
from penstock.components.example_validator.rows import (
    count_offending,
    open_split,
    sample_offending,
)
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data.list_arrays import list_batch
from penstock.data.statistics import read_statistics, statistics_splits
from penstock.pipelines.flights.spans import label_flights, read_flights
from penstock.schemas import schema_text

LEFT_OUT = ("year", "arr_time", "sched_arr_time")
RULE = "row_rules: [{name: speed, sql: distance / air_time BETWEEN 1 AND 9.5, tolerate: 0.01}]"


def flights(rows: int) -> pa.Table:
    """Return so many rows of 18 columns, every thousandth with a carrier out of the domain."""
    year = label_flights(read_flights()).drop(list(LEFT_OUT))
    table = pa.concat_tables([year] * (rows // len(year) + 1)).slice(0, rows).combine_chunks()
    carriers = table["carrier"].to_pylist()
    carriers[::1000] = ["United"] * len(carriers[::1000])
    place = table.schema.get_field_index("carrier")
    return table.set_column(place, "carrier", pa.array(carriers))


def schema_of(columns: list[str]) -> schema_pb2.Schema:
    """Return the reviewed schema of these columns."""
    schema = text_format.Parse(schema_text("flights"), schema_pb2.Schema())
    kept = [feature for feature in schema.feature if feature.name in columns]
    del schema.feature[:]
    schema.feature.extend(kept)
    return schema


def best_of(repeats: int, work: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of some runs."""
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def peer_rows_per_second(table: pa.Table, schema: schema_pb2.Schema) -> float:
    """Return how many rows a second TFDV looks at for offending ones, a row a batch."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_data_validation.api.validation_api import IdentifyAnomalousExamples

    options = tfdv.StatsOptions(schema=schema, infer_type_from_schema=False)
    batches = [list_batch(batch) for batch in table.to_batches(max_chunksize=1)]
    begin = time.perf_counter()
    # Beam's own inference contradicts the types that TFDV declares.
    flags = PipelineOptions(["--no_pipeline_type_check", "--direct_running_mode=in_memory"])
    with beam.Pipeline("DirectRunner", options=flags) as pipeline:
        _ = pipeline | beam.Create(batches) | IdentifyAnomalousExamples(options)
    return len(table) / (time.perf_counter() - begin)


def find_rows(work: Path, schema: schema_pb2.Schema) -> int:
    """Count and sample the rows that offend, in every split, and return how many there are."""
    found = 0
    for split in statistics_splits(work / "statistics"):
        with open_split(work / "examples", split, work / "spill") as rows:
            rules = rules_of_schema(schema, rows.columns)
            counts = count_offending(rows, rules)
            broken = [(rule, count) for rule, count in zip(rules, counts, strict=True) if count]
            if broken:
                sample_offending(rows, *zip(*broken, strict=True), 100)
            found += sum(counts)
    return found


def measure(rows: int, repeats: int, peer_rows: int, work: Path) -> dict[str, Any]:
    """Return the figures, with artifacts in `work`."""
    table = flights(rows)
    pq.write_table(table, work / "flights.parquet")
    generate_examples(work / "examples", str(work / "flights.parquet"))
    generate_statistics(work / "examples", work / "statistics")
    schema = schema_of(table.column_names)
    (work / "schema").mkdir()
    tfdv.write_schema_text(schema, str(work / "schema" / "schema.pbtxt"))

    def validate(**more: Any) -> None:
        policy = "on_anomalies: warn\n" + (RULE if more else "")
        folders = (work / "statistics", work / "schema", work / "anomalies")
        validate_examples(*folders, policy, **more)

    def peer() -> None:
        for split in statistics_splits(work / "statistics"):
            tfdv.validate_statistics(read_statistics(work / "statistics", split), schema)

    from_statistics = best_of(repeats, validate)
    finding = best_of(repeats, lambda: find_rows(work, schema))
    by_rows = best_of(repeats, lambda: validate(examples_path=work / "examples"))
    cleaned = best_of(
        1, lambda: validate(examples_path=work / "examples", cleaned_examples_path=work / "cleaned")
    )
    return {
        "rows": rows,
        "columns": table.num_columns,
        "from_statistics_s": round(from_statistics, 3),
        "tfdv_validate_statistics_s": round(best_of(repeats, peer), 3),
        "finding_s": round(finding, 3),
        "finding_rows_per_s": round(rows / finding),
        "with_rows_s": round(by_rows, 3),
        "with_rows_and_cleaned_s": round(cleaned, 3),
        "tfdv_identify_rows_per_s": round(peer_rows_per_second(table.slice(0, peer_rows), schema)),
        "peak_mib": round(peak_mib()),
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-rows", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(given.rows, given.repeats, given.peer_rows, Path(folder))
    print(json.dumps(figures, indent=2))
