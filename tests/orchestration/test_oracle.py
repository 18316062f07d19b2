"""Where kfp.local is right, the runner's answer is the same."""

import json
import subprocess
import sys

import pytest

from penstock.orchestration.run import Settings, run_pipeline
from penstock.orchestration.target import load

AUTHOR = """
from typing import Dict, List, NamedTuple, Optional

from kfp import dsl

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def make(rows: int, data: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]) -> List[int]:
    with open(data.path, "w") as file:
        file.write("x" * rows)
    data.metadata["rows"] = rows
    metrics.log_metric("size", rows / 2)
    return list(range(rows))


@component
def look(
    data: dsl.Input[dsl.Dataset],
    rows: List[int],
    table: Dict[str, float] = {"a": 0.5},
    word: Optional[str] = None,
    flag: bool = True,
) -> NamedTuple("Out", [("text", str), ("ratio", float), ("rows", List[int])]):
    with open(data.path) as file:
        content = file.read()
    out = NamedTuple("Out", [("text", str), ("ratio", float), ("rows", List[int])])
    return out(f"{content} {word} {flag} {sorted(table.items())}", sum(rows) / 4, rows[::-1])


@dsl.pipeline
def inner(rows: int) -> str:
    made = make(rows=rows)
    return look(data=made.outputs["data"], rows=made.outputs["Output"]).outputs["text"]


@dsl.pipeline
def whole(rows: int = 3, word: str = "it's") -> NamedTuple(
    "Out", [("nested", str), ("text", str), ("ratio", float), ("rows", List[int])]
):
    nested = inner(rows=rows)
    made = make(rows=4).after(nested)
    seen = look(
        data=made.outputs["data"],
        rows=made.outputs["Output"],
        table={"b": 1.5, "c": 2.25},
        word=f"<{word}/{nested.output}>",
        flag=False,
    )
    out = NamedTuple(
        "Out", [("nested", str), ("text", str), ("ratio", float), ("rows", List[int])]
    )
    return out(nested.output, seen.outputs["text"], seen.outputs["ratio"], seen.outputs["rows"])

@component
def echo(
    text: str = "d",
    number: int = 2,
    ratio: float = 0.5,
    flag: bool = False,
    items: List[int] = [1, 2],
    table: Dict[str, float] = {"a": 1.5},
    word: Optional[str] = None,
) -> Dict[str, list]:
    return {"given": [text, number, ratio, flag, items, table, word]}


@component
def numbers() -> NamedTuple("Out", [("items", List[int]), ("table", Dict[str, float])]):
    out = NamedTuple("Out", [("items", List[int]), ("table", Dict[str, float])])
    return out([1, 2, 3], {"b": 3.5})


@component
def describe(data: dsl.Input[dsl.Dataset]) -> list:
    with open(data.path) as file:
        return [file.read(), data.metadata]


@dsl.pipeline
def defaults() -> dict:
    return echo().output


@dsl.pipeline
def constants() -> dict:
    return echo(
        text="it's <q>", number=-3, ratio=2.25, flag=True, items=[], table={"c": 0.5}, word=""
    ).output


@dsl.pipeline
def inputs_of_a_pipeline(text: str = "é {}", flag: bool = True, items: list = [[1], {}]) -> dict:
    return echo(text=text, flag=flag, items=items).output


@dsl.pipeline
def lists_and_structs() -> dict:
    made = numbers()
    return echo(items=made.outputs["items"], table=made.outputs["table"]).output


@dsl.pipeline
def joined_text(word: str = "w") -> dict:
    return echo(text=f"<{word}|{inner(rows=2).output}|{word}>").output


@dsl.pipeline
def metadata_of_artifacts() -> list:
    return describe(data=make(rows=2).outputs["data"]).output


@dsl.pipeline
def order() -> list:
    first = make(rows=1)
    second = make(rows=2).after(first)
    return describe(data=second.outputs["data"]).after(first, second).output


@dsl.pipeline
def nested_twice(rows: int = 2) -> dict:
    return echo(text=inner(rows=rows).output, word=inner(rows=3).output).output


@dsl.pipeline
def imported(uri: str = "imported.txt") -> list:
    data = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"k": "v"})
    return describe(data=data.output).output


@dsl.pipeline
def retried() -> dict:
    return echo(number=5).set_retry(num_retries=2).output
"""
ROWS = (
    "defaults",
    "constants",
    "inputs_of_a_pipeline",
    "lists_and_structs",
    "joined_text",
    "metadata_of_artifacts",
    "order",
    "nested_twice",
    "imported",
    "retried",
)
# What kfp.local hands on as a whole float is an integer to Python's ==, which is what we ask.
KFP_LOCAL = """
import json, sys
from kfp import local
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
import author
outputs = {"whole": author.whole(rows=5, word="ok").outputs}
outputs |= {name: getattr(author, name)().outputs for name in sys.argv[2:]}
json.dump(outputs, open(sys.argv[1] + "/outputs.json", "w"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "author.py").write_text(AUTHOR)
    (folder / "imported.txt").write_text("imported")
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    """What kfp.local answers, for each pipeline; in its own process, since it is set up once."""
    root = folder / "theirs"
    root.mkdir()
    command = [sys.executable, "-c", KFP_LOCAL, str(root), *ROWS]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((root / "outputs.json").read_text())


def ours(folder, name, **parameters):
    settings = Settings(folder / "runs", use_cache=False)
    return run_pipeline(load(f"{folder / 'author.py'}:{name}"), parameters, settings)


def test_outputs_equal_those_of_kfp_local(folder, theirs):
    assert ours(folder, "whole", rows=5, word="ok").outputs.parameters == theirs["whole"]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_semantics_is_as_in_kfp_local(folder, theirs, monkeypatch, row):
    monkeypatch.chdir(folder)

    assert ours(folder, row).outputs.parameters == theirs[row] != {}
