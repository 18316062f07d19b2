"""The flights pipeline with its artifacts in a bucket, beside the same pipeline on this machine."""

import json
import subprocess
import sys

import pytest

from penstock.data.remote_folders import list_remote

from ..flights_run import REPEATED, artifacts_of


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, new_bucket):
    """Artifacts by step and output, of a run on this machine and of one in a bucket."""
    found = {}
    for name, url in (("here", ""), ("there", f"{new_bucket()}/pipelines")):
        root = tmp_path_factory.mktemp(name)
        command = [sys.executable, "-m", "penstock", "run", "penstock.pipelines.flights"]
        command += ["--root", str(root / "runs"), "--pipeline-root", url, "--to", "evaluator"]
        for parameter in ("rows_per_month=2000", "train_steps=60", f"registry={root}/registry"):
            command += ["--param", parameter]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found[name] = artifacts_of(root / "runs")
    return found


def test_every_artifact_lies_whole_in_the_bucket(outputs):
    there = outputs["there"]
    assert outputs["here"].keys() == there.keys()
    for artifact in there.values():
        assert artifact.uri.startswith("s3://")
        if artifact.digest is not None:
            assert list_remote(artifact.uri)
            assert list_remote(f"{artifact.uri}.complete.json")


def test_a_bucket_changes_no_result(outputs):
    here, there = outputs["here"], outputs["there"]
    assert here.keys() >= REPEATED
    for name in REPEATED:
        assert there[name].digest == here[name].digest, name
    for name in ("evaluator/metrics", "trainer/metrics"):
        assert json.dumps(there[name].metadata) == json.dumps(here[name].metadata)
