"""The import rules of CONTRIBUTING.md: rooms depend downward, and authoring loads nothing heavy."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
# From top to bottom; rooms on one level do not know each other.
LAYERS = (
    {"penstock.__main__"},
    {"penstock.cli"},
    {"penstock.orchestration"},
    {"penstock.pipelines"},
    {"penstock.components"},
    {"penstock.training"},
    {"penstock.reports"},
    {"penstock.drift", "penstock.registry", "penstock.models"},
    {"penstock.schemas"},
    {"penstock.data", "penstock.evaluation", "penstock.metadata", "penstock.clusters"},
    {"penstock.errors", "penstock.processes"},
)
HEAVY = ("tensorflow", "apache_beam", "tensorflow_data_validation", "tensorflow_model_analysis")
COMPONENTS = sorted(path.parent.name for path in ROOT.glob("components/*/component.py"))


@pytest.fixture(scope="module")
def graph():
    found = grimp.build_graph("penstock", cache_dir=None, exclude_type_checking_imports=True)
    found.remove_module("penstock.setup")
    return found


def rooms() -> set[str]:
    return {f"penstock.{path.parent.name}" for path in ROOT.glob("*/__init__.py")} | {
        f"penstock.{path.stem}" for path in ROOT.glob("*.py")
    } - {"penstock.__init__", "penstock.setup"}


def imports_at_load(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is loaded, those inside functions left out."""
    found: list[ast.Import | ast.ImportFrom] = []
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def modules_named(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return ["." * node.level + (node.module or "")]


def test_every_room_has_its_level():
    assert rooms() == set().union(*LAYERS)


def test_rooms_import_downward_only(graph):
    illegal = graph.find_illegal_dependencies_for_layers(layers=LAYERS)

    assert not illegal, "\n".join(
        f"{chain.importer} must not import {chain.imported}"
        for chain in sorted(illegal, key=lambda chain: (chain.importer, chain.imported))
    )


def test_no_module_imports_itself_in_a_circle(graph):
    order = graphlib.TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    )

    order.prepare()  # raises CycleError, which names the circle


def test_every_module_of_a_room_is_in_a_package(graph):
    files = {
        "penstock." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in rooms()
        for path in (ROOT / room.removeprefix("penstock.")).glob("**/*.py")
        if path.name != "__init__.py"
    }

    assert files <= graph.modules, "a folder lacks its __init__.py"


def test_pipelines_and_other_rooms_reach_components_not_their_executors(graph):
    for importer, imported in (
        (module, target)
        for module in graph.modules
        if module.split(".")[1:2] in (["pipelines"], ["orchestration"], ["cli"])
        for target in graph.find_modules_directly_imported_by(module)
    ):
        assert not (
            imported.startswith("penstock.components.") and imported.endswith(".executor")
        ), f"{importer} imports {imported}: it should use the component"


@pytest.mark.parametrize("name", COMPONENTS)
def test_component_loads_the_standard_library_and_kfp_alone(name):
    path = ROOT / "components" / name / "component.py"
    allowed = {"kfp", "..artifacts", "..image"} | sys.stdlib_module_names

    found = {module for node in imports_at_load(path) for module in modules_named(node)}

    assert {module for module in found if module not in allowed} == set()
    assert "__future__" not in found, "KFP reads the annotations, which must not be strings"


@pytest.mark.parametrize("name", COMPONENTS)
def test_component_works_through_its_own_executor(graph, name):
    executors = {
        module
        for module in graph.find_modules_directly_imported_by(
            f"penstock.components.{name}.component"
        )
        if module.endswith(".executor")
    }

    assert executors == {f"penstock.components.{name}.executor"}


def test_authoring_loads_nothing_heavy():
    modules = ["penstock.components", "penstock.cli.main"]
    modules += [f"penstock.components.{name}.component" for name in COMPONENTS]
    modules += [
        ".".join(("penstock", *path.relative_to(ROOT).with_suffix("").parts))
        for path in ROOT.glob("pipelines/*/pipeline.py")
    ]
    program = "\n".join(
        ["import importlib, sys"]
        + [f"importlib.import_module({name!r})" for name in modules]
        + [f"print(*set({HEAVY!r}) & set(sys.modules))"]
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
