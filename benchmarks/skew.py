"""Feature skew by key: training rows joined with logged serving rows, ours and pandas' in one run.

Two sides of the same rows in another order, a key and 17 features (8 floats, 5 integers, 4 words),
8 Parquet shards each; in a hundredth of the rows one integer differs. Each contender is a process
of its own and reads the shards within the clock; pandas reads both sides whole, merges them and
compares column by column. The counts of both must agree.

    python benchmarks/skew.py [--rows 1000000] [--shards 8]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CONTENDERS = ("penstock", "pandas")


def write_sides(folder: Path, rows: int, shards: int) -> None:
    """Write both sides as Parquet shards, one shard in memory at a time."""
    words = np.array([f"word-{number}" for number in range(300)])
    for side in ("training", "serving"):
        place = folder / side
        place.mkdir(parents=True)
        order = np.random.default_rng(len(side)).permutation(rows)
        for number, ids in enumerate(np.array_split(order, shards)):
            # Each value is a function of the row's id, so that both sides have the same.
            mixed = (ids * 2654435761) % (2**32)
            columns = {"id": ids}
            columns |= {f"f{n}": np.sin(mixed * (n + 1)) for n in range(8)}
            columns |= {f"i{n}": (mixed >> n) % 1000 for n in range(5)}
            columns |= {f"s{n}": words[(mixed >> (n + 3)) % 300] for n in range(4)}
            if side == "serving":
                columns["i0"] = columns["i0"] + (ids % 100 == 0)
            pq.write_table(pa.table(columns), place / f"part-{number:05d}.parquet")


def by_penstock(folder: Path) -> dict[str, int]:
    """Join and compare by the Beam transform on the in-memory DirectRunner."""
    from penstock.drift.by_key import KeySkew, count_skew
    from penstock.drift.key_partitions import Side
    from penstock.drift.keys import check_keys

    sides = []
    for name in ("training", "serving"):
        files = sorted((folder / name).glob("*.parquet"))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        sides.append(Side(tuple(map(str, files)), pq.read_schema(files[0]), rows))
    training, serving = sides
    keys = check_keys(["id"], training.schema, serving.schema)
    features = tuple(name for name in training.schema.names if name != "id")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        counts = count_skew(training, serving, KeySkew(keys, features), work)
    return {"pairs": counts.pairs, "mismatch": counts.features["i0"].mismatch}


def by_pandas(folder: Path) -> dict[str, int]:
    """Merge both sides whole, and compare column by column."""
    import pandas as pd

    training, serving = (pd.read_parquet(folder / side) for side in ("training", "serving"))
    joined = training.merge(serving, on="id", suffixes=("", "_serving"))
    found = {}
    for name in training.columns.drop("id"):
        one, other = joined[name], joined[f"{name}_serving"]
        if one.dtype.kind == "f":
            same = np.isclose(one, other, rtol=1e-6, atol=0, equal_nan=True)
        else:
            same = (one == other) | (one.isna() & other.isna())
        found[name] = int((~same).sum())
    return {"pairs": len(joined), "mismatch": found["i0"]}


def measure(contender: str, folder: Path) -> None:
    """Run one contender and print what it took, as JSON."""
    work = {"penstock": by_penstock, "pandas": by_pandas}[contender]
    if contender == "penstock":
        import penstock.drift.by_key  # noqa: F401  imports are not what is measured
    else:
        import pandas  # noqa: F401
    before = peak_mib()
    begin = time.perf_counter()
    found = work(folder)
    seconds = time.perf_counter() - begin
    print(json.dumps(found | {"s": seconds, "peak_mib": peak_mib(), "imports_mib": before}))


def peak_mib() -> float:
    """Return this process's peak resident memory; getrusage would count its parent's as well."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def main() -> None:
    """Time both contenders on the same rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each side")
    parser.add_argument("--shards", type=int, default=8, help="shards of each side")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as work:
        write_sides(Path(work), options.rows, options.shards)
        results = {}
        for contender in CONTENDERS:
            done = subprocess.run(
                [sys.executable, __file__, "--measure", contender, work],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{contender} failed:\n{done.stderr[-3000:]}")
            results[contender] = json.loads(done.stdout.splitlines()[-1])
    agreed = {(r["pairs"], r["mismatch"]) for r in results.values()}
    if len(agreed) != 1:
        sys.exit(f"The counts do not agree: {results}")
    (pairs, mismatch) = agreed.pop()
    print(f"{options.rows:,} rows a side, 18 columns, {os.cpu_count()} cores, Python ", end="")
    print(f"{platform.python_version()}, load average {os.getloadavg()[0]:.1f}; ", end="")
    print(f"{pairs:,} pairs, {mismatch:,} differ in i0\n")
    print("| | s | peak MiB | of which imports |\n|---|---:|---:|---:|")
    for contender, r in results.items():
        print(f"| {contender} | {r['s']:.1f} | {r['peak_mib']:,.0f} | {r['imports_mib']:,.0f} |")


if __name__ == "__main__":
    main()
