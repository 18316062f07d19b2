"""Steps in containers, by podman or docker: the image's own command, true exit codes."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from .placeholders import resolve, resolve_command

ENGINES = ("podman", "docker")


def engine() -> str | None:
    """Return the container engine that is on the PATH, podman before docker."""
    return next((name for name in ENGINES if shutil.which(name)), None)


def container_request(
    container: pb.PipelineDeploymentConfig.PipelineContainerSpec,
    executor_input: Mapping[str, Any],
    job: Mapping[str, str],
    *,
    root: Path,
    folder: Path,
    name: str,
) -> dict[str, Any]:
    """Return what a worker needs to run a step in its container.

    Paths are the same inside and outside: the root of all runs can be read, the step's folder
    written, and an input that lies elsewhere read. The step's limits of CPU and memory hold.

    Args:
        container: Image, command, arguments and environment, with placeholders.
        executor_input: KFP's ExecutorInput as a dictionary.
        job: Values of the job's placeholders.
        root: Where runs lie.
        folder: The step's folder.
        name: What to call the container.

    Returns:
        `command`, the engine's; `kill`, which ends the container; `image`.

    Raises:
        PenstockError: There is no engine.
    """
    found = engine()
    if found is None:  # refused by check_pipeline
        raise PenstockError("Neither podman nor docker is on the PATH.")
    image = resolve(container.image, executor_input, job)
    command = resolve_command(container.command, executor_input, job)
    arguments = resolve_command(container.args, executor_input, job)
    options = ["--rm", "--name", name, "--volume", f"{folder}:{folder}:rw"]
    options += [f"--volume={place}:{place}:ro" for place in _read_only(executor_input, root)]
    for variable in container.env:
        options.append(f"--env={variable.name}={resolve(variable.value, executor_input, job)}")
    options += _limits(container.resources)
    if found == "docker" and os.getuid() != 0:
        # Podman maps root in the container to the user; docker does not.
        options += [f"--user={os.getuid()}:{os.getgid()}", "--env=HOME=/tmp"]
    if command:
        # Kubernetes replaces an image's entry point by the command.
        options.append(f"--entrypoint={command[0]}")
        arguments = [*command[1:], *arguments]
    return {
        "command": [found, "run", *options, image, *arguments],
        "kill": [found, "kill", name],
        "image": image,
    }


def _limits(
    resources: pb.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec,
) -> Iterable[str]:
    """Yield the options for limits: CPU in cores, memory in units of 10^9 bytes, 0 for none."""
    if resources.cpu_limit:
        yield f"--cpus={resources.cpu_limit:g}"
    if resources.memory_limit:
        # Swap would let the step have more, which Kubernetes does not.
        limit = round(resources.memory_limit * 1e9)
        yield from (f"--memory={limit}b", f"--memory-swap={limit}b")


def _read_only(executor_input: Mapping[str, Any], root: Path) -> Iterable[Path]:
    places = [root]
    for entry in executor_input["inputs"]["artifacts"].values():
        for artifact in entry["artifacts"]:
            path = Path(artifact["uri"])
            if path.is_absolute() and path.exists() and not path.is_relative_to(root):
                places.append(path)
    return dict.fromkeys(places)
