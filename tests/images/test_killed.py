"""A container that is killed in mid-step is started again, and a bucket never has half of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq

PIPELINE = """
from kfp import dsl
from penstock.components import example_gen

@dsl.pipeline(name="killed")
def killed(pattern: str):
    example_gen(pattern=pattern).set_retry(1, backoff_duration="0s")
"""
ROWS = 1_000_000


def test_step_killed_in_its_container_is_done_again_and_never_half_seen(
    components, new_bucket, tmp_path
):
    url = new_bucket()
    objects = boto3.resource("s3").Bucket(url.removeprefix("s3://")).objects
    (tmp_path / "killed.py").write_text(PIPELINE)
    runs = tmp_path / "runs"
    runs.mkdir()
    lines = "\n".join(f"{n},{n % 7},{n / 3}" for n in range(ROWS))
    (runs / "numbers.csv").write_text(f"a,b,c\n{lines}\n")
    command = ["run", "killed.py", "--containers", "--root", str(runs), "--pipeline-root", url]
    runner = subprocess.Popen(
        [sys.executable, "-m", "penstock", *command, "--param", f"pattern={runs}/*.csv"],
        cwd=tmp_path,
        env={**os.environ, "PENSTOCK_IMAGE_COMPONENTS": components},
    )

    killed, before, half = False, [], []
    while runner.poll() is None:
        for place in runs.glob("killed/*/example-gen"):
            if not killed and list(place.glob(".examples.*.tmp/*")):
                running = containers(place)
                assert len(running) == 1
                subprocess.run(["podman", "kill", *running], check=True, capture_output=True)
                killed = True
                before = [found.key for found in objects.all() if "/examples" in found.key]
            if (place / "examples").exists() and not (place / "examples/manifest.json").exists():
                half.append(str(place))
        half += unfinished({found.key: found for found in objects.all()})
        time.sleep(0.005)

    assert killed
    assert runner.returncode == 0
    assert (before, half) == ([], [])
    names = {found.key.rpartition("/example-gen/")[2]: found for found in objects.all()}
    manifest = json.loads(names["examples/manifest.json"].get()["Body"].read())
    assert sum(split["rows"] for split in manifest["splits"].values()) == ROWS
    shards = [name for name in names if name.endswith(".parquet")]
    for shard in shards:
        names[shard].Object().download_file(str(tmp_path / "shard"))
        assert pq.ParquetFile(tmp_path / "shard").metadata.num_rows
    assert not [name for name in names if "tmp" in name]
    assert not list(runs.glob("killed/*/example-gen/.examples.*"))


def unfinished(objects: dict[str, Any]) -> list[str]:
    """Return the objects that are not there while their artifact is said to be whole."""
    found = []
    for key, said in objects.items():
        if key.endswith(".complete.json"):
            place = key.removesuffix(".complete.json")
            files = json.loads(said.get()["Body"].read())["files"]
            found += [f"{place}/{name}".rstrip("/") for name in files]
    return [key for key in found if key not in objects]


def containers(place: Path) -> list[str]:
    """Return the containers that work in a step's folder."""
    found = subprocess.run(
        ["podman", "ps", "--filter", f"volume={place}", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.split()
