"""Time the evaluator against TFMA's own, on the same rows and metrics.

    python benchmarks/evaluator.py [rows ...] [--tfma-rows ROWS]

For each number of rows, 3 and 50 slices, with AUC, BinaryAccuracy and Calibration of predictions
that lie in the examples: the whole step, without and with 200 bootstrap replicates, and TFMA's
extractors, evaluator and writer alone on the same rows. TFMA's time grows with the rows and takes
an hour for a million in 50 slices, so it may be held to its first `--tfma-rows` rows, 300,000
unless told otherwise; "times faster" compares rows a second. Then the rows a second that the
evaluator and bulk_inferrer predict with a Keras model, against `model.predict` on arrays that are
ready. Each case is a process of its own; seconds do not count imports, MiB is the peak of the
process (VmHWM).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from penstock.data.examples import Column, Manifest, iter_batches, write_manifest
from penstock.data.shards import ShardWriter

CONFIG = """
model_specs { label_key: "label" prediction_key: "score" }
slicing_specs {}
%s
metrics_specs {
  metrics { class_name: "AUC" threshold { value_threshold { lower_bound { value: 0.5 } } } }
  metrics { class_name: "BinaryAccuracy" }
  metrics { class_name: "Calibration" }
}
"""
# Columns to slice by, with how many values: with all rows, 3 and 50 slices.
SLICES = {3: {"half": 2}, 50: {"ninth": 9, "fortieth": 40}}
FEATURES = 8
LIMIT_S = 3600
EVALUATOR, BULK, BARE = range(3)


def write_rows(folder: Path, rows: int) -> None:
    """Write examples with labels, scores, columns to slice by, and features."""
    rng = np.random.default_rng(0)
    label = (rng.random(rows) < 0.3).astype(np.int64)
    logit = rng.normal(label - 1.2, 1.0).astype(np.float32)
    columns: dict[str, Any] = {"label": label, "score": 1 / (1 + np.exp(-logit))}
    for values in SLICES.values():
        columns |= {name: rng.integers(0, n, rows) for name, n in values.items()}
    for number in range(FEATURES):
        columns[f"x{number}"] = rng.normal(size=rows).astype(np.float32)
    table = pa.table(columns)
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, "eval", table.schema)
    for batch in table.to_batches():
        writer.write(batch)
    listed = tuple(Column(field.name, str(field.type)) for field in table.schema)
    splits = {"eval": writer.close()}
    write_manifest(folder, Manifest(listed, "sha256:0", "sha256:0", (1,), {}, splits))


def config(slices: int) -> str:
    """Return the EvalConfig with so many slices."""
    keys = [f'slicing_specs {{ feature_keys: "{name}" }}' for name in SLICES[slices]]
    return CONFIG % "\n".join(keys)


def ours(examples: Path, work: Path, slices: int, replicates: int) -> Any:
    """Return the whole step, from Parquet to the page, ready to run."""
    from penstock.components.evaluator.executor import evaluate

    def step() -> None:
        outputs = (work / "evaluation", work / "blessing", work / "page.html")
        evaluate(examples, None, *outputs, config(slices), replicates=replicates)

    return step


def tfmas(examples: Path, work: Path, slices: int, _: int) -> Any:
    """Return TFMA's evaluator on rows that are read already, ready to run."""
    from penstock.components.evaluator.analysis import analyze
    from penstock.components.evaluator.config import read_eval_config
    from penstock.components.evaluator.row_files import write_rows

    asked = read_eval_config(config(slices))
    batches = list(iter_batches(examples, "eval", ["label", "score", *SLICES[slices]], 65_536))
    rows = sum(batch.num_rows for batch in batches)
    file = write_rows(work / "rows.arrow", batches, [np.arange(rows)])
    assert file is not None
    (work / "tfma").mkdir()
    return lambda: analyze([file], asked, work / "tfma", rows_alone=True)


