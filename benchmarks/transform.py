"""Time transform at a million rows, a vocabulary of a million terms, and the feed of training.

    python benchmarks/transform.py                 # all three, each in a process of its own
    python benchmarks/transform.py --write         # and write benchmarks/README.md
    python benchmarks/transform.py fit --rows 100000

The feed is `fn_args.train_data()` of the flights model, from Parquet through tf.data and the
preprocessing; what it is held against is a loop over arrays in memory, transformed beforehand. Both
run the same compiled training step, in turns, so that the machine's moods meet both.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from memory import peak_mib
from readme import place, write_section
from steps import write_rows

MODULE = "penstock.pipelines.flights.model"
BATCH = 512
TURNS = 5


def prepare(folder: Path, rows: int) -> None:
    """Write the flights' Examples, Statistics and Schema."""
    from penstock.components.example_gen.executor import generate_examples
    from penstock.components.statistics_gen.executor import generate_statistics
    from penstock.schemas import schema_text

    write_rows(folder / "csv", rows)
    generate_examples(folder / "examples", str(folder / "csv" / "*.csv"))
    generate_statistics(folder / "examples", folder / "statistics")
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(schema_text("flights"))


def fit(folder: Path) -> dict[str, float]:
    """Fit the flights' features; TensorFlow and Keras are imported beforehand."""
    began = time.perf_counter()
    import keras  # noqa: F401

    from penstock.components.transform.executor import fit_transform

    imported = time.perf_counter()
    artifacts = (folder / name for name in ("examples", "statistics", "schema", "graph"))
    fit_transform(*artifacts, MODULE)
    return {
        "import, s": imported - began,
        "fit, s": time.perf_counter() - imported,
        "peak, MiB": peak_mib(),
    }


