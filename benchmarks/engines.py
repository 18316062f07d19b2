"""Time statistics_gen on one and two workers of Beam's engines, beside the step's own process.

Each measure has a process of its own, with what it starts; TensorFlow and its kin are imported
before the clock starts here, and inside the time in the workers of an engine, which start with it.

    python benchmarks/engines.py --prism build/beam/prism             # 10 million rows: minutes
    python benchmarks/engines.py --prism build/beam/prism --rows 100000
    python benchmarks/engines.py --flags "--runner=FlinkRunner --flink_master=localhost:8081
        --environment_type=LOOPBACK --parallelism=2"                  # an engine of yours
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.csv as pacsv

from data import taxi

DIRECT = "--runner=DirectRunner"


def measured(examples: Path, out: Path, flags: list[str]) -> float:
    """Return the seconds that statistics_gen takes with Beam's `flags`."""
    from penstock.components.statistics_gen.executor import generate_statistics

    started = time.perf_counter()
    generate_statistics(examples, out, beam_pipeline_args=flags)
    return time.perf_counter() - started


def make_examples(folder: Path, rows: int) -> Path:
    """Write so many taxi-like trips, and make Examples of them."""
    from penstock.components.example_gen.executor import generate_examples

    for number, table in enumerate(taxi(rows)):
        pacsv.write_csv(table, folder / f"{number:03d}.csv")
    generate_examples(folder / "examples", "*.csv", folder)
    return folder / "examples"


def engines(prism: str, flags: str) -> dict[str, list[str]]:
    """Return what is compared, by name."""
    found = {
        "in the step's process": [DIRECT],
        **{
            f"DirectRunner, {n} processes": [
                DIRECT,
                "--direct_running_mode=multi_processing",
                f"--direct_num_workers={n}",
            ]
            for n in (1, 2)
        },
    }
    if prism:
        found["Prism"] = [
            "--runner=PrismRunner",
            f"--prism_location={Path(prism).absolute()}",
            "--environment_type=LOOPBACK",
        ]
    if flags:
        found[flags] = shlex.split(flags)
    return found


def main() -> None:
    """Print a table of seconds and rows per second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--prism", default="", help="the program, as tests/beam/prism builds it")
    parser.add_argument("--flags", default="", help="Beam's flags of one more engine")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        examples, out, flags = given.one
        print(json.dumps(measured(Path(examples), Path(out), json.loads(flags))))
        return
    with tempfile.TemporaryDirectory() as work:
        examples = make_examples(Path(work), given.rows)
        print(f"| statistics of {given.rows:,} rows | seconds | rows/s |\n|---|---|---|")
        for number, (name, flags) in enumerate(engines(given.prism, given.flags).items()):
            out = Path(work, f"statistics-{number}")
            command = [sys.executable, __file__, "--one", str(examples), str(out)]
            done = subprocess.run(
                [*command, json.dumps(flags)], stdout=subprocess.PIPE, text=True, check=True
            )
            seconds = json.loads(done.stdout.splitlines()[-1])
            print(f"| {name} | {seconds:.1f} | {given.rows / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