def prediction(examples: Path, work: Path, _: int, how: int) -> Any:
    """Return the prediction of all rows by a Keras model, bare or as one of two steps does it."""
    import keras

    from penstock.components.bulk_inferrer.executor import infer
    from penstock.components.evaluator.predictions import Source, predict
    from penstock.models.keras_model import save_keras

    names = [f"x{number}" for number in range(FEATURES)]
    inputs = {name: keras.Input((), name=name) for name in names}
    columns = [keras.layers.Reshape((1,))(value) for value in inputs.values()]
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Concatenate()(columns))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    if how == BARE:
        table = pa.Table.from_batches(iter_batches(examples, "eval", names, 65_536))
        arrays = {name: table[name].to_numpy() for name in names}
        return lambda: model.predict(arrays, batch_size=65_536, verbose=0)
    save_keras(model, work / "serving")
    if how == BULK:
        options = {"columns": ["label"], "allow_unvalidated": True}
        return lambda: infer(examples, work, work / "predictions", **options)
    source = Source("", work)
    known = {"label": "int64", **dict.fromkeys(names, "float")}
    return lambda: predict(
        examples, "eval", [source], ["label"], work / "rows", known_columns=known
    )


CASES = {"ours": ours, "tfma": tfmas, "predict": prediction}


def measure(examples: Path, case: str, slices: int, number: int) -> dict[str, float] | None:
    """Run a case in a process of its own; None where it took longer than an hour."""
    command = [sys.executable, __file__, "--case", str(examples), case, str(slices), str(number)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run_case(examples: str, case: str, slices: str, number: str) -> None:
    """Print what a case took, as JSON."""
    with tempfile.TemporaryDirectory() as work:
        step = CASES[case](Path(examples), Path(work), int(slices), int(number))
        begin, cpu = time.perf_counter(), time.process_time()
        step()
        took = {"s": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    print(json.dumps(took | {"mib": peak}))


def cell(figures: dict[str, float] | None) -> str:
    """Return seconds, CPU seconds and peak memory for a table."""
    if figures is None:
        return f"more than {LIMIT_S:,} s"
    return f"{figures['s']:.1f} s, CPU {figures['cpu_s']:.1f} s, {figures['mib']:,.0f} MiB"


def main(sizes: list[int], tfma_rows: int) -> None:
    """Print the tables."""
    print("| rows | slices | ours | ours, 200 replicates | TFMA | times faster | with intervals |")
    print("|---|---|---|---|---|---|---|")
    predicted, peers = [], {}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            examples = Path(folder) / "examples"
            write_rows(examples, rows)
            fewer = min(rows, tfma_rows)
            if fewer < rows:
                write_rows(Path(folder) / "fewer", fewer)
            for slices in SLICES:
                plain, sure = (measure(examples, "ours", slices, b) for b in (0, 200))
                if (fewer, slices) not in peers:
                    peer_examples = examples if fewer == rows else Path(folder) / "fewer"
                    peers[fewer, slices] = measure(peer_examples, "tfma", slices, 0)
                peer = peers[fewer, slices]
                a_row = (peer["s"] if peer else LIMIT_S) / fewer
                times = [f"{a_row * rows / one['s']:.0f}" if one else "" for one in (plain, sure)]
                of = cell(peer) + (f" of {fewer:,} rows" if fewer < rows else "")
                cells = [f"{rows:,}", str(slices), cell(plain), cell(sure), of, *times]
                print(f"| {' | '.join(cells)} |", flush=True)
            cases = (EVALUATOR, BULK, BARE)
            predicted.append((rows, [measure(examples, "predict", 0, how) for how in cases]))
    print("\n| rows | rows a second: evaluator | bulk_inferrer, MiB | model.predict |")
    print("|---|---|---|---|")
    for rows, found in predicted:
        speeds = [f"{rows / one['s']:,.0f}" if one else "" for one in found]
        speeds[BULK] += f", {found[BULK]['mib']:,.0f} MiB" if found[BULK] else ""
        print(f"| {rows:,} | {' | '.join(speeds)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        run_case(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("rows", nargs="*", type=int)
        parser.add_argument("--tfma-rows", type=int, default=300_000)
        asked = parser.parse_args()
        main(asked.rows or [300_000, 1_000_000], asked.tfma_rows)
