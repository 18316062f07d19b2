"""What a user gets: the wheel, the source distribution, and an authoring install of them."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
SITE = Path(importlib.metadata.distribution("kfp").locate_file(""))


def run(*command, cwd, **environment) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, source: Path, destination: Path) -> Path:
    destination.mkdir(exist_ok=True)
    hook = f"from setuptools import build_meta; build_meta.build_{kind}({str(destination)!r})"
    run(sys.executable, "-c", hook, cwd=source)
    (built,) = destination.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Built from a copy, so that no build output comes to lie in the working tree."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for path in (*ROOT.glob("*.*"), ROOT / "LICENSE"):
        if path.is_file():
            shutil.copy(path, source)
    for folder in (*ROOMS, "tests", "benchmarks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    return build("sdist", source, tmp_path_factory.mktemp("sdist") / "dist")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the source distribution, as an index does, so that this one must be whole."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel") / "dist")


def packaged_files() -> set[str]:
    """Every file of the rooms that is code, a contract, a template or documentation."""
    kinds = {".py", ".pbtxt", ".yaml", ".json", ".html", ".mako", ".md"}
    return {
        f"penstock/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).glob("**/*")
        if path.suffix in kinds
    }


def test_wheel_holds_the_rooms_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    top = {f"penstock/{path.name}" for path in ROOT.glob("*.py")} - {"penstock/setup.py"}
    assert names == packaged_files() | top | {"penstock/py.typed"}


def test_every_room_goes_into_the_image():
    copied = (ROOT / ".containerignore").read_text().splitlines()

    assert {f"!{room}" for room in ROOMS} <= set(copied)


def test_source_distribution_holds_no_tests(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py"} <= names
    assert not {name for name in names if name.startswith(("tests", "benchmarks"))}


def requirements_of(distribution: str, extra: str = "") -> list[Requirement]:
    found = map(Requirement, importlib.metadata.requires(distribution) or [])
    return [r for r in found if r.marker is None or r.marker.evaluate({"extra": extra})]


def test_every_requirement_has_a_lower_bound(wheel):
    metadata = Parser().parsestr(
        zipfile.ZipFile(wheel).read(f"{wheel.name.split('-py3')[0]}.dist-info/METADATA").decode()
    )

    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    unbounded = [
        r.name
        for r in requirements
        if r.name != "penstock" and not any(s.operator in (">=", "==") for s in r.specifier)
    ]
    assert unbounded == []
    assert metadata["License-Expression"] == "Apache-2.0"


def closure(requirements: list[Requirement]) -> set[str]:
    """The distributions that an installer would bring for these requirements."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found:
            found.add(name)
            waiting += requirements_of(name)
        for extra in requirement.extras:
            waiting += [r for r in requirements_of(name, extra) if r not in requirements_of(name)]
    return found


def link_distribution(name: str, destination: Path) -> None:
    for file in importlib.metadata.files(name) or []:
        target = destination / file
        if ".." in file.parts or file.suffix == ".pyc" or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(SITE / file)


@pytest.fixture(scope="module")
def authoring(wheel, tmp_path_factory):
    """An environment as `pip install penstock` makes it, of the wheel and what it requires.

    What it requires is linked from this environment instead of downloaded.
    """
    folder = tmp_path_factory.mktemp("authoring")
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    metadata = zipfile.ZipFile(wheel).read(f"{wheel.name.split('-py3')[0]}.dist-info/METADATA")
    required = [
        Requirement(r) for r in Parser().parsestr(metadata.decode()).get_all("Requires-Dist")
    ]
    for name in closure([r for r in required if r.marker is None]):
        link_distribution(name, site)
    uv = Path(sys.executable).with_name("uv")
    run(
        uv,
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        folder / "bin/python",
        wheel,
        cwd=folder,
    )
    return folder


def test_authoring_install_is_light(authoring):
    program = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"

    installed = set(run(authoring / "bin/python", "-c", program, cwd=authoring).split())

    heavy = {"tensorflow", "apache-beam", "pyarrow", "pandas", "numpy", "scikit-learn"}
    assert {"penstock", "kfp"} <= installed
    assert not installed & heavy
    assert len(installed) < 60


def test_authoring_install_has_the_command(authoring):
    printed = run(authoring / "bin/penstock", "--version", cwd=authoring)

    assert importlib.metadata.version("penstock") in printed


@pytest.mark.parametrize(
    "name", sorted(path.parent.name for path in ROOT.glob("pipelines/*/pipeline.py"))
)
def test_authoring_install_compiles(authoring, name, tmp_path):
    file = tmp_path / "pipeline.yaml"

    run(
        authoring / "bin/penstock",
        "compile",
        f"penstock.pipelines.{name}",
        "-o",
        file,
        cwd=tmp_path,
    )

    assert "schemaVersion: 2.1.0" in file.read_text()
