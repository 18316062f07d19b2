"""MLflow's server as deploy/registry starts it."""

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def as_deployed(port: int, **secrets: str) -> list[str]:
    """Return the command by which deploy/registry starts the server, on a port of loopback."""
    documents = yaml.safe_load_all((ROOT / "deploy" / "registry" / "server.yaml").read_text())
    deployment = next(one for one in documents if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    for name, value in secrets.items():
        command = [word.replace(f"$({name})", value) for word in command]
    # Later options replace earlier ones.
    return [*command, "--host=127.0.0.1", f"--port={port}", "--workers=1"]


def await_server(
    uri: str, log: Callable[[], str], lives: Callable[[], bool] = lambda: True
) -> None:
    """Wait until an MLflow server answers; fail with its log when it does not."""
    for _ in range(600):
        assert lives(), log()
        try:
            if urllib.request.urlopen(f"{uri}/health", timeout=5).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the MLflow server did not start: {log()}")
