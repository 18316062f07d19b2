"""Registries to test on: a folder, and a real MLflow server on PostgreSQL."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from penstock.data.digest import digest_path
from penstock.evaluation.blessing import read_blessing
from penstock.registry.connection import open_registry

from ..cluster import free_port
from ..mlflow_server import as_deployed, await_server


@pytest.fixture(scope="session")
def mlflow_server(postgres, tmp_path_factory):
    """The URI of an MLflow server, its tables in PostgreSQL, its files behind HTTP."""
    pytest.importorskip("mlflow.server", reason="the package mlflow is not installed")
    import psycopg

    folder = tmp_path_factory.mktemp("mlflow")
    name = f"mlflow{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                *as_deployed(
                    port,
                    DATABASE=f"{postgres.replace('postgresql:', 'postgresql+psycopg:')}/{name}",
                    ARTIFACTS=str(folder / "artifacts"),
                ),
            ],
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        await_server(uri, (folder / "log").read_text, lambda: process.poll() is None)
        yield uri
    finally:
        import psutil

        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    """A folder with an empty registry, to be copied: making the tables takes two seconds."""
    folder = tmp_path_factory.mktemp("empty") / "registry"
    open_registry(folder)
    return folder


@pytest.fixture
def folder(empty_registry, tmp_path):
    import shutil

    return shutil.copytree(empty_registry, tmp_path / "registry")


@pytest.fixture(params=["folder", "server"])
def registry(request):
    """A registry in a folder, and one on a server."""
    if request.param == "folder":
        return open_registry(request.getfixturevalue("folder"))
    return open_registry(request.getfixturevalue("mlflow_server"))


@pytest.fixture
def product():
    """A name that no other test uses: the server is shared."""
    return f"flights-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def trained(tmp_path):
    """Make a Model artifact and its blessing: what they look like to one who only carries them."""

    def make(content: str, *, blessed: bool = True, forced=None, auc: float = 0.7):
        place = tmp_path / f"trained-{content}"
        model = place / "model"
        (model / "serving" / "variables").mkdir(parents=True)
        (model / "serving" / "saved_model.pb").write_text(content)
        (model / "serving" / "variables" / "variables.index").write_bytes(b"\0" * 1000)
        (model / "run").mkdir()
        (model / "run" / "events").write_text("logs")
        (model / "model.json").write_text(
            json.dumps({"kind": "keras", "hyperparameters": {"units": 16}, "seed": 7})
        )
        return model, write_blessing(place, model, blessed, forced, auc)

    return make


def write_blessing(place: Path, model: Path, blessed: bool, forced, auc: float):
    checks = [
        {"metric": "auc", "of": "value", "slice": {}, "value": auc},
        {"metric": "auc", "of": "change", "slice": {}, "value": 0.01},
        {"metric": "auc", "of": "value", "slice": {"origin": "JFK"}, "value": 0.1},
        {"metric": "precision", "of": "value", "slice": {}, "value": None},
    ]
    record = {
        "blessed": blessed,
        "reason": f"auc is {auc}.",
        "checks": checks,
        "model_digest": digest_path(model / "serving"),
        "examples_digest": "sha256:0",
        "forced": forced,
    }
    folder = place / "blessing"
    folder.mkdir()
    (folder / "blessing.json").write_text(json.dumps(record))
    return read_blessing(folder)
