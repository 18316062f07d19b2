"""Measures of drift between two million rows: ours, scipy's and Evidently's, in one run.

Six columns, four of numbers and two of categories, a million rows a side, read from Parquet before
the clock starts. Each contender is a process of its own; Evidently has an environment of its own,
which uv makes from the package index.

    python benchmarks/drift_speed.py [--rows 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

EVIDENTLY = ("evidently==0.7.14", "pandas<3", "pyarrow")
NUMBERS = ("normal", "heavy", "whole", "uniform")
CATEGORIES = ("few", "many")


def columns(random: np.random.Generator, rows: int, shift: float) -> pd.DataFrame:
    """Return random columns whose numbers are shifted."""
    return pd.DataFrame(
        {
            "normal": random.normal(shift, 1, rows),
            "heavy": random.lognormal(shift, 1.5, rows),
            "whole": random.poisson(5 + shift, rows),
            "uniform": random.random(rows) + shift,
            "few": random.choice(["AA", "UA", "DL", "B6"], rows),
            "many": [f"N{n}" for n in random.zipf(1.5, rows) % 3000],
        }
    )


def by_penstock(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Callable[[], object]]:
    """Return what is timed of ours."""
    import pyarrow as pa

    from penstock.drift.columns import distributions_of_batches
    from penstock.drift.comparison import compare
    from penstock.drift.measures import MEASURES, distance

    tables = [pa.Table.from_pandas(side) for side in (reference, current)]
    known = []

    def count() -> None:
        known.extend(distributions_of_batches([table]) for table in tables)

    def measure(name: str, features: tuple[str, ...]) -> Callable[[], object]:
        return lambda: [distance(name, *(side[f] for side in known)) for f in features]

    return {
        "distributions of both sides": count,
        "Jensen-Shannon distance": measure("jensen_shannon_distance", NUMBERS + CATEGORIES),
        "Kolmogorov-Smirnov": measure("kolmogorov_smirnov", NUMBERS),
        "Wasserstein": measure("normalized_wasserstein", NUMBERS),
        "chi-square": measure("cramers_v", CATEGORIES),
        f"all {len(MEASURES)} measures": lambda: [
            distance(m.name, *(side[f] for side in known))
            for m in MEASURES.values()
            for f in NUMBERS + CATEGORIES
            if known[0][f].kind in m.kinds
        ],
        "compare by the default rules": lambda: compare(*known),
    }


def by_scipy(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Callable[[], object]]:
    """Return what is timed of scipy's, with pandas and numpy for the counts that it asks for."""
    from scipy import spatial, stats

    def counts(feature: str) -> np.ndarray:
        both = [side[feature].value_counts() for side in (reference, current)]
        return pd.concat(both, axis=1).fillna(0).to_numpy().T

    def bins(feature: str) -> np.ndarray:
        sides = [side[feature].to_numpy() for side in (reference, current)]
        edges = np.quantile(np.concatenate(sides), np.arange(11) / 10)
        return np.array([np.histogram(side, np.unique(edges))[0] for side in sides])

    def jensen_shannon() -> None:
        for feature in NUMBERS + CATEGORIES:
            spatial.distance.jensenshannon(*(counts if feature in CATEGORIES else bins)(feature))

    def each(test: Callable[..., object]) -> Callable[[], object]:
        return lambda: [test(reference[f].to_numpy(), current[f].to_numpy()) for f in NUMBERS]

    return {
        "Jensen-Shannon distance": jensen_shannon,
        "Kolmogorov-Smirnov": each(lambda one, other: stats.ks_2samp(one, other, method="asymp")),
        "Wasserstein": each(stats.wasserstein_distance),
        "chi-square": lambda: [stats.chi2_contingency(counts(f)) for f in CATEGORIES],
    }


def by_evidently(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Callable[[], object]]:
    """Return what is timed of Evidently's."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=list(NUMBERS), categorical_columns=list(CATEGORIES)
    )
    sides = [Dataset.from_pandas(s, data_definition=definition) for s in (current, reference)]

    def report(**methods: str) -> Callable[[], object]:
        return lambda: Report([DataDriftPreset(**methods)]).run(*sides).dict()

    return {
        "Jensen-Shannon distance": report(method="jensenshannon"),
        "its drift report as it comes": report(),
    }


CONTENDERS = {"penstock": by_penstock, "scipy": by_scipy, "evidently": by_evidently}


def contend(name: str, folder: Path) -> None:
    """Time a contender in this process and print JSON: seconds per what, and the peak in MB."""
    sides = [pd.read_parquet(folder / f"{side}.parquet") for side in ("reference", "current")]
    seconds = {}
    for what, call in CONTENDERS[name](*sides).items():
        started = time.perf_counter()
        call()
        seconds[what] = time.perf_counter() - started
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps({"seconds": seconds, "peak": int(peak[1]) / 1024 if peak else 0}))


def main() -> None:
    """Make the data, run every contender and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        contend(options.contender, options.folder)
        return
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as folder:
        for place, side in enumerate(("reference", "current")):
            random = np.random.default_rng(place)
            columns(random, options.rows, 0.1 * place).to_parquet(f"{folder}/{side}.parquet")
        found = {}
        for name in CONTENDERS:
            own = [str(uv), "run", "--quiet", "--no-project", "--python", sys.executable]
            own += [part for package in EVIDENTLY for part in ("--with", package)]
            python = [*own, "python"] if name == "evidently" else [sys.executable]
            command = [*python, __file__, "--contender", name, "--folder", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
    rows = list(dict.fromkeys(what for said in found.values() for what in said["seconds"]))
    print("| seconds | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
    for what in rows:
        times = [said["seconds"].get(what) for said in found.values()]
        print(f"| {what} | " + " | ".join("" if t is None else f"{t:.3f}" for t in times) + " |")
    print("| peak, MB | " + " | ".join(f"{said['peak']:,.0f}" for said in found.values()) + " |")
    print(f"\n{options.rows:,} rows a side; load average {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
