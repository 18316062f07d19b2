"""The promises of components/trainer/README.md on strategies, workers and faults."""

import json
import signal
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest

from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
from penstock.components.transform.executor import fit_transform
from penstock.training.preemption import EXIT_RETRY, Preempted

AUTHORS = Path(__file__).parent / "authors"
TRIPS, FAULTY = str(AUTHORS / "trips.py"), str(AUTHORS / "faulty.py")
STEPS = 45


def trips(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    distance = random.gamma(4.0, 250.0, rows)
    late = random.random(rows) < 1 / (1 + np.exp((1000 - distance) / 400))
    return pa.table(
        {
            "distance": distance,
            "carrier": random.choice(["UA", "B6", "EV"], rows),
            "hour": random.integers(0, 24, rows),
            "tail": np.char.add("N", random.zipf(1.5, rows).astype(str)),
            "late": late.astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    made = write_artifacts(folder, {"train": trips(2000, 0), "eval": trips(500, 1)}, shards=3)
    fit_transform(made.examples, made.statistics, made.schema, folder / "graph", TRIPS)
    return folder


def run(given: Path, path: Path, custom: dict | None = None, **scale) -> dict:
    return train(
        given / "examples",
        given / "graph",
        given / "schema",
        path,
        FAULTY,
        "late",
        train_steps=STEPS,
        batch_size=64,
        custom_config=custom,
        scale=Scale(**scale),
    )


def weights(path: Path) -> list[np.ndarray]:
    return keras.models.load_model(path / "model.keras", compile=False).get_weights()


def provenance(path: Path) -> dict:
    return json.loads((path / "model.json").read_text())


def curves(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())["curves"]


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "model"
    run(given, path, {"dropout": 0.3})
    return path


@pytest.fixture(scope="module")
def two_workers(given, tmp_path_factory) -> Path:
    """Trained by two workers, of which the second is killed after step 23 and starts again."""
    folder = tmp_path_factory.mktemp("two")
    accident = {"what": "SIGKILL", "step": 23, "marker": str(folder / "killed"), "worker": 1}
    run(
        given,
        folder / "model",
        accident,
        strategy="multi_worker",
        num_workers=2,
        checkpoint_steps=10,
    )
    assert (folder / "killed").exists()
    return folder / "model"


def test_a_stopped_training_goes_on_where_it_was(given, tmp_path, undisturbed):
    accident = {"dropout": 0.3, "what": "SIGTERM", "step": 23, "marker": str(tmp_path / "told")}
    kept = {"checkpoint_dir": str(tmp_path / "checkpoints"), "checkpoint_steps": 1000}

    with pytest.raises(Preempted) as stopped:
        run(given, tmp_path / "model", accident, **kept)
    assert stopped.value.code == EXIT_RETRY
    assert not (tmp_path / "model").exists()
    [step] = (tmp_path / "checkpoints").glob("*/fit-1/step-*")
    assert step.name == "step-000000024"
    run(given, tmp_path / "model", accident, **kept)

    for found, expected in zip(weights(tmp_path / "model"), weights(undisturbed), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert provenance(tmp_path / "model")["metrics"] == provenance(undisturbed)["metrics"]
    assert provenance(tmp_path / "model")["steps"] == STEPS
    assert not list((tmp_path / "checkpoints").iterdir())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_workers_in_one_place_train_as_one_does(given, tmp_path, two_workers):
    run(given, tmp_path / "model", data_shards=2)

    for found, expected in zip(weights(two_workers), weights(tmp_path / "model"), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    found, expected = provenance(two_workers), provenance(tmp_path / "model")
    assert found["metrics"] == pytest.approx(expected["metrics"], abs=1e-4)
    assert found["strategy"]["restarts"] == 1
