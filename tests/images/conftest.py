"""The images, built once, and a pipeline of every component run in one."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.metadata.store import Store
from penstock.metadata.values import Execution, RunState

from ..cluster import free_port
from ..mlflow_server import as_deployed, await_server
from .launcher import ARBITRARY, HOUSE, run_in

ROOT = Path(__file__).parents[2]
IMAGES = {name: f"localhost/penstock/{name}:test" for name in ("components", "control", "registry")}
# Inside another container, podman's own limits may be more than is allowed.
CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""


@dataclass(frozen=True)
class Reference:
    """A run of every component in one process, in the image.

    Attributes:
        compiled: The pipeline; beside it lies the run.
        executions: What was executed, by task.
    """

    compiled: Path
    executions: dict[str, Execution]


@pytest.fixture(scope="session")
def podman(tmp_path_factory):
    """Podman, set up so that it can run a container here."""
    if "PENSTOCK_TEST_IMAGE_BASE" not in os.environ:
        pytest.skip(
            "building takes minutes and the package index: set PENSTOCK_TEST_IMAGE_BASE to a "
            "folder made by images/base.sh, or to an image"
        )
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    with pytest.MonkeyPatch.context() as patch:
        conf = tmp_path_factory.mktemp("podman") / "containers.conf"
        conf.write_text(CONF)
        patch.setenv("CONTAINERS_CONF", str(conf))
        yield "podman"


def build(name: str, **options: str) -> str:
    base = os.environ["PENSTOCK_TEST_IMAGE_BASE"]
    environment = {**os.environ, "TAG": "test", "BASE": base, **options}
    # One at a time: who waits finds the layers made, which are the same for all.
    with (Path(tempfile.gettempdir()) / "penstock-test-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(
            ["images/build.sh", name],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert built.returncode == 0, built.stdout + built.stderr
    return IMAGES[name]


@pytest.fixture(scope="session")
def control(podman):
    return build("control")


@pytest.fixture(scope="session")
def components(podman):
    return build("components")


@pytest.fixture(scope="session")
def registry(podman):
    return build("registry")


@pytest.fixture(scope="session")
def registry_server(registry):
    """The URI of a server, which keeps everything in the container's memory."""
    port = free_port()
    name = f"registry-{port}"
    command = as_deployed(port, DATABASE="sqlite:////tmp/tables", ARTIFACTS="/tmp/files")
    options = ["--rm", "--detach", "--name", name, "--network=host", *ARBITRARY.options]
    options += ["--env=MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]
    subprocess.run(["podman", "run", *options, registry, *command], check=True, capture_output=True)
    try:
        uri = f"http://127.0.0.1:{port}"
        await_server(uri, lambda: subprocess.getoutput(f"podman logs {name}"))
        yield uri
    finally:
        subprocess.run(["podman", "kill", name], capture_output=True, check=False)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """The pipeline of every component, compiled here as an author compiles it."""
    file = tmp_path_factory.mktemp("house") / "every_component.yaml"
    file.parent.chmod(0o755)  # a step's user reads what lies here
    source = Path(__file__).with_name("every_component.py")
    subprocess.run(
        [sys.executable, "-m", "penstock", "compile", source, "-o", file],
        env={**os.environ, "PENSTOCK_IMAGE_COMPONENTS": IMAGES["components"]},
        check=True,
    )
    return file


@pytest.fixture(scope="session")
def reference(components, compiled) -> Reference:
    """Every step in one process, the image's own Python: what steps in containers are held to."""
    command = ["penstock", "run", f"{HOUSE}/{compiled.name}", "--root", f"{HOUSE}/runs"]
    for name in ("registry", "destination"):
        command += ["--param", f"{name}={HOUSE}/{name}"]
    done = run_in(components, *command, options=(f"--volume={compiled.parent}:{HOUSE}",))
    assert done.returncode == 0, done.stdout + done.stderr
    with Store.open(compiled.parent / "runs" / "metadata.sqlite", create=False) as store:
        run = store.run("latest")
        assert run.state is RunState.COMPLETE
        found = {execution.task: execution for execution in store.executions(run.id)}
    return Reference(compiled, found)
