"""When a step is executed again, and when its earlier outputs serve."""

import sys
import threading
import time

import pytest
from kfp import dsl

from penstock.metadata.integrity import problems
from penstock.metadata.store import Store
from penstock.metadata.values import RunState
from penstock.orchestration.code import code_parts, named_code
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, author_path, run_pipeline

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def make(rows: int, data: dsl.Output[dsl.Dataset]):
    with open(data.path, "w") as file:
        file.write("x" * rows)
    data.metadata["rows"] = rows


@component
def count(data: dsl.Input[dsl.Dataset], factor: int = 1) -> int:
    import os

    return os.path.getsize(data.path) * factor


@component
def first_letter(path: str) -> str:
    import glob

    return "".join(open(name).read()[0] for name in sorted(glob.glob(path)))


@component
def letter_of_module(module: str) -> str:
    import importlib

    return importlib.import_module(module).LETTER


@dsl.pipeline
def two_steps(rows: int = 3, factor: int = 1) -> int:
    return count(data=make(rows=rows).outputs["data"], factor=factor).output


@pytest.fixture
def database_url(where):
    """Every test here is for SQLite and for PostgreSQL."""
    return where


@pytest.fixture
def run(execute_in):
    return execute_in


def test_a_second_run_executes_nothing(run):
    first, second = run(two_steps), run(two_steps)

    assert first.ran == {"make", "count"}
    assert first.cached == set()
    assert second.cached == {"make", "count"}
    assert second.outputs == first.outputs == {"Output": 3}
    assert second.by_path["make"].outputs.artifacts["data"][0].metadata == {"rows": 3}


def test_only_what_a_parameter_reaches_is_executed(run):
    run(two_steps)

    assert run(two_steps, factor=2).cached == {"make"}
    assert run(two_steps, rows=4).cached == set()
    assert run(two_steps, rows=4, factor=1).cached == {"make", "count"}


def test_the_same_content_from_another_step_is_a_hit(run):
    @component
    def make_otherwise(rows: int, data: dsl.Output[dsl.Dataset]):
        with open(data.path, "w") as file:
            file.writelines("x" for _ in range(rows))
        data.metadata["rows"] = rows

    @dsl.pipeline(name="two-steps")
    def other(rows: int = 3, factor: int = 1) -> int:
        made = make_otherwise(rows=rows).set_display_name("another name")
        return count(data=made.outputs["data"], factor=factor).set_display_name("too").output

    run(two_steps)

    assert run(other).cached == {"count"}


def test_the_same_step_twice_in_a_pipeline_is_executed_once(run):
    @dsl.pipeline
    def twice():
        first = make(rows=3)
        make(rows=3).after(first)

    assert run(twice).cached == {"make-2"}


def test_other_source_is_a_miss(run):
    run(two_steps)

    @component
    def count(data: dsl.Input[dsl.Dataset], factor: int = 1) -> int:
        return len(open(data.path).read()) * factor

    @dsl.pipeline
    def changed(rows: int = 3, factor: int = 1) -> int:
        return count(data=make(rows=rows).outputs["data"], factor=factor).output

    assert run(changed).cached == {"make"}


def test_an_artifact_that_is_gone_is_a_miss_and_said_so(run):
    first = run(two_steps)
    (first.folder / "make" / "data").unlink()

    again = run(two_steps, options={"explain": True})

    assert again.cached == {"count"}
    assert again.by_path["make"].explanation == (
        f"of run {first.run_id} {first.folder / 'make' / 'data'} is gone",
    )


def test_an_artifact_that_was_altered_is_a_miss_and_said_so(run):
    first = run(two_steps)
    (first.folder / "make" / "data").write_text("yyyy")

    again = run(two_steps, options={"explain": True})

    assert again.outputs == {"Output": 3}
    assert "was altered" in again.by_path["make"].explanation[0]


def test_a_miss_is_explained_by_what_changed(run):
    run(two_steps)

    changed = run(two_steps, factor=2, options={"explain": True})

    assert changed.by_path["count"].explanation == ("parameter factor: 1 -> 2",)
    assert changed.by_path["make"].explanation[0].startswith("same as in run")


def test_caching_can_be_off_for_a_step_and_for_a_run(run):
    @dsl.pipeline
    def uncached(rows: int = 3) -> int:
        made = make(rows=rows).set_caching_options(False)
        return count(data=made.outputs["data"]).output

    run(uncached)

    assert run(uncached).cached == {"count"}
    assert run(uncached, options={"use_cache": False}).cached == set()
    assert run(two_steps).cached == {"count"}


def test_a_failed_step_is_not_remembered(run, tmp_path):
    @component
    def flaky(marker: str) -> int:
        import os

        if not os.path.isdir(marker):
            os.makedirs(marker)
            raise RuntimeError("the first time")
        return 1

    @dsl.pipeline
    def pipeline(marker: str):
        flaky(marker=marker)

    marker = str(tmp_path / "marker")
    assert run(pipeline, marker=marker).state is State.FAILED
    assert run(pipeline, marker=marker).ran == {"flaky"}


