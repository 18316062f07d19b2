"""The promises of components/trainer/README.md on parameter servers, with real processes."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import psutil
import pyarrow as pa
import pytest

from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
from penstock.components.transform.executor import fit_transform
from penstock.errors import PenstockError
from penstock.models.loading import load_model
from penstock.training.preemption import EXIT_RETRY

AUTHORS = Path(__file__).parent / "authors"
TRIPS, COUNTING = str(AUTHORS / "trips.py"), str(AUTHORS / "counting.py")
STEPS, EVERY, BATCH = 110, 40, 64


def trips(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    distance = random.gamma(4.0, 250.0, rows)
    late = random.random(rows) < 1 / (1 + np.exp((1000 - distance) / 200))
    return pa.table(
        {
            "distance": distance,
            "carrier": random.choice(["UA", "B6"], rows),
            "hour": random.integers(0, 24, rows),
            "tail": random.choice(["N1", "N2", "N3"], rows),
            "late": late.astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    made = write_artifacts(folder, {"train": trips(2048, 0), "eval": trips(500, 1)}, shards=3)
    fit_transform(made.examples, made.statistics, made.schema, folder / "graph", TRIPS)
    return folder


def run(given: Path, path: Path, custom: dict, **scale) -> dict:
    return train(
        given / "examples",
        given / "graph",
        given / "schema",
        path,
        COUNTING,
        "late",
        train_steps=STEPS,
        batch_size=BATCH,
        custom_config=custom,
        scale=Scale(**{"strategy": "parameter_server", "num_workers": 2, **scale}),
    )


def counts(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "counts.jsonl").read_text().splitlines()]


def left_over(folder: Path) -> list[psutil.Process]:
    """Processes whose command names the folder: the workers of a training there."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or ())
        if "penstock.components.trainer.worker" in command and str(folder) in command:
            found.append(process)
    return found


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = {"folder": str(folder), "evaluate_every": EVERY, "class_weights": "balanced"}
    run(given, folder / "model", settings, num_ps=2)
    return folder


def test_every_step_and_row_of_both_workers_is_counted(undisturbed):
    found = counts(undisturbed)

    assert [line["iterations"] for line in found] == [EVERY, 2 * EVERY, STEPS]
    assert [line["rows"] for line in found] == [EVERY * BATCH, EVERY * BATCH, 30 * BATCH]
    model = keras.models.load_model(undisturbed / "model" / "model.keras")
    assert int(model.optimizer.iterations) == STEPS


def test_the_model_of_parameter_servers_is_as_any_other(given, undisturbed):
    path = undisturbed / "model"
    content = json.loads((path / "model.json").read_text())
    assert content["steps"] == STEPS
    assert content["strategy"]["name"] == "parameter_server"
    assert (content["strategy"]["workers"], content["strategy"]["servers"]) == (2, 2)
    assert content["strategy"]["restarts"] == 0
    assert content["metrics"]["eval_auc"] > 0.75

    curves = json.loads((path / "metrics.json").read_text())["curves"]
    assert [step for step, _ in curves["eval_auc"]] == [EVERY, 2 * EVERY, STEPS]
    assert list((path / "run" / "tensorboard").glob("events*"))
    assert {log.name for log in (path / "run" / "logs").iterdir()} == {
        "chief-0.log",
        *(f"{kind}-{index}.log" for kind in ("worker", "ps") for index in (0, 1)),
    }
    rows = pa.table({"distance": [100.0, 2000.0], "carrier": ["UA", "B6"], "hour": [1, 2]})
    rows = rows.append_column("tail", pa.array(["N1", "N9"]))
    few, many = load_model(path / "serving").predict(rows)[:, 0]
    assert few < 0.5 < many
    assert not left_over(undisturbed)


def test_lost_workers_and_servers_and_a_stopped_step_cost_little(given, tmp_path):
    """A worker is killed, then the step is stopped; run again, a server is killed.

    One test for all, as every start of so many processes takes seconds.
    """
    accidents = [[["worker-1", "SIGKILL", 15], ["step", "SIGTERM", 50]], [["ps-0", "SIGKILL", 65]]]
    settings = {"folder": str(tmp_path), "evaluate_every": EVERY, "accidents": accidents}
    kept = {"checkpoint_dir": str(tmp_path / "checkpoints"), "checkpoint_steps": 20}
    script = f"""
from pathlib import Path
from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
given = Path({str(given)!r})
train(given / "examples", given / "graph", given / "schema", Path({str(tmp_path / "model")!r}),
      {COUNTING!r}, "late", train_steps={STEPS}, batch_size={BATCH}, custom_config={settings!r},
      scale=Scale("parameter_server", 2, **{kept!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == EXIT_RETRY, done.stderr[-3000:]
    assert "worker 1 was ended by SIGKILL; it is started again" in done.stderr
    assert "all are started again" not in done.stderr
    assert not (tmp_path / "model").exists()
    assert not left_over(tmp_path)
    saved = sorted(int(p.name[5:]) for p in (tmp_path / "checkpoints").glob("*/fit-1/step-*"))
    # The step at which the chief was told has been saved before it; it stops after the next.
    assert saved[-1] == 51

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "ps 0 was ended by SIGKILL; all are started again" in done.stderr
    assert not left_over(tmp_path)
    # Every epoch was ended once, each by another process, with at most the lost step done twice.
    found = counts(tmp_path)
    assert [line["epoch"] for line in found] == [0, 1, 2]
    assert len({line["pid"] for line in found}) == 3
    for line, steps in zip(found, (EVERY, 2 * EVERY, STEPS), strict=True):
        assert steps <= line["iterations"] <= steps + 1
    curves = json.loads((tmp_path / "model" / "metrics.json").read_text())["curves"]
    assert len(curves["eval_auc"]) == 3
    content = json.loads((tmp_path / "model" / "model.json").read_text())
    assert content["metrics"]["eval_auc"] > 0.75
    assert content["strategy"]["restarts"] == 1


def test_other_kinds_of_models_are_refused_with_a_strategy(given, tmp_path):
    chosen = str(AUTHORS / "chosen.py")
    graph = tmp_path / "graph"
    fit_transform(given / "examples", given / "statistics", given / "schema", graph, chosen)
    for kind, library in (("is_sklearn", "sklearn"), ("is_xgboost", "xgboost")):
        with pytest.raises(
            PenstockError,
            match=rf"strategy is 'mirrored', and run_fn .* of the kind {library}, which trains in",
        ):
            train(
                given / "examples",
                graph,
                given / "schema",
                tmp_path / "model",
                chosen,
                "late",
                custom_config={"does": kind},
                scale=Scale(strategy="mirrored"),
            )
    assert not (tmp_path / "model").exists()
