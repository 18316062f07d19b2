import importlib
import re
from pathlib import Path

import pytest

import penstock.components

FOLDER = Path(penstock.components.__file__).parent
COMPONENTS = sorted(file.parent.name for file in FOLDER.glob("*/component.py"))


@pytest.fixture(params=COMPONENTS)
def component(request):
    module = importlib.import_module(f"penstock.components.{request.param}.component")
    return request.param, getattr(module, request.param).component_spec


def readme(name):
    file = FOLDER / name / "README.md"
    assert file.is_file(), f"components/{name} has no README.md"
    return file.read_text(encoding="utf-8")


def test_there_are_components():
    assert {"example_gen", "statistics_gen", "schema_gen", "example_validator"} <= set(COMPONENTS)


def test_readme_names_every_input_parameter_and_output(component):
    name, spec = component
    text = readme(name)
    missing = [
        part for part in [*(spec.inputs or {}), *(spec.outputs or {})] if f"`{part}`" not in text
    ]
    assert not missing, f"components/{name}/README.md does not mention {missing}"


def test_readme_tables_name_nothing_that_the_component_does_not_have(component):
    name, spec = component
    tables = re.findall(
        r"^\| (?:input|parameter|output) \|.*\n\|[-| ]+\n((?:\|.*\n)+)", readme(name), re.MULTILINE
    )
    named = [row for table in tables for row in re.findall(r"^\| `(\w+)`", table, re.MULTILINE)]
    assert set(named) <= {*(spec.inputs or {}), *(spec.outputs or {})}


def test_readme_says_what_fails_and_shows_an_example(component):
    text = readme(component[0])
    assert re.search(r"^#+ .*(fail|refus)", text, re.MULTILINE | re.IGNORECASE)
    assert re.search(r"^#+ .*example", text, re.MULTILINE | re.IGNORECASE)
    assert "```python" in text
