"""The registry's server in its image, started as deploy/registry starts it."""

import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from penstock.registry.connection import open_registry

from ..conftest import free_port
from ..registry.conftest import as_deployed
from .launcher import ARBITRARY


@pytest.fixture(scope="module")
def server(registry):
    """The URI of a server, which keeps everything in the container's memory."""
    name, port = "registry-of-penstocks-tests", free_port()
    command = as_deployed(port, DATABASE="sqlite:////tmp/tables", ARTIFACTS="/tmp/files")
    options = ["--rm", "--detach", "--name", name, "--network=host", *ARBITRARY.options]
    options += ["--env=MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]
    subprocess.run(["podman", "run", *options, registry, *command], check=True, capture_output=True)
    try:
        uri = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                if urllib.request.urlopen(f"{uri}/health", timeout=5).status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        else:
            log = subprocess.run(["podman", "logs", name], capture_output=True, text=True)
            pytest.fail(f"the server did not start: {log.stdout}{log.stderr}")
        yield uri
    finally:
        subprocess.run(["podman", "kill", name], capture_output=True, check=False)


def test_a_model_and_its_files_go_through_the_server(server, tmp_path):
    client = open_registry(server).client
    run = client.create_run(client.create_experiment("flights"))
    (tmp_path / "model.txt").write_text("weights")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.txt"))
    client.create_registered_model("flights")
    made = client.create_model_version("flights", run.info.artifact_uri, run.info.run_id)
    client.set_registered_model_alias("flights", "champion", made.version)

    assert client.get_model_version_by_alias("flights", "champion").version == made.version
    (there := tmp_path / "there").mkdir()
    found = client.download_artifacts(run.info.run_id, "model.txt", str(there))
    assert Path(found).read_text() == "weights"
