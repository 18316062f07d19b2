"""`penstock image build`: a package of the author's in the image that steps run in."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .launcher import ARBITRARY, run_in

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "late-trains"
version = "1.0"
dependencies = {requires}
[tool.setuptools]
packages = ["late_trains"]
"""


def build(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "penstock", "image", "build", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def package(folder: Path, *requires: str, code: str = "DELAY = 15\n") -> Path:
    (folder / "late_trains").mkdir(parents=True)
    (folder / "late_trains" / "__init__.py").write_text(code)
    (folder / "pyproject.toml").write_text(PROJECT.format(requires=list(requires)))
    return folder


def named(built: subprocess.CompletedProcess) -> str:
    assert built.returncode == 0, built.stdout + built.stderr
    (name,) = re.findall(r"^  export PENSTOCK_IMAGE_COMPONENTS=(\S+)$", built.stdout, re.M)
    return name


@pytest.fixture
def forget():
    """Remove the images that a test made."""
    made: list[str] = []
    yield made.append
    if made:
        subprocess.run(["podman", "rmi", "--force", *made], capture_output=True, check=True)


def test_package_lies_in_an_image_named_by_its_content(control, tmp_path, forget):
    source = package(tmp_path / "trains", "click", "kfp")

    first = named(build(source, "--base", control))
    forget(first)
    (source / "late_trains" / "__init__.py").write_text("DELAY = 5\n")
    second = named(build(source, "--base", control))
    forget(second)

    assert re.fullmatch(r"localhost/penstock/trains:[0-9a-f]{12}", first)
    assert second != first
    program = "import os, late_trains; print(late_trains.DELAY, os.environ['PENSTOCK_IMAGE'])"
    for name, delay in ((first, 15), (second, 5)):
        done = run_in(name, "python3", "-c", program, options=ARBITRARY.options)
        assert done.stdout == f"{delay} {name}\n", done.stderr


def test_package_that_would_replace_tensorflow_is_refused(components, tmp_path):
    source = package(tmp_path / "old", "tensorflow<2.20")

    refused = build(source, "--base", components)

    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "which holds tensorflow==2.21.0: late-trains 1.0 depends on tensorflow<2.20." in line


def test_package_that_does_not_build_says_why(control, tmp_path):
    source = package(tmp_path / "broken")
    (source / "late_trains" / "__init__.py").unlink()
    (source / "late_trains").rmdir()

    refused = build(source, "--base", control)

    assert refused.returncode == 2
    assert "does not install: package directory 'late_trains' does not exist" in refused.stderr


def test_requirements_that_no_index_has_are_named(control, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("click==0.0.1.dev1\n")

    refused = build(requirements, "--base", control)

    assert refused.returncode == 2
    assert "click" in refused.stderr


def test_base_that_is_not_there_is_named(podman, tmp_path):
    refused = build(package(tmp_path / "trains"), "--base", "localhost/penstock/nowhere:1")

    assert refused.returncode == 2
    assert "There is no image localhost/penstock/nowhere:1 here" in refused.stderr
    assert "`make images`" in refused.stderr


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "has neither pyproject.toml nor setup.py"),
        (lambda path: path.write_text("x"), "is neither a wheel"),
        (lambda path: None, "There is nothing at"),
    ],
    ids=["folder", "file", "nothing"],
)
def test_what_is_no_package_is_refused(tmp_path, make, reason):
    source = tmp_path / "source"
    make(source)

    refused = build(source)

    assert refused.returncode == 2
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert reason in line


def test_without_a_builder_it_says_what_to_install(tmp_path):
    refused = build(package(tmp_path / "trains"), PATH=str(tmp_path))

    assert refused.returncode == 2
    assert "Neither buildah, podman nor docker is installed" in refused.stderr
