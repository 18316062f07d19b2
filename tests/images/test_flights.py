"""The flights pipeline in containers, its artifacts and its models in a bucket, as on Kubeflow."""

import json
import os
import subprocess
import sys

import pytest

from penstock.data.remote_folders import list_remote
from penstock.registry.champion import resolve
from penstock.registry.connection import open_registry

from ..flights_run import REPEATED, artifacts_of
from .conftest import CONF
from .launcher import HOUSE, run_in

PENSTOCK = [sys.executable, "-m", "penstock"]


def given(**parameters):
    return [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]


@pytest.fixture(scope="module")
def flights(components, tmp_path_factory):
    """The compiled pipeline, whose steps run in the image, alone in a folder."""
    compiled = tmp_path_factory.mktemp("flights") / "flights.yaml"
    command = [*PENSTOCK, "compile", "penstock.pipelines.flights", "-o", compiled]
    environment = {**os.environ, "PENSTOCK_IMAGE_COMPONENTS": components}
    subprocess.run(command, env=environment, check=True)
    return compiled


@pytest.fixture(scope="module")
def bucket(new_bucket):
    return new_bucket()


@pytest.fixture(scope="module")
def in_containers(flights, bucket, registry_server, tmp_path_factory):
    """The artifacts of a run whose every step has a container of its own.

    As a cluster would, the engine's settings give the steps a network and the bucket's secrets.
    """
    root = tmp_path_factory.mktemp("containers")
    conf = root / "containers.conf"
    secrets = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("AWS_")]
    settings = f'netns = "host"\nenv = {json.dumps(secrets)}\n[engine]'
    conf.write_text(CONF.replace("[engine]", settings))
    command = [*PENSTOCK, "run", flights, "--containers", "--root", root]
    command += ["--pipeline-root", f"{bucket}/pipelines"]
    command += given(registry=registry_server, destination=f"{bucket}/serving")
    environment = {**os.environ, "CONTAINERS_CONF": str(conf)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return artifacts_of(root)


@pytest.fixture(scope="module")
def in_one_process(components, flights):
    """The artifacts of a run in one process of the same image, on a disk."""
    command = ["penstock", "run", f"{HOUSE}/{flights.name}", "--root", f"{HOUSE}/runs"]
    command += given(registry=f"{HOUSE}/registry", destination=f"{HOUSE}/serving")
    done = run_in(components, *command, options=(f"--volume={flights.parent}:{HOUSE}",))
    assert done.returncode == 0, done.stdout + done.stderr
    return artifacts_of(flights.parent / "runs")


def test_every_artifact_of_the_containers_lies_whole_in_the_bucket(in_containers):
    kept = [artifact for artifact in in_containers.values() if artifact.digest is not None]
    assert len(kept) > len(REPEATED)
    for artifact in kept:
        assert artifact.uri.startswith("s3://")
        assert list_remote(artifact.uri)
        assert list_remote(f"{artifact.uri}.complete.json")


def test_containers_and_a_bucket_change_no_result(in_containers, in_one_process):
    assert in_containers.keys() == in_one_process.keys() >= REPEATED
    for name in sorted(REPEATED):
        assert in_containers[name].digest == in_one_process[name].digest, name
    for name in ("evaluator/metrics", "trainer/metrics"):
        assert in_containers[name].metadata == in_one_process[name].metadata


@pytest.mark.usefixtures("in_containers")
def test_the_model_is_served_from_the_bucket_and_champion_in_the_registry(bucket, registry_server):
    assert "saved_model.pb" in list_remote(f"{bucket}/serving/1")
    champion = resolve(open_registry(registry_server), "flights")
    assert champion is not None
    assert champion.number == 1
