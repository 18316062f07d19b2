"""Training speed: the feed against a bare loop in memory, one worker against several, a GPU.

    python benchmarks/trainer.py --write    # writes benchmarks/README.md
    python benchmarks/trainer.py --rows 15000 --steps 300    # a quick try

Each case runs in processes of its own and trains the flights model for a number of steps, of which
the first are not timed. `plain` is a Keras script on arrays that were transformed before and lie in
memory: what a feed can reach at best. With a GPU the cases are run again with a larger model, and
how busy the GPU was is asked of nvidia-smi.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from readme import place, write_section

HERE = Path(__file__).parent
SMALL, LARGE = [64], [2048, 2048, 2048]
CASES = (
    "plain",
    "default",
    "multi_worker 1",
    "multi_worker 2",
    "parameter_server 1",
    "parameter_server 2",
    "jit",
    "mixed_bfloat16",
)
GPU_CASES = ("plain", "default", "mirrored", "jit", "mixed_float16")


def prepare(rows: int) -> Path:
    """Return a folder with the artifacts that the trainer of the flights pipeline is given."""
    from steps import write_rows

    work = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    write_rows(work / "csv", rows)
    for step in ("example_gen", "statistics_gen", "schema_gen", "transform"):
        command = [sys.executable, str(HERE / "step.py"), step, str(work)]
        subprocess.run(command, check=True, capture_output=True)
    return work


def train_plainly(work: Path, steps: int, batch_size: int, widths: list[int]) -> None:
    """Train on transformed arrays in memory, as a script without Penstock would."""
    import keras
    import numpy as np
    from trainer_model import Timing, build, figures

    from penstock.data.tf_dataset import tf_dataset
    from penstock.models.transform_graph import read_transform_graph

    graph = read_transform_graph(work / "transform_graph")
    batches = tf_dataset(work / "examples", "train", list(graph.columns), 65_536, label="late")
    parts = [({k: v.numpy() for k, v in graph(x).items()}, y.numpy()) for x, y in batches]
    features = {k: np.concatenate([x[k] for x, _ in parts]) for k in parts[0][0]}
    labels = np.concatenate([y for _, y in parts])
    order = np.random.default_rng(0).integers(0, len(labels), steps * batch_size)
    keras.utils.set_random_seed(0)
    model, timing = build(graph.inputs(), widths), Timing()
    model.fit(
        {name: values[order] for name, values in features.items()},
        labels[order],
        batch_size=batch_size,
        shuffle=False,
        callbacks=[timing],
        verbose=0,
    )
    (work / "figures.json").write_text(json.dumps(figures(timing, batch_size)))


def train_by_penstock(
    work: Path, case: str, steps: int, batch_size: int, widths: list[int]
) -> None:
    """Train by the trainer's executor; its module writes the figures."""
    from penstock.components.trainer.executor import train
    from penstock.components.trainer.scale import Scale

    name, _, workers = case.partition(" ")
    strategies = ("multi_worker", "parameter_server", "mirrored")
    strategy = name if name in strategies else "default"
    scale = Scale(
        strategy,
        num_workers=int(workers or 1),
        precision=name if name.startswith("mixed") else "float32",
        jit=name == "jit" or None,
        checkpoint_steps=10**9,
    )
    train(
        work / "examples",
        work / "transform_graph",
        work / "schema",
        work / "model",
        str(HERE / "trainer_model.py"),
        "late",
        train_steps=steps,
        batch_size=batch_size,
        custom_config={"widths": widths, "figures": str(work / "figures.json")},
        scale=scale,
    )


class Busy(threading.Thread):
    """Asks once a second how busy the GPUs are, in percent, until `done`."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done, self.found = threading.Event(), []

    def run(self) -> None:
        """Ask until `done` is set."""
        ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self.done.wait(1.0):
            answer = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
            self.found += [float(line) for line in answer.splitlines() if line.strip()]


def measure(work: Path, case: str, options: argparse.Namespace, widths: list[int], gpu: bool):
    """Run one case in a process of its own; return its figures, or why there are none."""
    (work / "figures.json").unlink(missing_ok=True)
    sizes = [str(options.steps), str(options.batch_size), json.dumps(widths)]
    busy = Busy()
    if gpu:
        busy.start()
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--case", case, "--work", str(work), "--sizes", *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    busy.done.set()
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    found = json.loads((work / "figures.json").read_text())
    found["whole_s"] = time.perf_counter() - begin
    if gpu and busy.found:
        found["gpu_percent"] = max(busy.found)
    return found


def gpus() -> list[str]:
    """Return the names of the GPUs that nvidia-smi knows."""
    if not shutil.which("nvidia-smi"):
        return []
    ask = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.splitlines()


def main() -> None:
    """Print a table per size, in Markdown, and on request write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        sizes = (int(options.sizes[0]), int(options.sizes[1]), json.loads(options.sizes[2]))
        if options.case == "plain":
            train_plainly(options.work, *sizes)
        else:
            train_by_penstock(options.work, options.case, *sizes)
        return
    found = gpus()
    lines = [f"GPU: {', '.join(found) or 'none at hand, so nothing was measured on one'}."]
    print(lines[0])
    for rows in options.rows:
        work = prepare(rows)
        try:
            lines += table(work, rows, options, "processor", SMALL, options.cases, gpu=False)
            if found:
                for name, widths in (("small", SMALL), ("large", LARGE)):
                    where = f"{found[0]}, {name} model"
                    lines += table(work, rows, options, where, widths, GPU_CASES, gpu=True)
        finally:
            shutil.rmtree(work)
    if options.write:
        write_section("trainer", "\n".join([f"{place()} {lines[0]}", *lines[1:]]))


def table(work, rows, options, where, widths, cases, *, gpu) -> list[str]:
    """Print and return the figures of each case on the same rows, as lines of Markdown."""
    lines = [
        f"\n{rows:,} rows, batches of {options.batch_size}, {options.steps} steps, {where}:\n",
        "| case | steps/s | rows/s | of plain | peak MiB | whole s | GPU % |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines))
    plain = 0.0
    for case in cases:
        found = measure(work, case, options, widths, gpu)
        if "failed" in found:
            lines.append(f"| {case} | failed: {found['failed']} ||||||")
        else:
            plain = found["rows_s"] if case == "plain" else plain
            ratio = f"{found['rows_s'] / plain:.0%}" if plain else ""
            speeds = f"{found['steps_s']:,.0f} | {found['rows_s']:,.0f} | {ratio}"
            busy = f"{found['gpu_percent']:.0f}" if "gpu_percent" in found else ""
            rest = f"{found['peak_mib']:,.0f} | {found['whole_s']:.1f} | {busy}"
            lines.append(f"| {case} | {speeds} | {rest} |")
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
