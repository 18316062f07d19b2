"""Times the local runner: per step, fan-out, and a cached run; kfp.local beside it.

`python benchmarks/runner.py` prints the table; `--write` puts it into benchmarks/README.md.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).with_name("README.md")
AUTHOR = """
from typing import List

from kfp import dsl

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def numbers(count: int) -> List[int]:
    return list(range(count))


@component
def add(value: int, to: int) -> int:
    return value + to


@component
def total(values: List[int]) -> int:
    return sum(values)


@dsl.pipeline
def fan(count: int) -> int:
    with dsl.ParallelFor(numbers(count=count).output) as item:
        each = add(value=item, to=1)
    return total(values=dsl.Collected(each.output)).output


@dsl.pipeline
def one() -> int:
    return add(value=0, to=1).output


@dsl.pipeline
def chain() -> int:
    last = add(value=0, to=1)
    for step in range(99):
        last = add(value=last.output, to=step)
    return last.output


@dsl.pipeline
def short() -> int:
    last = add(value=0, to=1)
    for step in range(9):
        last = add(value=last.output, to=step)
    return last.output
"""
KFP_LOCAL = """
import sys, time
from kfp import local
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
import author
started = time.monotonic()
getattr(author, sys.argv[2])()
print("took", time.monotonic() - started)
"""


def penstock(folder: Path, *arguments: str) -> tuple[float, float]:
    """Return (seconds inside the run, seconds of the process)."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", "run", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    took = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    minutes, seconds = re.search(r"Succeeded in (?:(\d+) min )?([\d.]+) s", done.stdout).groups()
    return 60 * int(minutes or 0) + float(seconds), took


def kfp_local(folder: Path, pipeline: str) -> float:
    """Return the seconds kfp.local's subprocess runner takes for a pipeline."""
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run(
            [sys.executable, "-c", KFP_LOCAL, root, pipeline],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    return float(re.search(r"^took (.*)$", done.stdout, re.MULTILINE)[1])


def measure(folder: Path) -> list[tuple[str, str]]:
    """Return rows of (what, result)."""
    (folder / "author.py").write_text(AUTHOR)
    rows = []
    hundred, _ = penstock(folder, "author.py:chain", "--no-cache", "--workers", "1")
    single, _ = penstock(folder, "author.py:one", "--no-cache", "--workers", "1")
    rows.append(("a step in a chain of 100", f"{(hundred - single) / 99 * 1000:.0f} ms"))
    isolated, _ = penstock(folder, "author.py:short", "--no-cache", "--isolate", "--workers", "1")
    rows.append(("a step with `--isolate`", f"{isolated / 10 * 1000:.0f} ms"))
    rows.append(
        (
            "a step, kfp.local's subprocess runner",
            f"{kfp_local(folder, 'short') / 10 * 1000:.0f} ms",
        )
    )
    inside, process = penstock(folder, "author.py:chain", "--workers", "1")
    inside, process = penstock(folder, "author.py:chain", "--workers", "1")
    rows.append(
        ("100 cached steps, process start to end", f"{process:.1f} s ({inside:.1f} s in it)")
    )
    inside, process = penstock(folder, "author.py:fan", "--param", "count=1000")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows.append(("1,000-step fan-out", f"{inside:.1f} s, {peak:.0f} MB in the largest process"))
    inside, process = penstock(folder, "author.py:fan", "--param", "count=1000")
    rows.append(("the same, cached", f"{inside:.1f} s"))
    penstock(folder, "penstock.pipelines.flights")
    inside, process = penstock(folder, "penstock.pipelines.flights")
    rows.append(
        ("flights, cached, process start to end", f"{process:.1f} s ({inside:.1f} s in it)")
    )
    return rows


def main() -> None:
    """Measure, print, and on request write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    rows.append(("load average", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"))
    table = "\n".join(["| | |", "|---|---|", *(f"| {what} | {result} |" for what, result in rows)])
    print(table)
    if arguments.write:
        text = README.read_text()
        marks = "<!-- runner: begin -->", "<!-- runner: end -->"
        before, rest = text.split(marks[0])
        after = rest.split(marks[1])[1]
        README.write_text(f"{before}{marks[0]}\n{table}\n{marks[1]}{after}")


if __name__ == "__main__":
    main()
