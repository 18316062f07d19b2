"""What `make setup` says when it cannot work, and that half of it is never taken for the whole."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    for name in ("pyproject.toml", "setup.py", "__init__.py"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def machine(tmp_path):
    """A PATH without any Python, and a home without one."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in map(Path, ("/usr/bin", "/bin")):
        for path in folder.iterdir():
            if "python" not in path.name and not (tools / path.name).is_symlink():
                (tools / path.name).symlink_to(path)
    return {"PATH": str(tools), "HOME": str(tmp_path)}


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def set_up(checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "requirements" / "setup.sh"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_unknown_train_is_refused(checkout, machine):
    done = set_up(checkout, {**machine, "TRAIN": "tf300"})

    assert done.returncode != 0
    assert done.stderr == (
        "make setup: TRAIN=tf300 is not a dependency train: give tf216 or tf221.\n"
    )


def test_without_a_python_one_sentence_says_which_are_suitable(checkout, machine):
    # A shim that is there and does not run, as version managers leave them.
    program(Path(machine["PATH"]) / "python3.11", "#!/bin/bash\nexit 127\n")

    done = set_up(checkout, machine)

    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "no suitable Python" in line
    assert "tf216 takes Python 3.10 or 3.11" in line
    assert "takes 3.10 to 3.13" in line
    assert not (checkout / ".venv").exists()


def test_named_python_that_does_not_run_is_refused(checkout, machine):
    done = set_up(checkout, {**machine, "PYTHON": "/bin/false"})

    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "PYTHON=/bin/false does not serve" in line


def test_python_without_ensurepip_is_named_with_the_package_to_install(checkout, machine):
    program(
        Path(machine["PATH"]) / f"python{VERSION}",
        f"""#!/bin/bash
        exec {sys.executable} -c 'import sys
sys.modules["ensurepip"] = None
exec(sys.argv[2])' "$@"
        """,
    )

    done = set_up(checkout, machine)

    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "apt install python3-venv" in line


def test_interrupted_setup_is_not_taken_for_complete(checkout):
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME")},
        "PYTHON": sys._base_executable,
        "PIP_NO_INDEX": "1",
    }

    first = set_up(checkout, environment)
    second = set_up(checkout, environment)

    assert (checkout / ".venv" / "bin" / "python").exists()
    assert first.returncode != 0
    assert second.returncode != 0
