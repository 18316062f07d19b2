"""Time example_gen, statistics_gen and the tf.data reader beside their peers, in one run.

CSV to Examples against `pyarrow.csv.read_csv` and `pyarrow.parquet.write_table`; statistics against
DuckDB's SUMMARIZE on the same Parquet; both again at many more rows, whose peak memory must stay;
rows per second into batches. Every measure has a process of its own, whose imports are not timed.

    python benchmarks/data.py                                  # 1 and 10 million rows: minutes
    python benchmarks/data.py --rows 20000 --large 100000      # quick
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from memory import peak_mib

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- data: begin -->\n", "<!-- data: end -->\n"
PART = 500_000
READ_ROWS = 2_000_000
FEATURES = ("fare", "tips", "trip_miles", "trip_seconds", "trip_start_hour", "company")


def taxi(rows: int) -> Iterator[pa.Table]:
    """Yield taxi-like trips in parts: 18 columns, numbers, words, codes, missing values."""
    draw = np.random.default_rng(0)
    companies = np.array([f"Company {n}" for n in range(60)])
    payments = np.array(["Cash", "Credit Card", "Mobile", "Unknown"])
    for start in range(0, rows, PART):
        n = min(PART, rows - start)
        miles = np.round(draw.gamma(1.2, 3, n), 1)
        fare = np.round(3.25 + 2.25 * miles + draw.normal(0, 1, n), 2)
        begin = 1_356_998_400 + draw.integers(0, 4 * 365 * 96, n) * 900
        tract = pa.array(17_031_000_000 + draw.integers(0, 900, n) * 100, mask=draw.random(n) < 0.3)
        yield pa.table(
            {
                "trip_id": np.arange(start, start + n),
                "taxi_id": draw.integers(0, 6000, n),
                "trip_start_timestamp": begin,
                "trip_start_month": draw.integers(1, 13, n),
                "trip_start_day": draw.integers(1, 8, n),
                "trip_start_hour": draw.integers(0, 24, n),
                "trip_seconds": pa.array(np.round(miles * 180), mask=draw.random(n) < 0.01),
                "trip_miles": miles,
                "pickup_census_tract": tract,
                "pickup_community_area": draw.integers(1, 78, n),
                "dropoff_community_area": draw.integers(1, 78, n),
                "pickup_latitude": np.round(41.9 + draw.normal(0, 0.05, n), 9),
                "pickup_longitude": np.round(-87.6 + draw.normal(0, 0.05, n), 9),
                "fare": fare,
                "tips": np.round(np.maximum(0, draw.normal(1, 2, n)), 2),
                "tolls": pa.array(np.zeros(n), mask=draw.random(n) < 0.5),
                "payment_type": payments[draw.integers(0, 4, n)],
                "company": companies[np.minimum(draw.geometric(0.08, n), 60) - 1],
            }
        )


def flights(rows: int) -> Iterator[pa.Table]:
    """Yield flights drawn with replacement, in parts."""
    from penstock.pipelines.flights.spans import label_flights, read_flights

    known = label_flights(read_flights())
    draw = np.random.default_rng(0)
    for start in range(0, rows, PART):
        yield known.take(draw.integers(0, len(known), min(PART, rows - start)))


def write_csv(parts: Iterator[pa.Table], file: Path) -> None:
    """Write the parts as one CSV file."""
    first = next(parts)
    with pacsv.CSVWriter(file, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def example_gen(folder: Path) -> Callable[[], object]:
    """Return what converts the CSV file to Examples."""
    from penstock.components.example_gen.executor import generate_examples

    return lambda: generate_examples(folder / "examples", str(folder / "rows.csv"))


def read_csv_write_table(folder: Path) -> Callable[[], object]:
    """Return what pyarrow needs for the same file, as one table."""
    return lambda: pq.write_table(pacsv.read_csv(folder / "rows.csv"), folder / "peer.parquet")


def statistics_gen(folder: Path) -> Callable[[], object]:
    """Return what computes the statistics of the Examples."""
    from penstock.components.statistics_gen.executor import generate_statistics

    return lambda: generate_statistics(folder / "examples", folder / "statistics")


def summarize(folder: Path) -> Callable[[], object]:
    """Return what has DuckDB summarize the Examples' Parquet files."""
    import duckdb

    files = f"{folder}/examples/Split-*/*.parquet"
    return lambda: duckdb.sql(f"SUMMARIZE SELECT * FROM read_parquet('{files}')").fetchall()


