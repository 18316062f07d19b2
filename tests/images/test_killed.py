"""A container that is killed in mid-step: the runner starts it again, nothing half-made is seen."""

import json
import os
import subprocess
import sys
import time

PIPELINE = """
from kfp import dsl
from penstock.components import example_gen

@dsl.pipeline(name="killed")
def killed(pattern: str):
    example_gen(pattern=pattern).set_retry(1, backoff_duration="0s")
"""
ROWS = 1_000_000


def test_step_killed_in_its_container_is_done_again_and_never_half_seen(components, tmp_path):
    (tmp_path / "killed.py").write_text(PIPELINE)
    runs = tmp_path / "runs"
    runs.mkdir()
    lines = "\n".join(f"{n},{n % 7},{n / 3}" for n in range(ROWS))
    (runs / "numbers.csv").write_text(f"a,b,c\n{lines}\n")
    command = ["run", "killed.py", "--containers", "--root", str(runs)]
    runner = subprocess.Popen(
        [sys.executable, "-m", "penstock", *command, "--param", f"pattern={runs}/*.csv"],
        cwd=tmp_path,
        env={**os.environ, "PENSTOCK_IMAGE_COMPONENTS": components},
    )

    half, killed = set(), False
    while runner.poll() is None:
        for place in runs.glob("killed/*/example-gen"):
            if not killed and list(place.glob(".examples.*.tmp/*")):
                running = containers()
                assert len(running) == 1
                subprocess.run(["podman", "kill", *running], check=True, capture_output=True)
                killed = True
                half |= {path.name for path in place.glob("examples")}
            if (place / "examples").exists() and not (place / "examples/manifest.json").exists():
                half.add("examples")
        time.sleep(0.005)

    assert killed
    assert runner.returncode == 0
    assert half == set()
    (place,) = runs.glob("killed/*/example-gen")
    manifest = json.loads((place / "examples" / "manifest.json").read_text())
    assert sum(split["rows"] for split in manifest["splits"].values()) == ROWS
    assert not list(place.glob(".examples.*"))


def containers() -> list[str]:
    found = subprocess.run(
        ["podman", "ps", "--filter", "name=penstock-", "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.split()