def test_files_that_a_parameter_names_count_with_their_content(run, tmp_path):
    @dsl.pipeline
    def pipeline(path: str) -> str:
        return first_letter(path=path).output

    (tmp_path / "a.csv").write_text("a")
    pattern = str(tmp_path / "*.csv")

    assert run(pipeline, path=pattern).outputs == {"Output": "a"}
    assert run(pipeline, path=pattern).cached == {"first-letter"}
    (tmp_path / "b.csv").write_text("b")
    assert run(pipeline, path=pattern).outputs == {"Output": "ab"}
    (tmp_path / "a.csv").write_text("c")
    assert run(pipeline, path=pattern).outputs == {"Output": "cb"}
    assert run(pipeline, path=pattern).cached == {"first-letter"}


def test_a_module_that_a_parameter_names_counts_with_its_code(run, tmp_path, monkeypatch):
    package = tmp_path / f"author_of_{tmp_path.name}"  # where a module lies is remembered
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "letters.py").write_text("from .choice import LETTER\n")
    (package / "choice.py").write_text("LETTER = 'a'\n")
    monkeypatch.syspath_prepend(tmp_path)

    @dsl.pipeline
    def pipeline(module: str) -> str:
        return letter_of_module(module=module).output

    name = f"{package.name}.letters"
    assert run(pipeline, module=name).outputs == {"Output": "a"}
    assert run(pipeline, module=name).cached == {"letter-of-module"}
    (package / "choice.py").write_text("LETTER = 'bb'\n")
    changed = run(pipeline, module=name, options={"explain": True})
    assert changed.outputs == {"Output": "bb"}
    assert changed.by_path["letter-of-module"].explanation == (
        f"code {package.name}.choice changed",
    )


def test_a_template_beside_the_code_counts(tmp_path, monkeypatch):
    package = tmp_path / "author_of_pages" / "pages"
    package.mkdir(parents=True)
    for file in (package / "__init__.py", package.parent / "__init__.py"):
        file.write_text("")
    (package / "page.html").write_text("<p>")
    monkeypatch.syspath_prepend(tmp_path)

    before = named_code("author_of_pages.pages")
    (package / "page.html").write_text("<b>")
    after = named_code("author_of_pages.pages")

    assert {name for name in before if before[name] != after[name]} == {
        "data author_of_pages.pages"
    }


def test_a_step_does_not_depend_on_its_neighbours():
    parts = code_parts("from penstock.components.pusher.executor import *")

    assert "code penstock.components.pusher.executor" in parts
    assert "code penstock.components" in parts
    others = [name for name in parts if name.startswith("code penstock.components.trainer")]
    assert others == []
    assert "library tensorflow_model_analysis" not in parts


def test_code_is_followed_through_penstock_but_not_through_libraries():
    parts = code_parts(
        "def f():\n    from penstock.data.digest import digest_path\n    import yaml"
    )

    assert {"code penstock", "code penstock.data", "code penstock.data.digest"} <= parts.keys()
    assert "library yaml" in parts
    assert not any(name.startswith(("code yaml", "library json")) for name in parts)
    assert "yaml" not in named_code("a sentence with yaml. And more")
    assert named_code("penstock.errors:PenstockError").keys() == {
        "code penstock",
        "code penstock.errors",
    }


def test_two_runs_at_once_compute_a_step_once(run, tmp_path, monkeypatch):
    @component
    def slow() -> int:
        import os
        import time

        time.sleep(1)
        with open(os.path.join(os.environ["PENSTOCK_TEST_COUNTER"], str(os.getpid())), "a") as file:
            file.write("x")
        return 1

    @dsl.pipeline
    def pipeline() -> int:
        return slow().output

    (tmp_path / "counter").mkdir()
    monkeypatch.setenv("PENSTOCK_TEST_COUNTER", str(tmp_path / "counter"))
    results = []

    def one():
        results.append(run(pipeline))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()

    written = [file.read_text() for file in (tmp_path / "counter").iterdir()]
    assert written == ["x"]
    assert [result.outputs for result in results] == [{"Output": 1}] * 2


def test_the_cache_does_not_load_what_it_looks_at(tmp_path, monkeypatch):
    (tmp_path / "explosive.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert named_code(str(tmp_path / "explosive.py"))
    assert code_parts("import explosive").keys() == {"code explosive"}
    assert "explosive" not in sys.modules


def test_two_runners_share_a_store_for_100_cached_runs(run, compiled, tmp_path, database_url):
    run(two_steps)
    pipeline = compiled(two_steps)
    reports = []

    def fifty():
        for _ in range(50):
            settings = Settings(tmp_path / "runs", store=database_url, sys_path=author_path())
            reports.append(run_pipeline(pipeline, {}, settings))

    runners = [threading.Thread(target=fifty) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()

    assert len(reports) == 100
    assert {step.state for report in reports for step in report.steps} == {State.CACHED}
    with Store.open(database_url) as store:
        assert problems(store) == []
        assert {found.state for found in store.runs()} == {RunState.COMPLETE}
