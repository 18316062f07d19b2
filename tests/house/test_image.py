"""The image of the components: it builds, and a step runs in it as Kubeflow would run it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from penstock import __version__
from penstock.components import example_gen

ROOT = Path(__file__).parents[2]
TAG = "localhost/penstock/components:test"

pytestmark = [
    pytest.mark.skipif(
        "PENSTOCK_TEST_IMAGE_BASE" not in os.environ,
        reason="building takes minutes and the package index: set PENSTOCK_TEST_IMAGE_BASE to a "
        "folder made by images/base.sh, or to an image",
    ),
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
]


@pytest.fixture(scope="module")
def container():
    environment = {**os.environ, "TAG": TAG, "BASE": os.environ["PENSTOCK_TEST_IMAGE_BASE"]}
    built = subprocess.run(
        ["images/build.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    name = subprocess.run(
        ["buildah", "from", TAG], capture_output=True, text=True, check=True
    ).stdout.strip()
    yield name
    subprocess.run(["buildah", "rm", name], capture_output=True, check=True)


def run(container: str, *command: str, volume: Path | None = None) -> str:
    """Run a command as a user that the image does not know, as clusters do."""
    options = ["--isolation", "chroot", "--user", "4711:4711"]
    if volume is not None:
        options += ["--volume", f"{volume}:/minio"]
    done = subprocess.run(
        ["buildah", "run", *options, container, "--", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_image_has_the_package(container):
    assert __version__ in run(container, "penstock", "--version")


def test_image_has_no_entrypoint(container):
    description = json.loads(
        subprocess.run(
            ["buildah", "inspect", "--type", "image", TAG], capture_output=True, check=True
        ).stdout
    )

    assert not description["OCIv1"]["config"].get("Entrypoint")


def test_image_loads_every_executor(container):
    names = sorted(path.parent.name for path in ROOT.glob("components/*/executor.py"))
    program = "".join(f"import penstock.components.{name}.executor\n" for name in names)

    run(container, "python3", "-c", program)


def test_image_keeps_a_registry_and_loads_every_kind_of_model(container):
    program = (
        "import lightgbm, skops, xgboost\n"
        "from penstock.registry.connection import open_registry\n"
        "from penstock.registry.versions import products\n"
        "print(products(open_registry('/tmp/registry')))\n"
    )

    assert run(container, "python3", "-c", program).splitlines()[-1] == "[]"


def test_packages_in_the_image_are_compiled(container):
    program = "import tensorflow, pathlib; print(pathlib.Path(tensorflow.__spec__.cached).exists())"

    assert run(container, "python3", "-c", program).split()[-1] == "True"


def test_step_runs_in_the_image(container, tmp_path):
    volume = tmp_path / "minio"
    (volume / "bucket").mkdir(parents=True)
    (volume / "bucket" / "numbers.csv").write_text("number\n" + "\n".join(map(str, range(30))))
    for path in (volume, volume / "bucket"):
        path.chmod(0o777)
    compiler.Compiler().compile(example_gen, str(tmp_path / "example_gen.yaml"))
    spec = yaml.safe_load((tmp_path / "example_gen.yaml").read_text())
    (executor,) = spec["deploymentSpec"]["executors"].values()
    request = {
        "inputs": {"parameterValues": {"pattern": "/minio/bucket/numbers.csv"}},
        "outputs": {
            "artifacts": {
                "examples": {
                    "artifacts": [
                        {
                            "name": "examples",
                            "type": {"schemaTitle": "system.Examples", "schemaVersion": "0.0.1"},
                            "uri": "minio://bucket/examples",
                        }
                    ]
                }
            },
            "outputFile": "/minio/bucket/outputs.json",
        },
    }
    command = executor["container"]["command"] + [
        json.dumps(request) if argument == "{{$}}" else argument
        for argument in executor["container"]["args"]
    ]

    run(container, *command, volume=volume)

    manifest = json.loads((volume / "bucket" / "examples" / "manifest.json").read_text())
    assert sum(split["rows"] for split in manifest["splits"].values()) == 30
    outputs = json.loads((volume / "bucket" / "outputs.json").read_text())
    (artifact,) = outputs["artifacts"]["examples"]["artifacts"]
    assert artifact["metadata"]["summary"]
