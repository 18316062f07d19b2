"""A run that ended early goes on; a part of a pipeline runs on what an earlier run made."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List

import pytest
from kfp import dsl

from penstock.errors import PenstockError
from penstock.metadata.integrity import problems
from penstock.metadata.store import Store
from penstock.metadata.values import ExecutionState, RunState
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, author_path, resume_run, run_pipeline
from penstock.orchestration.selection import select

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def mark(name: str, folder: str, after: str = "") -> str:
    """Note that the step ran; fail while `<folder>/fail-<name>` exists."""
    from pathlib import Path

    with (Path(folder) / f"ran-{name}").open("a") as file:
        file.write("x")
    if (Path(folder) / f"fail-{name}").exists():
        raise RuntimeError(f"{name} is told to fail")
    return f"{after}{name}"


@component
def both(left: str, right: str, data: dsl.Output[dsl.Dataset]) -> str:
    with open(data.path, "w") as file:
        file.write(left + right)
    return left + right


@component
def measure(data: dsl.Input[dsl.Dataset]) -> int:
    return len(open(data.path).read())


@dsl.pipeline
def diamond(folder: str) -> int:
    top = mark(name="top", folder=folder)
    left = mark(name="left", folder=folder, after=top.output).set_display_name("left")
    right = mark(name="right", folder=folder, after=top.output).set_display_name("right")
    joined = both(left=left.output, right=right.output)
    return measure(data=joined.outputs["data"]).output


@pytest.fixture
def database_url(where):
    """Every test here is for SQLite and for PostgreSQL."""
    return where


@pytest.fixture
def settings(tmp_path, database_url):
    return Settings(tmp_path / "runs", store=database_url, use_cache=False, sys_path=author_path())


@pytest.fixture
def marks(tmp_path):
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def resume(run_id, settings):
    report = resume_run(run_id, settings)
    return report, {step.path: step for step in report.steps}


def ran(folder, name):
    file = folder / f"ran-{name}"
    return len(file.read_text()) if file.exists() else 0


def test_after_a_failure_only_the_rest_runs(execute_in, marks, settings):
    (marks / "fail-right").touch()
    failed = execute_in(diamond, options={"use_cache": False}, folder=str(marks))
    assert failed.state is State.FAILED

    (marks / "fail-right").unlink()
    report, steps = resume("latest", settings)

    assert report.state is State.SUCCEEDED
    assert report.run_id == failed.run_id
    assert report.outputs.parameters == {"Output": len("topleft" + "topright")}
    assert {path for path, step in steps.items() if step.state is State.CACHED} == {
        "mark",
        "mark-2",
    }
    assert [ran(marks, name) for name in ("top", "left", "right")] == [1, 1, 2]
    with settings.open_store() as store:
        assert store.run(failed.run_id).state is RunState.COMPLETE


def test_a_kept_artifact_that_was_altered_is_made_again(execute_in, marks, settings):
    done = execute_in(diamond, options={"use_cache": False}, folder=str(marks))
    (done.folder / "both" / "data").write_text("altered")

    report, steps = resume(done.run_id, settings)

    assert {path for path, step in steps.items() if step.state is State.SUCCEEDED} == {"both"}
    assert report.outputs.parameters == done.outputs


def test_a_run_that_is_not_there_cannot_be_resumed(execute_in, marks, settings):
    with pytest.raises(PenstockError, match=r"There is no metadata store|knows no run latest"):
        resume_run("latest", settings)

    done = execute_in(diamond, options={"use_cache": False}, folder=str(marks))
    with pytest.raises(PenstockError, match="no run"):
        resume_run("19000101", settings)
    (done.folder / "pipeline.yaml").unlink()
    with pytest.raises(PenstockError, match=r"cannot be resumed: .*pipeline.yaml cannot be read"):
        resume_run(done.run_id, settings)


def test_only_runs_one_step_on_the_artifacts_of_the_earlier_run(execute_in, marks, part):
    done = execute_in(diamond, options={"use_cache": False}, folder=str(marks))

    again = part(only="both")

    assert again.state is State.SUCCEEDED
    assert again.by_path["both"].state is State.SUCCEEDED
    assert again.cached == {"mark", "mark-2", "mark-3"}
    assert again.not_taken == {"measure"}
    assert ran(marks, "top") == 1
    assert again.run_id != done.run_id


def test_from_runs_a_step_and_what_depends_on_it(execute_in, marks, part):
    execute_in(diamond, options={"use_cache": False}, folder=str(marks))

    again = part(start="mark-3")

    assert again.cached == {"mark", "mark-2"}
    assert again.ran == {"mark", "mark-2", "mark-3", "both", "measure"}
    assert [ran(marks, name) for name in ("top", "left", "right")] == [1, 1, 2]


def test_to_runs_a_step_and_what_it_depends_on(marks, part):
    again = part(end="mark-2", base_needed=False)

    assert again.ran == {"mark", "mark-2"}
    assert again.not_taken == {"mark-3", "both", "measure"}
    assert again.by_path["mark-3"].reason == "left out by --to mark-2"


def test_from_and_to_run_what_lies_between(execute_in, marks, part):
    execute_in(diamond, options={"use_cache": False}, folder=str(marks))

    again = part(start="mark-2", end="both")

    assert {p for p, s in again.by_path.items() if s.state is State.SUCCEEDED} == {"mark-2", "both"}
    assert again.not_taken == {"measure"}


def test_a_part_that_failed_is_resumed_as_that_part(execute_in, marks, part, settings):
    execute_in(diamond, options={"use_cache": False}, folder=str(marks))
    (marks / "fail-left").touch()
    assert part(only="mark-2").failed == {"mark-2"}
    (marks / "fail-left").unlink()

    report, steps = resume("latest", settings)

    assert report.state is State.SUCCEEDED
    assert steps["mark-2"].state is State.SUCCEEDED
    assert steps["both"].state is State.NOT_TAKEN
    assert ran(marks, "right") == 1


def test_a_part_needs_the_outputs_of_the_rest(execute_in, marks, part):
    (marks / "fail-right").touch()
    execute_in(diamond, options={"use_cache": False}, folder=str(marks))

    again = part(only="both")

    assert again.state is State.FAILED
    assert "earlier run has no outputs of mark-3" in again.by_path["mark-3"].reason


@pytest.mark.parametrize(
    "name", ["for-loop-1/condition-2/text", "for-loop-1/7/condition-2/text", "for-loop-1/text"]
)
def test_a_step_is_found_by_its_path_and_as_it_is_shown(compiled, name):
    @component
    def text(value: int) -> int:
        return value

    @dsl.pipeline
    def grouped(items: List[int]):
        with dsl.ParallelFor(items) as item:
            with dsl.If(item > 1):
                text(value=item)
            text(value=item)

    selection = select(compiled(grouped), start=None, end=None, only=name)

    assert selection.run == {"for-loop-1/condition-2/text"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"only": "nothing"}, "has no step nothing; it has both, mark, mark-2, mark-3, measure"),
        ({"only": "both", "start": "mark"}, "leave out --from and --to"),
        ({"start": "measure", "end": "mark"}, "mark does not depend on measure"),
    ],
)
def test_a_wrong_selection_is_one_sentence(compiled, options, sentence):
    with pytest.raises(PenstockError, match=sentence):
        select(compiled(diamond), **{"start": None, "end": None, "only": None, **options})


@pytest.fixture
def part(compiled, outcome, settings, marks):
    def run_part(start=None, end=None, only=None, base_needed=True):
        pipeline = compiled(diamond)
        selection = select(pipeline, start=start, end=end, only=only)
        if not base_needed:
            assert not selection.take
        report = run_pipeline(pipeline, {"folder": str(marks)}, settings, selection=selection)
        return outcome(report)

    return run_part


TWENTY = """
from kfp import dsl

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def step(number: int, before: dsl.Input[dsl.Dataset], data: dsl.Output[dsl.Dataset]):
    import time

    time.sleep(0.01)
    with open(before.path) as file:
        text = file.read()
    with open(data.path, "w") as file:
        for part in (text, f"{number};"):
            file.write(part)
            file.flush()


