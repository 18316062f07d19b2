"""The flights pipeline in containers with its artifacts in a bucket, as on Kubeflow."""

import os
import subprocess
import sys

import pytest

from penstock.data.remote_folders import list_remote

from ..flights.artifacts import REPEATED, artifacts_of
from .launcher import HOUSE, run_in

OPTIONS = ["--to", "evaluator", "--param", "rows_per_month=2000", "--param", "train_steps=60"]


PENSTOCK = [sys.executable, "-m", "penstock"]


@pytest.fixture(scope="module")
def flights(components, tmp_path_factory):
    """The compiled pipeline, whose steps run in the image, alone in a folder."""
    compiled = tmp_path_factory.mktemp("flights") / "flights.yaml"
    command = [*PENSTOCK, "compile", "penstock.pipelines.flights", "-o", compiled]
    environment = {**os.environ, "PENSTOCK_IMAGE_COMPONENTS": components}
    subprocess.run(command, env=environment, check=True)
    return compiled


@pytest.fixture(scope="module")
def in_containers(flights, new_bucket, tmp_path_factory):
    """The artifacts of a run whose every step has a container of its own, and a bucket."""
    root = tmp_path_factory.mktemp("containers")
    command = [*PENSTOCK, "run", flights, "--containers", "--root", root, *OPTIONS]
    command += ["--pipeline-root", f"{new_bucket()}/pipelines"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return artifacts_of(root)


@pytest.fixture(scope="module")
def in_one_process(components, flights):
    """The artifacts of a run in one process of the same image, on a disk."""
    command = ["penstock", "run", f"{HOUSE}/{flights.name}", "--root", f"{HOUSE}/runs", *OPTIONS]
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
