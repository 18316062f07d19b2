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
"""
KFP_LOCAL = """
import json, sys
from kfp import local
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
from author import whole
outputs = whole(rows=5, word="ok").outputs
json.dump(outputs, open(sys.argv[1] + "/outputs.json", "w"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "author.py").write_text(AUTHOR)
    return folder


def test_outputs_equal_those_of_kfp_local(folder):
    report = run_pipeline(
        load(f"{folder / 'author.py'}:whole"),
        {"rows": 5, "word": "ok"},
        Settings(folder / "runs", use_cache=False),
    )

    theirs = folder / "theirs"
    theirs.mkdir()
    subprocess.run(
        [sys.executable, "-c", KFP_LOCAL, str(theirs)], cwd=folder, check=True, capture_output=True
    )
    assert report.outputs.parameters == json.loads((theirs / "outputs.json").read_text())