def reader(folder: Path, batch: int) -> Callable[[], int]:
    """Return what reads batches of the training split, shuffled, and counts their rows."""
    from penstock.data.tf_dataset import tf_dataset

    def read() -> int:
        rows = 0
        dataset = tf_dataset(
            folder / "examples", "train", FEATURES, batch, shuffle_seed=1, repeat=True
        )
        for features in dataset:
            rows += len(features["fare"])
            if rows >= READ_ROWS:
                return rows
        return rows

    return read


MEASURES = {m.__name__: m for m in (example_gen, read_csv_write_table, statistics_gen, summarize)}


def measure(name: str, folder: Path) -> None:
    """Run one measure in this process and print what it took as JSON."""
    kind, _, batch = name.partition("-")
    work = reader(folder, int(batch)) if batch else MEASURES[kind](folder)
    begin = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - begin
    print(json.dumps({"s": seconds, "mib": peak_mib(), "rows": done if batch else 0}))


def best(name: str, folder: Path, repeat: int) -> dict[str, float]:
    """Return the fastest of several processes that run one measure."""
    found = []
    for _ in range(repeat):
        command = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    figures = min(found, key=lambda one: one["s"])
    print(
        f"{folder.name:<18} {name:<22} {figures['s']:7.2f} s {figures['mib']:8,.0f} MiB", flush=True
    )
    return figures


def compare(folder: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Return the figures of both components and their peers on one CSV file."""
    return {name: best(name, folder, repeat) for name in MEASURES}


def table(results: dict[str, dict[str, dict[str, float]]], speeds: dict[int, float]) -> str:
    """Return the results as Markdown tables."""
    head = "| rows | example_gen: s | MiB | read_csv + write_table: s | MiB | ratio "
    head += "| statistics_gen: s | MiB | SUMMARIZE: s | MiB | ratio |"
    lines = [head, "|---|" + "---:|" * 10]
    for name, found in results.items():
        cells = []
        for ours, peer in (
            ("example_gen", "read_csv_write_table"),
            ("statistics_gen", "summarize"),
        ):
            one, other = found[ours], found[peer]
            cells += [f"{f['s']:.2f} | {f['mib']:,.0f}" for f in (one, other)]
            cells.append(f"{one['s'] / other['s']:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| rows in a batch | tf_dataset, shuffled, six columns: rows/s |", "|---:|---:|"]
    lines += [f"| {batch:,} | {speed:,.0f} |" for batch, speed in speeds.items()]
    return "\n".join(lines) + "\n"


def run(options: argparse.Namespace, work: Path) -> str:
    """Measure everything in the folder `work` and return the tables."""
    results: dict[str, dict[str, dict[str, float]]] = {}
    speeds = {}
    for source, rows in ((taxi, options.rows), (flights, options.rows), (taxi, options.large)):
        folder = work / f"{source.__name__}-{rows}"
        folder.mkdir()
        write_csv(source(rows), folder / "rows.csv")
        repeat = 1 if rows == options.large else options.repeat
        results[f"{rows:,} {source.__name__}"] = compare(folder, repeat)
        if not speeds:
            for batch in options.batches:
                figures = best(f"reader-{batch}", folder, options.repeat)
                speeds[batch] = figures["rows"] / figures["s"]
        shutil.rmtree(folder)
    return table(results, speeds)


def main() -> None:
    """Measure at the sizes asked for, print the tables, write them into benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 8192])
    parser.add_argument("--repeat", type=int, default=3, help="take the fastest of so many")
    parser.add_argument("--dry-run", action="store_true", help="print the tables, write nothing")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.folder)
        return
    work = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        text = f"Measured on {os.cpu_count()} cores.\n\n{run(options, work)}"
    finally:
        shutil.rmtree(work)
    print(text)
    before, begin, rest = README.read_text().partition(BEGIN)
    if begin and not options.dry_run:
        README.write_text(before + BEGIN + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