@component
def start(data: dsl.Output[dsl.Dataset]):
    with open(data.path, "w") as file:
        file.write("start;")


@dsl.pipeline(name="twenty")
def twenty():
    left = right = start()
    for number in range(10):
        left = step(number=number, before=left.outputs["data"])
        right = step(number=100 + number, before=right.outputs["data"])
"""


def files_of(run_folder):
    return {file.parent.name: file.read_text() for file in sorted(Path(run_folder).glob("*/data"))}


def penstock(folder, store, *arguments):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "penstock.cli",
            "run",
            *arguments,
            "--root",
            "runs",
            "--store",
            store,
            "--workers",
            "2",
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def recorded(database, run_id):
    with Store.open(database) as store:
        return run_id in {run.id for run in store.runs()}


def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(tmp_path, where):
    """PENSTOCK_KILLS sets how many times the runner is killed."""
    kills = int(os.environ.get("PENSTOCK_KILLS", "2"))
    (tmp_path / "author.py").write_text(TWENTY)
    assert penstock(tmp_path, where, "author.py", "--no-cache").wait() == 0
    (undisturbed,) = tmp_path.glob("runs/twenty/*")
    expected = files_of(undisturbed)
    assert len(expected) == 21
    dice = random.Random(0)

    killed = 0
    while killed < kills:
        before = set(tmp_path.glob("runs/twenty/*"))
        run = penstock(tmp_path, where, "author.py", "--no-cache")
        while not (new := set(tmp_path.glob("runs/twenty/*")) - before) and run.poll() is None:
            time.sleep(0.02)
        run_id = new.pop().name
        for _ in range(2):
            time.sleep(dice.uniform(0, 0.8))
            if run.poll() is None:
                run.send_signal(signal.SIGKILL)
                killed += 1
            run.wait()
            if not recorded(where, run_id):
                break  # killed before it had begun
            run = penstock(tmp_path, where, "--resume", run_id, "--no-cache")
        if not recorded(where, run_id):
            continue
        assert run.wait() == 0

        assert files_of(tmp_path / "runs" / "twenty" / run_id) == expected
        with Store.open(where) as store:
            assert store.run(run_id).state is RunState.COMPLETE
            finished = set()
            for execution in store.executions(run_id):
                assert execution.task not in finished, "a finished step ran again"
                if execution.state is ExecutionState.COMPLETE:
                    finished.add(execution.task)
            assert len(finished) == 21
            assert problems(store) == []


def test_a_killed_runner_takes_its_steps_along(tmp_path, where):
    (tmp_path / "author.py").write_text(
        "from kfp import dsl\n"
        "@dsl.component(base_image='none', install_kfp_package=False)\n"
        "def endless(pid_file: str):\n"
        "    import os, time\n"
        "    open(pid_file, 'w').write(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "@dsl.pipeline\n"
        "def p(pid_file: str):\n"
        "    endless(pid_file=pid_file)\n"
    )
    pid_file = tmp_path / "pid"
    run = penstock(tmp_path, where, "author.py", "--param", f"pid_file={pid_file}")
    while not (pid_file.exists() and pid_file.read_text()):
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    run.wait()

    step = Path("/proc") / pid_file.read_text() / "cmdline"
    for _ in range(100):
        if not step.exists() or b"penstock" not in step.read_bytes():
            return
        time.sleep(0.1)
    raise AssertionError("the step outlived its runner")
