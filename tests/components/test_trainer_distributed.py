"""The promises of components/trainer/README.md on strategies, workers and faults."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest

from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
from penstock.components.transform.executor import fit_transform
from penstock.errors import PenstockError
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
    made = write_artifacts(folder, {"train": trips(2000, 0), "eval": trips(501, 1)}, shards=3)
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
def plain(given, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "model"
    run(given, path)
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


def test_a_step_of_several_workers_that_is_stopped_goes_on_when_run_again(
    given, tmp_path, two_workers
):
    accident = {"what": "stop the step", "step": 12, "marker": str(tmp_path / "told"), "worker": 1}
    kept = {"checkpoint_dir": str(tmp_path / "checkpoints"), "checkpoint_steps": 1000}
    workers = {"strategy": "multi_worker", "num_workers": 2}
    script = f"""
from pathlib import Path
from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
given = Path({str(given)!r})
train(given / "examples", given / "graph", given / "schema", Path({str(tmp_path / "model")!r}),
      {FAULTY!r}, "late", train_steps={STEPS}, batch_size=64, custom_config={accident!r},
      scale=Scale(**{kept | workers!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == EXIT_RETRY, done.stderr[-3000:]
    assert not (tmp_path / "model").exists()
    [saved] = (tmp_path / "checkpoints").glob("*/fit-1/step-*")
    assert int(saved.name[5:]) >= 12
    assert len(list(saved.glob("worker-*.npz"))) == 2
    run(given, tmp_path / "model", accident, **kept, **workers)
    for found, expected in zip(weights(tmp_path / "model"), weights(two_workers), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_each_worker_writes_a_log_that_the_model_keeps(two_workers):
    assert {log.name for log in (two_workers / "run" / "logs").iterdir()} == {
        "worker-0.log",
        "worker-1.log",
    }
    assert not (two_workers / ".work").exists()


def test_all_replicas_of_a_machine_train_as_one_device_does(given, tmp_path, plain):
    """Two logical CPU devices, as TensorFlow makes them in a process of their own."""
    script = f"""
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
from penstock.training.strategies import distributed
with distributed("mirrored") as strategy:
    assert strategy.num_replicas_in_sync == 2
given = Path({str(given)!r})
train(given / "examples", given / "graph", given / "schema", Path({str(tmp_path / "model")!r}),
      {FAULTY!r}, "late", train_steps={STEPS}, batch_size=64, scale=Scale(strategy="mirrored"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-3000:]
    for found, expected in zip(weights(tmp_path / "model"), weights(plain), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    metrics = [provenance(path)["metrics"] for path in (tmp_path / "model", plain)]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-4)


def test_deterministic_training_gives_the_same_bits(given, tmp_path):
    for name in ("one", "two"):
        run(given, tmp_path / name, {"dropout": 0.3}, deterministic=True)

    for one, two in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        np.testing.assert_array_equal(one, two)
    assert provenance(tmp_path / "one")["strategy"]["deterministic"] is True


def test_mixed_precision_computes_in_halves_and_keeps_whole_weights(given, tmp_path):
    run(given, tmp_path / "model", precision="mixed_float16")

    model = keras.models.load_model(tmp_path / "model" / "model.keras", compile=False)
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    assert dense.compute_dtype == "float16"
    assert dense.kernel.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert provenance(tmp_path / "model")["metrics"]["eval_auc"] > 0.5


def test_compiled_training_learns_the_same(given, tmp_path, plain):
    run(given, tmp_path / "jit", jit=True)

    for found, expected in zip(weights(tmp_path / "jit"), weights(plain), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_settings_that_do_not_go_together_are_refused_by_name(given, tmp_path):
    served = {"strategy": "parameter_server"}
    job = {"shared": "s3://b/x", "namespace": "n", "image": "i"}
    for settings, sentence in (
        ({"strategy": "horovod"}, "strategy is 'horovod'; it must be one of default, mirrored"),
        ({"num_ps": 0}, "num_ps is 0; it must be 1 or more"),
        ({"num_ps": 2}, "num_ps is 2 and strategy is 'default', which has no parameter servers"),
        ({**served, "precision": "mixed_float16"}, "cannot scale losses alike; give precision='mi"),
        ({**served, "deterministic": True}, "cannot update the weights in the same order each"),
        ({**served, "data_shards": 2}, "cannot share out the rows, as each reads all; give no da"),
        ({**served, "jit": True}, "jit is on and strategy is 'parameter_server'"),
        ({**served, "kubernetes": job}, "kind is TrainJob, which has no servers and no chief"),
        ({"num_workers": 2}, "num_workers is 2 and strategy is 'default', which has one"),
        ({"strategy": "multi_worker", "num_workers": 0}, "num_workers is 0; it must be 1 or more"),
        ({"strategy": "multi_worker", "num_workers": 3}, "batch_size is 64, to which 3 data shar"),
        ({"data_shards": 0}, "data_shards is 0 and num_workers is 1"),
        ({"precision": "float8"}, "precision is 'float8'; it must be one of float32"),
        ({"strategy": "mirrored", "jit": True}, "jit is on and strategy is 'mirrored'"),
        ({"checkpoint_steps": 0}, "checkpoint_steps is 0; it must be 1 or more"),
        ({"heartbeat_seconds": 0}, "heartbeat_seconds is 0; it must be 1 or more"),
        ({"kubernetes": {"claim": "c"}}, "kubernetes' shared is ''"),
        ({"kubernetes": {"shared": "s3://b/x"}}, "kubernetes has no namespace, and this step"),
    ):
        with pytest.raises(PenstockError, match=sentence):
            run(given, tmp_path / "model", **settings)
    assert not list(tmp_path.iterdir())


def test_what_a_worker_refuses_is_said_once_and_not_tried_again(given, tmp_path, capsys):
    with pytest.raises(PenstockError, match=r"run_fn .* raised AttributeError"):
        run(
            given,
            tmp_path / "model",
            {"what": "NONSENSE", "step": 1, "marker": str(given / "refused")},
            strategy="multi_worker",
        )

    assert "all are started again" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_another_training_are_left_alone(given, tmp_path, undisturbed):
    kept = {"checkpoint_dir": str(tmp_path / "checkpoints"), "checkpoint_steps": 10}
    accident = {"what": "SIGTERM", "step": 12, "marker": str(tmp_path / "told")}
    with pytest.raises(Preempted):
        run(given, tmp_path / "model", accident, **kept)

    run(given, tmp_path / "other", {"dropout": 0.3}, **kept)

    assert provenance(tmp_path / "other")["metrics"] == provenance(undisturbed)["metrics"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_the_last_two_checkpoints_are_kept(given, tmp_path):
    kept = {"checkpoint_dir": str(tmp_path / "checkpoints"), "checkpoint_steps": 5}
    accident = {"what": "SIGTERM", "step": 29, "marker": str(tmp_path / "told")}
    with pytest.raises(Preempted):
        run(given, tmp_path / "model", accident, **kept)

    [folder] = (tmp_path / "checkpoints").glob("*/fit-1")
    assert sorted(p.name for p in folder.glob("step-*")) == ["step-000000025", "step-000000030"]
