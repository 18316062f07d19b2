"""The author's code reaches a step by import path, by its text, or by a wheel."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml

from penstock.components import author_file, author_wheel
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.training.author import load_author_module, module_source

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "taxis"
version = "{version}"
dependencies = {requires}
"""

PIPELINE = """
from kfp import dsl
from penstock.components import author_file, author_wheel
from penstock.components.image import image

@dsl.component(base_image=image("components"), install_kfp_package=False)
def ask(module: str) -> float:
    from penstock.training.author import load_author_module
    return float(load_author_module(module).FARE)

@dsl.pipeline(name="asks")
def asks():
    ask(module={module})
"""


@pytest.fixture(autouse=True)
def unpacked(tmp_path, monkeypatch):
    """Wheels and texts are unpacked into the test's own folder; Python's path stays as it was."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "taxis"]:
        del sys.modules[name]


def build_wheel(folder: Path, fare: int, *requires: str) -> Path:
    """A wheel as setuptools builds it, of a package of two modules."""
    source = folder / f"source-{fare}"
    (source / "taxis").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PROJECT.format(version=fare, requires=list(requires)))
    (source / "taxis" / "__init__.py").write_text("")
    (source / "taxis" / "fares.py").write_text(f"BASE = {fare}\n")
    (source / "taxis" / "model.py").write_text("from .fares import BASE\n\nFARE = BASE + 1\n")
    program = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob(f"taxis-{fare}-*.whl")
    return wheel


def test_a_text_is_loaded_where_its_file_is_not(tmp_path):
    file = tmp_path / "trips.py"
    file.write_text("# Ünï\nFARE = 3\n")
    digest = digest_path(file)
    module = author_file(file)
    file.unlink()

    loaded = load_author_module(module)

    assert loaded.FARE == 3
    assert Path(module_source(loaded)).name == "trips.py"
    assert digest_path(module_source(loaded)) == digest


def test_a_text_that_fails_says_where(tmp_path):
    file = tmp_path / "trips.py"
    file.write_text("FARE = 3\n1 / 0\n")

    with pytest.raises(PenstockError, match=r"ZeroDivisionError: .* \(at .*/trips.py:2\)"):
        load_author_module(author_file(file))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no Python file .*trips.py"),
        ("FARE =", "trips.py is not Python: invalid syntax"),
        ("#" * 65_537, "has 65,537 bytes, and a parameter carries up to 65,536; build a wheel"),
    ],
)
def test_a_file_that_cannot_be_carried_is_refused_when_compiling(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "trips.py").write_text(content)

    with pytest.raises(PenstockError, match=sentence):
        author_file(tmp_path / "trips.py")


@pytest.mark.parametrize("place", ["path", "url", "uri"])
def test_a_module_of_a_wheel_is_loaded_with_its_package(tmp_path, place):
    wheel = build_wheel(tmp_path, 4)
    elsewhere = tmp_path / "elsewhere.whl"
    elsewhere.write_bytes(wheel.read_bytes())
    uri = {"path": "", "url": f"file://{elsewhere}", "uri": str(elsewhere)}[place]

    module = author_wheel(wheel, "taxis.model", uri)
    if uri:
        wheel.unlink()

    assert load_author_module(module).FARE == 5
    assert load_author_module(module).FARE == 5


def test_two_wheels_of_one_package_do_not_mix(tmp_path):
    first, second = (author_wheel(build_wheel(tmp_path, fare), "taxis.model") for fare in (4, 8))

    assert [load_author_module(module).FARE for module in (first, second, first)] == [5, 9, 5]


def test_another_wheel_in_its_place_is_refused(tmp_path):
    wheel = build_wheel(tmp_path, 4)
    module = author_wheel(wheel, "taxis.model")
    wheel.write_bytes(build_wheel(tmp_path, 8).read_bytes())

    with pytest.raises(PenstockError, match="is not the one that the pipeline was compiled with"):
        load_author_module(module)


def test_a_wheel_that_is_missing_or_lacks_the_module_gets_a_sentence(tmp_path):
    wheel = build_wheel(tmp_path, 4)
    module = author_wheel(wheel, "taxis.model")

    with pytest.raises(
        PenstockError, match=r"taxis-4-.* has no module 'taxis.fleet'; it has taxis"
    ):
        author_wheel(wheel, "taxis.fleet")
    with pytest.raises(PenstockError, match="without its digest"):
        load_author_module(module.partition("#")[0])
    wheel.unlink()
    with pytest.raises(PenstockError, match="There is no wheel at"):
        load_author_module(module)
    with pytest.raises(PenstockError, match=r"There is no wheel at .*BadZipFile"):
        wheel.write_text("no zip")
        author_wheel(wheel, "taxis.model")


def test_what_a_wheel_requires_and_the_step_lacks_is_named_before_anything_runs(tmp_path):
    met = (
        "numpy",
        "PyYAML>=5",
        "no-such-one; python_version < '3'",
        "no-such-two; extra == 'all'",
        "taxis[all]",
    )
    wanting = ("numpy<1", "no-such-package>=2; python_version >= '3'")

    assert load_author_module(author_wheel(build_wheel(tmp_path, 4, *met), "taxis.model")).FARE == 5
    with pytest.raises(PenstockError) as refused:
        load_author_module(author_wheel(build_wheel(tmp_path, 8, *met, *wanting), "taxis.model"))

    sentence = str(refused.value)
    assert sentence.startswith(
        "The wheel taxis-8-py3-none-any.whl requires numpy<1, no-such-packag"
    )
    assert sentence.endswith("install it in the step's image, where wheels are only unpacked.")
    assert not [met_one for met_one in met[1:] if met_one.partition(">")[0] in sentence]


def test_a_wheel_cannot_write_outside_its_folder(tmp_path):
    wheel = tmp_path / "taxis-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("taxis.py", "FARE = 1")
        archive.writestr("../../outside.py", "FARE = 2")

    load_author_module(author_wheel(wheel, "taxis"))

    assert {f.name for f in tmp_path.rglob("outside.py")} == {"outside.py"}
    (outside,) = tmp_path.rglob("outside.py")
    assert "penstock-code-" in str(outside)


@pytest.mark.parametrize("way", ["file", "wheel"])
def test_changed_code_is_not_answered_from_the_cache(tmp_path, way):
    """Given a pipeline compiled, run from elsewhere, and run again after the code has changed."""

    def run(fare: int) -> str:
        if way == "wheel":
            wheel = build_wheel(tmp_path, fare)
            argument = f"author_wheel({str(wheel)!r}, 'taxis.model')"
        else:
            (tmp_path / "trips.py").write_text(f"FARE = {fare}\n")
            argument = f"author_file({str(tmp_path / 'trips.py')!r})"
        (tmp_path / "asks.py").write_text(PIPELINE.format(module=argument))
        return penstock("compile", "asks.py", "-o", "asks.yaml") + penstock("run", "asks.yaml")

    def penstock(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": tempfile.gettempdir(), "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = run(4)
    text = yaml.safe_load((tmp_path / "asks.yaml").read_text())["root"]["dag"]["tasks"]["ask"]
    again = penstock("run", "asks.yaml")
    changed = run(8)

    assert "FARE" in str(text) or "#sha256=" in str(text)
    assert "cached" not in first
    assert "cached" in again
    assert "cached" not in changed
