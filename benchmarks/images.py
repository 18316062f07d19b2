"""Times the images: building them from nothing, their sizes, and what a container adds to a step.

`python benchmarks/images.py` prints the tables; it takes podman and the images (`make images`).
`--build` builds both anew first, with the packages that the builder's own cache has.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from penstock import __version__

ROOT = Path(__file__).parents[1]
# What the start of a step consists of, each with all before it.
STARTS = {
    "nothing": ["true"],
    "Python": ["python3", "-c", "pass"],
    "kfp's executor": ["python3", "-c", "import kfp.dsl.executor"],
    "schema_gen": ["python3", "-c", "import penstock.components.schema_gen.executor"],
    "trainer": ["python3", "-c", "import penstock.components.trainer.executor"],
}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}


def seconds(command: list[str], times: int) -> float:
    """Return the median time of a command, after one that is not counted."""
    taken = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        subprocess.run(command, **QUIET)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[1:])


def starts(image: str, times: int) -> None:
    """Print how long each start takes in a container of its own and in one that runs already."""
    name = f"penstock-benchmark-{os.getpid()}"
    subprocess.run(
        ["podman", "run", "--detach", "--rm", "--name", name, image, "sleep", "infinity"], **QUIET
    )
    print("\n| what starts | in a new container, s | in a running one, s | added, s |")
    print("|---|---:|---:|---:|")
    try:
        for what, command in STARTS.items():
            new = seconds(["podman", "run", "--rm", "--network=none", image, *command], times)
            running = seconds(["podman", "exec", name, *command], times)
            print(f"| {what} | {new:.2f} | {running:.2f} | {new - running:.2f} |")
    finally:
        subprocess.run(["podman", "kill", name], **QUIET)


def sizes(images: list[str], builds: dict[str, float]) -> None:
    """Print each image's size and its layers', uncompressed."""
    print("| image | MB | layers, MB | built from nothing, s |")
    print("|---|---:|---|---:|")
    for image in images:
        found = subprocess.run(
            ["podman", "image", "inspect", image], capture_output=True, check=True
        )
        history = subprocess.run(
            ["podman", "history", "--format", "json", image], capture_output=True, check=True
        )
        layers = [entry["size"] / 1e6 for entry in json.loads(history.stdout)]
        shown = " + ".join(f"{size:,.0f}" for size in reversed(layers) if size > 0.5)
        total = json.loads(found.stdout)[0]["Size"] / 1e6
        name = image.rpartition("/")[2].partition(":")[0]
        took = f"{builds[name]:.0f}" if name in builds else ""
        print(f"| {name} | {total:,.0f} | {shown} | {took} |")


def build(name: str) -> float:
    """Build an image from nothing and return the time it took."""
    begin = time.perf_counter()
    environment = {**os.environ, "FRESH": "1"}
    subprocess.run(["images/build.sh", name], cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", action="store_true", help="build both images from nothing first")
    parser.add_argument("--times", type=int, default=5, help="how often each start is timed")
    parser.add_argument("--tag", default=__version__, help="the tag of the images")
    options = parser.parse_args()
    names = ["components", "control"]
    builds = {name: build(name) for name in names} if options.build else {}
    images = [f"localhost/penstock/{name}:{options.tag}" for name in names]
    sizes(images, builds)
    starts(images[0], options.times)


if __name__ == "__main__":
    main()
