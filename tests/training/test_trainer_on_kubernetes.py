"""A training on Kubernetes from the step to the model, with a real API server and real workers.

What is played here is the operator and the node: the command of the job's pod is run beside the
test, with the pod's variables.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from penstock.components.example_gen.executor import generate_examples
from penstock.components.schema_gen.executor import generate_schema
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
from penstock.components.transform.executor import fit_transform
from penstock.errors import PenstockError
from penstock.training import kubernetes as jobs

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

MODULE = """
import keras
from penstock.components.transform.features import Numeric

FEATURES = {"x": Numeric("x"), "z": Numeric("z")}


def run_fn(fn_args):
    if fn_args.custom_config.get("refuse"):
        raise ValueError("not today")
    inputs = fn_args.transform.inputs()
    chance = keras.layers.Dense(1, "sigmoid")(keras.layers.Concatenate()(list(inputs.values())))
    model = keras.Model(inputs, chance)
    model.compile("adam", "binary_crossentropy")
    model.fit(
        fn_args.train_data(),
        steps_per_epoch=fn_args.train_steps,
        callbacks=list(fn_args.callbacks),
        verbose=2,
    )
    return model
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=600), "z": random.normal(size=600)})
    frame["late"] = (frame.x + frame.z > 0).astype(int)
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "rows.py").write_text(MODULE)
    generate_examples(folder / "examples", str(folder / "rows.csv"))
    generate_statistics(folder / "examples", folder / "statistics")
    generate_schema(folder / "schema", folder / "statistics")
    inputs = (folder / "examples", folder / "statistics", folder / "schema")
    fit_transform(*inputs, folder / "graph", str(folder / "rows.py"))
    return folder


def run(given: Path, model: Path, **settings) -> dict:
    names = ("examples", "graph", "schema")
    return train(
        *(given / name for name in names),
        model,
        str(given / "rows.py"),
        "late",
        train_steps=20,
        batch_size=50,
        **settings,
    )


@pytest.fixture
def node(cluster, namespace, monkeypatch):
    """Run the first job's command as its pod would be, and write the job's status."""
    from kubernetes import client

    monkeypatch.setattr(jobs, "_LOOK_SECONDS", 0.1)
    custom = client.CustomObjectsApi(cluster.api())
    place = ("trainer.kubeflow.org", "v1alpha1", namespace)

    ended = threading.Event()

    def work() -> None:
        while not custom.list_namespaced_custom_object(*place, "trainjobs")["items"]:
            if ended.wait(0.05):
                return
        [runtime] = custom.list_namespaced_custom_object(*place, "trainingruntimes")["items"]
        [part] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
        [container] = part["template"]["spec"]["template"]["spec"]["containers"]
        env = {each["name"]: each["value"] for each in container["env"]}
        env["JOB_COMPLETION_INDEX"] = "0"
        done = subprocess.run(
            [sys.executable, *container["command"][1:]], env=os.environ | env, check=False
        )
        condition = {
            "type": "Complete" if done.returncode == 0 else "Failed",
            "status": "True",
            "reason": "Ended",
            "message": f"exit code {done.returncode}",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        name = runtime["metadata"]["name"]
        status = {"status": {"conditions": [condition]}}
        custom.patch_namespaced_custom_object_status(*place, "trainjobs", name, status)

    thread = threading.Thread(target=work)
    thread.start()
    yield namespace
    ended.set()
    thread.join()
    assert not custom.list_namespaced_custom_object(*place, "trainjobs")["items"]


def on_kubernetes(namespace: str, **settings) -> Scale:
    job = {"image": "penstock", "namespace": namespace, "timeout_seconds": 600.0, **settings}
    return Scale(strategy="multi_worker", kubernetes=job)


def test_the_model_comes_back_through_a_volume(given, node, tmp_path):
    volume = tmp_path / "volume"

    run(given, tmp_path / "there", scale=on_kubernetes(node, shared=str(volume), claim="c"))
    run(given, tmp_path / "here")

    found, expected = (
        json.loads((tmp_path / place / "model.json").read_text()) for place in ("there", "here")
    )
    assert found["metrics"] == pytest.approx(expected["metrics"], abs=1e-5)
    assert found["steps"] == 20
    served = {p.relative_to(tmp_path / "there") for p in (tmp_path / "there").rglob("*")}
    assert {Path("serving/saved_model.pb"), Path("model.keras"), Path("metrics.json")} <= served
    assert not list(volume.iterdir())


def test_what_a_worker_says_against_its_work_is_the_steps_error(given, node, tmp_path):
    scale = on_kubernetes(node, shared=str(tmp_path / "volume"), claim="c")

    with pytest.raises(PenstockError, match=r"run_fn .* raised ValueError: not today"):
        run(given, tmp_path / "model", scale=scale, custom_config={"refuse": True})

    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "volume").iterdir())


def test_the_model_comes_back_through_an_object_store(given, node, tmp_path, monkeypatch):
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    # fsspec keeps what it opened, here with the address of another test's server.
    s3fs.S3FileSystem.clear_instance_cache()
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket="training")

    run(given, tmp_path / "model", scale=on_kubernetes(node, shared="s3://training/jobs"))

    assert json.loads((tmp_path / "model" / "model.json").read_text())["steps"] == 20
    assert (tmp_path / "model" / "serving" / "saved_model.pb").exists()
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="training")
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