def vocabulary(terms: int) -> dict[str, float]:
    """Count, build, save, load, look up and export a vocabulary of `terms` strings."""
    import keras
    import tensorflow as tf

    from penstock.components.transform.counts import count_batches
    from penstock.components.transform.features import Categorical
    from penstock.components.transform.fit import State, categories, most_frequent
    from penstock.components.transform.graph import write_transform_graph
    from penstock.components.transform.preprocessing import build_preprocessing
    from penstock.models.loading import load_model
    from penstock.models.transform_graph import read_transform_graph
    from penstock.training.export import export_model

    random = np.random.default_rng(0)
    names = pa.array([f"user-{i:07d}" for i in range(terms)])
    column = names.take(pa.array(np.append(np.arange(terms), random.integers(0, terms, terms))))
    batches = [column.slice(start, 131_072) for start in range(0, len(column), 131_072)]
    asked = tf.constant(names.take(pa.array(random.integers(0, terms, 1_000_000))).to_pylist())
    figures = {"before, MiB": peak_mib()}

    def timed(name: str, work: Any) -> Any:
        began = time.perf_counter()
        result = work()
        figures[f"{name}, s"] = time.perf_counter() - began
        return result

    found = timed("count", lambda: most_frequent(count_batches(batches, categories), terms))
    assert len(found) == terms
    features = {"user": Categorical("user", max_tokens=terms, output="index")}
    states = {"user": State("data", {"vocabulary": found})}
    kinds = {"user": "string"}
    model = timed("build", lambda: build_preprocessing(features, states, kinds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        timed("save", lambda: write_transform_graph(path, model, features, states, kinds, {}))
        figures["size, MiB"] = sum(f.stat().st_size for f in path.iterdir()) / 2**20
        graph = timed("load", lambda: read_transform_graph(path))
        timed("look up 1M", lambda: graph({"user": asked}))
        inputs = graph.inputs()
        embedded = keras.layers.Embedding(graph.size("user"), 8)(inputs["user"])
        chance = keras.layers.Dense(1, "sigmoid")(keras.layers.Flatten()(embedded))
        trained = keras.Model(inputs, chance)
        timed("export", lambda: export_model(trained, graph, path / "serving"))
        served = timed("load exported", lambda: load_model(path / "serving"))
        rows = pa.table({"user": names.slice(0, 100_000)})
        timed("predict 100k", lambda: served.predict(rows))
    return figures | {"peak, MiB": peak_mib()}


def feed(folder: Path, steps: int) -> dict[str, float]:
    """Train the flights model from the feed and from memory; rows per second, median of turns."""
    import tensorflow as tf

    from penstock.components.transform.executor import fit_transform
    from penstock.models.transform_graph import read_transform_graph
    from penstock.pipelines.flights.model import build_model
    from penstock.training.fn_args import FnArgs

    artifacts = (folder / name for name in ("examples", "statistics", "schema", "graph"))
    fit_transform(*artifacts, MODULE)
    args = FnArgs(
        transform=read_transform_graph(folder / "graph"),
        schema=None,
        label="late",
        train_steps=steps,
        batch_size=BATCH,
        seed=0,
        examples=folder / "examples",
        train_split="train",
        eval_split="eval",
        model_dir=folder,
    )
    model = build_model(args)
    model.optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def train(features: Any, label: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=label[:, None], y_pred=model(features, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss

    sources = {"tf.data": iter(args.train_data()), "memory": from_memory(args)}
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(TURNS + 1):  # the first warms up
        for name, source in sources.items():
            began = time.perf_counter()
            for _ in range(steps):
                loss = train(*next(source))
            loss.numpy()
            if turn:
                speeds[name].append(steps * BATCH / (time.perf_counter() - began))
    began = time.perf_counter()
    for _ in range(steps):
        next(sources["tf.data"])
    alone = steps * BATCH / (time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        "training from tf.data, rows/s": medians["tf.data"],
        "training from memory, rows/s": medians["memory"],
        "tf.data of memory, %": 100 * medians["tf.data"] / medians["memory"],
        "tf.data alone, rows/s": alone,
        "peak, MiB": peak_mib(),
    }


def from_memory(args: Any) -> Iterator[Any]:
    """Yield shuffled batches of features that lie transformed in memory, without end."""
    parts = list(args.train_data(65_536, repeat=False))
    features = {name: np.concatenate([p[name] for p, _ in parts]) for name in parts[0][0]}
    labels = np.concatenate([label for _, label in parts])
    random = np.random.default_rng(0)
    while True:
        order = random.permutation(len(labels))
        for start in range(0, len(labels) - BATCH + 1, BATCH):
            place = order[start : start + BATCH]
            yield {name: values[place] for name, values in features.items()}, labels[place]


def main() -> None:
    """Run what is asked for, each in a process of its own, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="fit, vocabulary, feed; all when left out")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--terms", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        (what,) = options.what
        work = {
            "prepare": lambda: prepare(options.folder, options.rows),
            "fit": lambda: fit(options.folder),
            "vocabulary": lambda: vocabulary(options.terms),
            "feed": lambda: feed(options.folder, options.steps),
        }[what]
        print(json.dumps(work()))
        return
    lines = ["| what | | |", "|---|---|---:|"]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        for what in ["prepare", *(options.what or ["fit", "vocabulary", "feed"])]:
            command = [sys.executable, __file__, what, "--in", folder, "--rows", str(options.rows)]
            command += ["--terms", str(options.terms), "--steps", str(options.steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{what} failed:\n{done.stderr[-3000:]}")
            for name, value in (json.loads(done.stdout.splitlines()[-1]) or {}).items():
                lines.append(f"| {what} | {name} | {value:,.2f} |")
                print(lines[-1], flush=True)
    if options.write:
        sizes = f"{options.rows:,} rows of flights, a vocabulary of {options.terms:,} terms:"
        write_section("transform", "\n".join([f"{place()} {sizes}", "", *lines]))


if __name__ == "__main__":
    main()
