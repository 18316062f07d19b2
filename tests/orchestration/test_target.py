import os
import subprocess
import sys

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from penstock.errors import PenstockError
from penstock.orchestration.parameters import check_parameters, read_parameters
from penstock.orchestration.spec import parse
from penstock.orchestration.target import compile_target, load, write

AUTHOR = """
from typing import List

from kfp import dsl


@dsl.component(base_image="none", install_kfp_package=False)
def step(n: int, xs: List[float], s: str, b: bool, d: dict) -> str:
    return s


@dsl.pipeline(name="water")
def first(
    s: str, n: int = 3, x: float = 0.5, b: bool = False, xs: List[float] = [1.0], d: dict = {}
):
    step(n=n, xs=xs, s=s, b=b, d=d)
    with dsl.ParallelFor(xs, parallelism=2) as item:
        with dsl.If(item > x):
            step(n=n, xs=xs, s=s, b=b, d=d)
"""
SECOND = """

@dsl.pipeline
def second():
    step(n=1, xs=[], s="", b=True, d={})
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "author.py"
    path.write_text(AUTHOR)
    return path


def test_the_only_pipeline_of_a_file_is_found(file):
    assert load(str(file)).name == "water"


def test_of_several_pipelines_one_must_be_named(file):
    file.write_text(AUTHOR + SECOND)

    with pytest.raises(
        PenstockError, match=r"several pipelines: choose one of .*:first, .*:second"
    ):
        load(str(file))
    assert load(f"{file}:second").name == "second"
    with pytest.raises(PenstockError, match="has no third; of pipelines it has first, second"):
        load(f"{file}:third")
    with pytest.raises(PenstockError, match="something else than a pipeline called AUTHOR"):
        file.write_text(AUTHOR + "\nAUTHOR = 1\n")
        load(f"{file}:AUTHOR")


@pytest.mark.parametrize("content", ["from .pipeline import first\n", ""])
def test_a_package_is_looked_into(file, tmp_path, monkeypatch, content):
    package = tmp_path / f"pack{len(content)}"
    package.mkdir()
    (package / "__init__.py").write_text(content)
    file.rename(package / "pipeline.py")
    monkeypatch.syspath_prepend(tmp_path)

    assert load(package.name).name == "water"
    assert load(f"{package.name}.pipeline:first").name == "water"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("no.such.module", "There is no module no.such.module"),
        ("missing.py", "There is no file missing.py"),
        ("missing.yaml", "missing.yaml cannot be read: No such file"),
        ("penstock.errors", "penstock.errors has no pipeline"),
        ("penstock.errors:main", "penstock.errors has no main; of pipelines it has none"),
    ],
)
def test_a_wrong_target_is_one_sentence(target, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PenstockError, match=sentence):
        load(target)


def test_a_module_that_does_not_import_says_why(file):
    file.write_text("import no_such_library\n")
    with pytest.raises(PenstockError, match=r"author.py cannot be imported: .*no_such_library"):
        load(str(file))

    file.write_text("def f(:\n")
    with pytest.raises(PenstockError, match="SyntaxError"):
        load(str(file))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "is not YAML"),
        ("", "is not a compiled pipeline"),
        ("just text", "is not a compiled pipeline"),
        ("kind: Deployment", "is not a compiled pipeline"),
        ("root: {}\nschemaVersion: 2.1.0\nsurprise: 1", "not a valid PipelineSpec: .*surprise"),
        ("root: {}\nschemaVersion: 2.0.0", "has schemaVersion 2.0.0"),
    ],
)
def test_yaml_that_is_not_a_pipeline_is_refused(text, sentence, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)

    with pytest.raises(PenstockError, match=sentence):
        load(str(path))


def test_a_field_inside_an_executor_that_is_unknown_is_refused(file):
    document = yaml.safe_load(load(str(file)).text)
    document["deploymentSpec"]["executors"]["exec-step"]["container"]["surprise"] = 1

    with pytest.raises(PenstockError, match=r"PipelineDeploymentConfig: .*surprise"):
        parse(yaml.safe_dump(document), "x.yaml")


def test_compiled_yaml_is_a_strict_pipeline_spec(file, tmp_path):
    write(load(str(file)), tmp_path / "out" / "water.yaml")

    document = yaml.safe_load((tmp_path / "out" / "water.yaml").read_text())
    spec = json_format.ParseDict(document, pb.PipelineSpec())
    assert spec.schema_version == "2.1.0"
    assert load(str(tmp_path / "out" / "water.yaml")).spec == spec


def test_the_same_pipeline_compiles_to_the_same_bytes(file, tmp_path):
    outputs = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.yaml"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "penstock.cli",
                "compile",
                str(file),
                "-o",
                str(out),
                "--no-check",
            ],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        outputs.append(out.read_bytes())

    assert outputs[0] == outputs[1]


def test_json_and_other_endings(file, tmp_path):
    pipeline = load(str(file))
    write(pipeline, tmp_path / "water.json")

    assert load(str(tmp_path / "water.json")).spec == pipeline.spec
    with pytest.raises(PenstockError, match="must end in"):
        write(pipeline, tmp_path / "water.txt")


def test_parameters_become_defaults_when_compiling(file):
    pipeline = compile_target(str(file), ("s=it's", "n=7", "xs=[1, 2.5]"))

    defaults = pipeline.spec.root.input_definitions.parameters
    assert defaults["s"].default_value.string_value == "it's"
    assert defaults["n"].default_value.number_value == 7
    assert check_parameters(pipeline, {}) == {}


def test_parameters_are_typed_by_the_pipeline(file):
    pipeline = load(str(file))

    given = read_parameters(
        pipeline, ["s=a=b", "n=-3", "x=1e3", "b=true", "xs=[1, 2.5]", 'd={"k": [1]}']
    )

    assert given == {"s": "a=b", "n": -3, "x": 1000.0, "b": True, "xs": [1, 2.5], "d": {"k": [1]}}


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("n", "--param n has no value"),
        ("m=1", r"has no parameter m; it takes b, d, n, s, x and xs\."),
        ("n=1.5", "Parameter n is '1.5', but an integer is expected"),
        ("x=fast", "Parameter x is 'fast', but a number is expected"),
        ("b=yes", "Parameter b is 'yes', but true or false is expected"),
        ("xs=1,2", "Parameter xs is '1,2', but a JSON list is expected"),
        ("d=[1]", "but a JSON object is expected"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(file, pair, sentence):
    with pytest.raises(PenstockError, match=sentence):
        read_parameters(load(str(file)), [pair])


def test_a_missing_parameter_is_named(file):
    with pytest.raises(PenstockError, match=r"water needs s: add --param s=\.\.\."):
        check_parameters(load(str(file)), {})
