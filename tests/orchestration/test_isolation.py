"""A step that crashes fails; the runner and the other steps do not."""

import os
import subprocess
import sys

import pytest
from kfp import dsl

from penstock.metadata.integrity import problems
from penstock.metadata.store import Store
from penstock.metadata.values import ExecutionState
from penstock.orchestration.report import State

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def end(how: str):
    import ctypes
    import os
    import signal
    import sys

    os.system("echo the last words")
    if how == "os._exit":
        os._exit(7)
    elif how == "sys.exit":
        sys.exit(3)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "memory":
        raise MemoryError


@component
def process() -> int:
    import os

    return os.getpid()


@component
def state(set_it: bool) -> str:
    import builtins
    import random

    if set_it:
        builtins.penstock_test_leak = "leaked"
    random.seed(0)
    return getattr(builtins, "penstock_test_leak", "clean")


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("os._exit", "The step's process ended with exit code 7."),
        ("sys.exit", "The step called sys.exit(3)."),
        ("segfault", "The step's process was ended by SIGSEGV."),
        ("killed", "ended by SIGKILL: it was killed, perhaps for want of memory."),
        ("memory", "MemoryError"),
    ],
)
def test_a_crash_fails_its_step_alone(execute, how, reason, isolate):
    @dsl.pipeline
    def pipeline(how: str):
        end(how=how)
        process()

    run = execute(pipeline, how=how, isolate=isolate)

    assert run.state is State.FAILED
    assert run.failed == {"end"}
    assert reason in run.by_path["end"].reason
    assert "the last words" in run.by_path["end"].log.read_text()
    assert run.ran == {"process"}


def test_steps_share_a_warm_process_unless_isolated(execute):
    @dsl.pipeline
    def pipeline():
        first = process()
        process().after(first)

    def processes(**options):
        run = execute(pipeline, **options)
        return {step.outputs.parameters["Output"] for step in run.by_path.values()}

    assert len(processes()) == 1
    assert len(processes(isolate=True)) == 2
    assert os.getpid() not in processes()


def test_an_isolated_step_sees_nothing_of_another(execute):
    @dsl.pipeline
    def pipeline():
        first = state(set_it=True)
        state(set_it=False).after(first)

    run = execute(pipeline, isolate=True)

    assert run.by_path["state-2"].outputs.parameters == {"Output": "clean"}


def test_independent_steps_run_side_by_side(execute, tmp_path):
    @component
    def meet(mine: str, other: str, folder: str):
        import time
        from pathlib import Path

        (Path(folder) / mine).touch()
        for _ in range(200):
            if (Path(folder) / other).exists():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{other} never came")

    @dsl.pipeline
    def pipeline(folder: str):
        meet(mine="a", other="b", folder=folder)
        meet(mine="b", other="a", folder=folder)

    assert execute(pipeline, workers=2, folder=str(tmp_path)).state is State.SUCCEEDED


def test_each_step_has_its_own_log_also_side_by_side(execute):
    @component
    def talk(word: str):
        import os
        import time

        for _ in range(20):
            os.system(f"echo {word}")
            time.sleep(0.01)

    @dsl.pipeline
    def pipeline():
        talk(word="left")
        talk(word="right")

    run = execute(pipeline, workers=2)

    assert set(run.by_path["talk"].log.read_text().split()) == {"left"}
    assert set(run.by_path["talk-2"].log.read_text().split()) == {"right"}


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs more rights than there are here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_one_sentence(small_disk, tmp_path):
    (tmp_path / "author.py").write_text(
        "from kfp import dsl\n"
        "@dsl.component(base_image='none', install_kfp_package=False)\n"
        "def fill(data: dsl.Output[dsl.Dataset]):\n"
        "    open(data.path, 'wb').write(b'x' * 10_000_000)\n"
        "@dsl.pipeline\n"
        "def p():\n"
        "    fill()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", "run", "author.py", "--root", str(small_disk)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode in (1, 2)
    said = done.stdout + done.stderr
    assert "No space left on device" in said or "is full" in said
    assert "asyncio" not in said


def test_after_room_was_made_a_run_that_filled_the_disk_goes_on(small_disk, tmp_path):
    (tmp_path / "author.py").write_text(
        "from kfp import dsl\n"
        "component = dsl.component(base_image='none', install_kfp_package=False)\n"
        "@component\n"
        "def first(data: dsl.Output[dsl.Dataset]):\n"
        "    open(data.path, 'wb').write(b'x' * 1000)\n"
        "@component\n"
        "def second(data: dsl.Input[dsl.Dataset], copy: dsl.Output[dsl.Dataset]):\n"
        "    open(copy.path, 'wb').write(open(data.path, 'rb').read() * 5000)\n"
        "@dsl.pipeline\n"
        "def p():\n"
        "    second(data=first().outputs['data'])\n"
    )
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 4_000_000)

    def penstock(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "penstock.cli", "run", *arguments, "--root", str(small_disk)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    filled = penstock("author.py")
    ballast.unlink()
    resumed = penstock("--resume", "latest")

    assert filled.returncode in (1, 2)
    said = filled.stdout + filled.stderr
    assert "No space left on device" in said or "is full" in said
    assert "Traceback" not in filled.stderr
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    (run,) = (small_disk / "p").iterdir()
    assert (run / "second" / "copy").read_bytes() == b"x" * 5_000_000
    with Store.open(small_disk / "metadata.sqlite") as store:
        assert problems(store) == []
        states = [(step.task, step.state) for step in store.executions(run.name)]
    assert [state for task, state in states if task == "first"] == [ExecutionState.COMPLETE]
    assert states[-1] == ("second", ExecutionState.COMPLETE)
