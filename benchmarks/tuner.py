"""What a search costs besides training: trials that train nothing, and folds of many rows.

    python benchmarks/tuner.py --write                     # writes benchmarks/README.md
    python benchmarks/tuner.py --trials 10 --rows 15000    # a quick try

Trials are run by this process on an SQLite file, in Penstock's study (a lock, a claim, signs of
life) and by Optuna's own `study.optimize`, in the same run. Folds are made in order of time, and
compared with scikit-learn's TimeSeriesSplit, each fold of which is written as a copy.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
from memory import peak_mib
from readme import place, write_section
from sklearn.model_selection import TimeSeriesSplit

from penstock.components.example_gen.executor import generate_examples
from penstock.components.tuner.search import search
from penstock.components.tuner.space import check_space, propose_from
from penstock.components.tuner.storage import storage_url
from penstock.components.tuner.study import Budget, SharedStudy, create_study
from penstock.data.examples import read_table
from penstock.data.fold_rule import FoldRule
from penstock.data.folds import write_folds

FOLDS = 5
SPACE = {
    "units": {"type": "int", "low": 1, "high": 512, "log": True},
    "rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
}


def score(chosen: dict) -> float:
    """Return a number that the search can get better at."""
    return abs(np.log(chosen["units"] / 64)) + abs(np.log(chosen["rate"] / 0.01))


def seconds_per_trial(folder: Path, trials: int) -> dict[str, float]:
    """Return what a trial takes here and in Optuna alone."""
    url = storage_url(str(folder / "ours.sqlite"), "s")
    create_study(url, "s", "minimize", {})
    propose = propose_from(check_space(SPACE))
    began = time.perf_counter()

    def objective(chosen, progress):
        for fold in range(FOLDS):
            progress.fold_ended(score(chosen), last=fold == FOLDS - 1)

    search(SharedStudy(url, "s", 0), Budget(trials), {}, propose, objective)
    ours = time.perf_counter() - began
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/theirs.sqlite",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(),
    )
    began = time.perf_counter()

    def optunas(trial):
        value = score(propose(trial))
        for fold in range(FOLDS - 1):
            trial.report(value, fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study.optimize(optunas, n_trials=trials)
    theirs = time.perf_counter() - began
    return {"penstock": ours / trials, "optuna": theirs / trials}


def seconds_of_folds(folder: Path, rows: int) -> dict[str, float]:
    """Return seconds and mebibytes on disk of the folds of so many rows of 11 columns."""
    random = np.random.default_rng(0)
    columns = {f"x{n}": pa.array(random.normal(size=rows)) for n in range(10)}
    pq.write_table(pa.table({"time": pa.array(random.permutation(rows)), **columns}), folder / "r")
    (folder / "r").rename(folder / "rows.parquet")
    generate_examples(folder / "examples", "rows.parquet", folder, splits={"train": 1.0})
    began = time.perf_counter()
    write_folds(folder / "examples", folder / "folds", "train", FoldRule("time", FOLDS, ("time",)))
    ours = time.perf_counter() - began
    began = time.perf_counter()
    table = read_table(folder / "examples", "train").sort_by("time")
    for number, places in enumerate(TimeSeriesSplit(FOLDS).split(np.zeros(len(table)))):
        for side, indices in zip(("train", "eval"), places, strict=True):
            pq.write_table(table.take(indices), folder / f"{side}-{number}.parquet")
    theirs = time.perf_counter() - began

    def size(files) -> float:
        return sum(file.stat().st_size for file in files if not file.is_symlink()) / 2**20

    return {
        "penstock": ours,
        "penstock_mib": size((folder / "folds").rglob("*.parquet")),
        "copies": theirs,
        "copies_mib": size(folder.glob("*-*.parquet")),
    }


def main() -> None:
    """Measure, print a table in Markdown, and on request write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        found = seconds_per_trial(Path(folder), asked.trials)
    lines = [
        "| what | Penstock | compared with | |",
        "|---|---:|---|---:|",
        f"| a trial beside its training, of {asked.trials}: ms | {found['penstock'] * 1000:.1f} "
        f"| Optuna alone | {found['optuna'] * 1000:.1f} |",
    ]
    for rows in asked.rows:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            found = seconds_of_folds(Path(folder), rows)
        lines += [
            f"| {FOLDS} folds of {rows:,} rows: s | {found['penstock']:.2f} "
            f"| TimeSeriesSplit, copied | {found['copies']:.2f} |",
            f"| the same: MiB on disk | {found['penstock_mib']:.0f} | the same "
            f"| {found['copies_mib']:.0f} |",
            f"| peak so far: MiB | {peak_mib():.0f} | | |",
        ]
    print("\n".join(lines))
    if asked.write:
        write_section("tuner", "\n".join([place(), "", *lines]))


if __name__ == "__main__":
    main()
