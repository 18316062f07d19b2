import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.orchestration.placeholders import resolve, resolve_command, unknown_placeholders

HANDED = {
    "inputs": {
        "parameterValues": {"text": "it's", "n": 3, "list": [1, 2.5], "empty": None},
        "artifacts": {
            "data": {"artifacts": [{"name": "d", "uri": "/x/d", "metadata": {"rows": 7, "k": "v"}}]}
        },
    },
    "outputs": {
        "parameters": {"out": {"outputFile": "/y/out"}},
        "artifacts": {"model": {"artifacts": [{"name": "m", "uri": "/y/m", "metadata": {}}]}},
        "outputFile": "/y/executor_output.json",
    },
}
JOB = {".pipeline_job_name": "run-1", ".pipeline_root": "/runs"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{$.inputs.parameters['text']}}!", "it's!"),
        ("{{$.inputs.parameters['n']}}/{{$.inputs.parameters['list']}}", "3/[1, 2.5]"),
        ("{{$.inputs.parameters['empty']}}", "null"),
        ("{{$.inputs.artifacts['data'].uri}}", "/x/d"),
        ("{{$.inputs.artifacts['data'].path}}", "/x/d"),
        ("{{$.inputs.artifacts['data'].metadata['rows']}}", "7"),
        ("{{$.inputs.artifacts['data'].metadata}}", '{"rows": 7, "k": "v"}'),
        ("{{$.outputs.artifacts['model'].path}}", "/y/m"),
        ("{{$.outputs.parameters['out'].output_file}}", "/y/out"),
        ("{{$.outputs.output_file}}", "/y/executor_output.json"),
        ("{{$.pipeline_job_name}} in {{$.pipeline_root}}", "run-1 in /runs"),
        ("{{not ours}} {{$ nor this", "{{not ours}} {{$ nor this"),
    ],
)
def test_a_placeholder_is_replaced(text, expected):
    assert resolve(text, HANDED, JOB) == expected


def test_the_whole_executor_input_is_json():
    assert json.loads(resolve("{{$}}", HANDED, JOB)) == HANDED


def test_placeholders_are_replaced_at_any_depth():
    value = {"a": ["{{$.inputs.parameters['n']}}", 1], "{{$.inputs.parameters['text']}}": None}

    assert resolve(value, HANDED, JOB) == {"a": ["3", 1], "it's": None}


@given(st.text())
def test_a_value_that_looks_like_a_placeholder_stays(value):
    handed = {
        "inputs": {"parameterValues": {"a": value + "{{$.inputs.parameters['b']}}", "b": "x"}}
    }

    found = resolve("{{$.inputs.parameters['a']}}", handed, {})

    assert found == value + "{{$.inputs.parameters['b']}}"


def test_concat_and_if_present_nest():
    text, path = "{{$.inputs.parameters['text']}}", "{{$.inputs.artifacts['data'].path}}"
    otherwise = {"IfPresent": {"InputName": "gone", "Then": "x", "Else": "-none"}}
    elements = [
        "run",
        json.dumps({"Concat": ["--a=", text, otherwise]}),
        json.dumps({"IfPresent": {"InputName": "data", "Then": ["--d", path]}}),
        json.dumps({"IfPresent": {"InputName": "gone", "Then": ["--gone"]}}),
    ]

    assert resolve_command(elements, HANDED, JOB) == ["run", "--a=it's-none", "--d", "/x/d"]


def test_what_is_not_supported_is_found_at_any_depth():
    assert unknown_placeholders(
        {"a": ["{{$.workspace_path}}/x", "{{$.inputs.parameters['b']}}"]}
    ) == ["{{$.workspace_path}}"]
