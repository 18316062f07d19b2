"""Time every step of the flights pipeline and its peak memory, at several sizes.

`make bench` runs it and writes the table into benchmarks/README.md. The rows are flights, drawn
with replacement to the size wanted; the trainer takes a fixed number of steps.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np
from pyarrow import csv

from penstock.pipelines.flights.spans import label_flights, read_flights

STEPS = (
    "example_gen",
    "statistics_gen",
    "schema_gen",
    "example_validator",
    "transform",
    "trainer",
    "evaluator",
    "pusher",
)
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- steps: begin -->\n", "<!-- steps: end -->\n"


def write_rows(folder: Path, rows: int) -> None:
    """Write `rows` flights, drawn with replacement by a fixed seed, as one CSV file."""
    flights = label_flights(read_flights())
    chosen = np.random.default_rng(0).integers(0, len(flights), rows)
    folder.mkdir(parents=True)
    csv.write_csv(flights.take(chosen), folder / "flights.csv")


def time_steps(rows: int) -> dict[str, dict[str, float]]:
    """Run every step in a process of its own; return seconds and MiB by step."""
    work = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        write_rows(work / "csv", rows)
        figures = {}
        for step in STEPS:
            log = work / f"{step}.log"
            with log.open("w") as stream:
                done = subprocess.run(
                    [sys.executable, str(Path(__file__).with_name("step.py")), step, str(work)],
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            if done.returncode:
                sys.exit(f"{step} at {rows:,} rows failed:\n{log.read_text()[-3000:]}")
            figures[step] = json.loads((work / f"{step}.json").read_text())
            print(f"{rows:>9,} rows  {step:<18} {figures[step]['work_s']:6.1f} s", flush=True)
        return figures
    finally:
        shutil.rmtree(work)


def table(results: dict[int, dict[str, dict[str, float]]]) -> str:
    """Return the results as a Markdown table."""
    sizes = list(results)
    lines = [
        "| step | " + " | ".join(f"{n:,} rows: s | peak MiB" for n in sizes) + " |",
        "|---|" + "---:|---:|" * len(sizes),
    ]
    for step in STEPS:
        cells = (
            f"{results[n][step]['work_s']:.1f} | {results[n][step]['peak_mib']:,.0f}" for n in sizes
        )
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    for name, left_out in (("all", ()), ("all but the trainer", ("trainer",))):
        totals = (
            sum(f["work_s"] for s, f in results[n].items() if s not in left_out) for n in sizes
        )
        lines.append(f"| **{name}** | " + " | ".join(f"**{t:.1f}** | " for t in totals) + " |")
    imports = ", ".join(f"{s} {results[sizes[0]][s]['import_s']:.1f}" for s in STEPS)
    lines += ["", f"Importing the libraries, once a process, is not in the table: {imports} s."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Time the sizes asked for and write the table into benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[15_000, 300_000, 1_000_000])
    parser.add_argument("--dry-run", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    results = {rows: time_steps(rows) for rows in options.rows}
    versions = ", ".join(
        f"{p} {metadata.version(p)}"
        for p in ("tensorflow", "tensorflow-data-validation", "tensorflow-model-analysis")
    )
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
    text = f"Measured by `make bench` on {machine}.\n\n{table(results)}"
    print(text)
    if not options.dry_run:
        before, _, rest = README.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        README.write_text(before + BEGIN + text + END + after)


if __name__ == "__main__":
    main()
