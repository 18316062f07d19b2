"""Runs one step of a compiled pipeline in its image as Kubeflow's launcher does.

The launcher of Kubeflow Pipelines 2 lays what a step reads below /minio, /s3 or /gcs, hands the
step an ExecutorInput that names it by URI, and takes what the step returns from a file in /tmp.
Here folders are mounted in these places, and there is no network, as nothing may be fetched.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from penstock.metadata.values import Artifact, Execution

# Where the tests' folder lies in a container.
HOUSE = "/house"
SCHEMES = {"minio": "/minio", "s3": "/s3", "gs": "/gcs"}
OUTPUT_FILE = "output_metadata.json"


@dataclass(frozen=True)
class User:
    """Who a step runs as, and in what container."""

    name: str
    options: tuple[str, ...]


ROOT = User("root", ())
# As clusters choose them: a user that the image does not know, and nothing writable but /tmp.
ARBITRARY = User("arbitrary", ("--user=4711:0", "--read-only", "--tmpfs=/tmp", "--cap-drop=all"))


@dataclass(frozen=True)
class Ended:
    """How a step ended.

    Attributes:
        code: The container's exit code.
        log: What it printed.
        bucket: Where its output artifacts lie, one entry each.
        output: The executor's output file, empty where there is none.
    """

    code: int
    log: str
    bucket: Path
    output: dict[str, Any]


def run_in(image: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run a command in a container without network."""
    return subprocess.run(
        ["podman", "run", "--rm", "--network=none", *options, image, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def launch(compiled: Path, execution: Execution, user: User, scheme: str, folder: Path) -> Ended:
    """Run the step of an earlier execution again, on what that one was given.

    Args:
        compiled: The pipeline.
        execution: The earlier one, whose inputs lie below `/house`.
        user: Who to run it as.
        scheme: Of the URIs of the outputs: minio, s3 or gs.
        folder: What to write in.
    """
    spec = next(yaml.safe_load_all(compiled.read_text()))
    component = spec["components"][
        spec["root"]["dag"]["tasks"][execution.task]["componentRef"]["name"]
    ]
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    request = json.dumps(executor_input(component, execution, scheme))
    bucket, returned, house = folder / "bucket", folder / "returned", folder / "house"
    for made in (bucket, returned, house):
        made.mkdir(mode=0o777, parents=True)
        made.chmod(0o777)
    mounts = (
        f"--volume={compiled.parent}:/minio/inputs:ro",
        f"--volume={bucket}:{SCHEMES[scheme]}/outputs",
        f"--volume={returned}:/tmp/kfp_outputs",
        # The registry and the destination that parameters name, empty as before the earlier run.
        f"--volume={house}:{HOUSE}",
    )
    command = [*container["command"], *container["args"]]
    done = run_in(
        container["image"],
        *(request if word == "{{$}}" else word for word in command),
        options=(*mounts, *user.options),
    )
    file = returned / OUTPUT_FILE
    output = json.loads(file.read_text()) if file.exists() else {}
    return Ended(done.returncode, done.stdout + done.stderr, bucket, output)


def executor_input(component: dict[str, Any], execution: Execution, scheme: str) -> dict[str, Any]:
    """Return KFP's ExecutorInput: inputs in one bucket, outputs in another."""
    declared = component.get("outputDefinitions", {})
    return {
        "inputs": {
            "parameterValues": dict(execution.parameters),
            "artifacts": {
                name: {"artifacts": [described(artifact) for artifact in artifacts]}
                for name, artifacts in execution.inputs.items()
            },
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": f"/tmp/kfp/outputs/{name}"}
                for name in declared.get("parameters", {})
            },
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": name,
                            "type": output["artifactType"],
                            "uri": f"{scheme}://outputs/{name}",
                            "metadata": {},
                        }
                    ]
                }
                for name, output in declared.get("artifacts", {}).items()
            },
            "outputFile": f"/tmp/kfp_outputs/{OUTPUT_FILE}",
        },
    }


def described(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact as the launcher describes one, in the bucket of the inputs."""
    return {
        "name": artifact.name,
        "type": {"schemaTitle": artifact.type, "schemaVersion": "0.0.1"},
        "uri": f"minio://inputs/{Path(artifact.uri).relative_to(HOUSE)}",
        "metadata": dict(artifact.metadata),
    }
