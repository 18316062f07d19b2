"""Two runner processes on one store at the same time."""

import os
import subprocess
import sys
from collections import Counter

from penstock.metadata.integrity import problems
from penstock.metadata.store import Store
from penstock.metadata.values import ExecutionState, RunState

AUTHOR = """
from kfp import dsl

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def step(number: int, before: int = 0) -> int:
    import os
    import time

    with open(os.environ["PENSTOCK_TEST_COUNTER"], "a") as file:
        file.write(f"{number}\\n")
    time.sleep(0.3)
    return before + number


@dsl.pipeline(name="chain")
def chain() -> int:
    first = step(number=1)
    side = step(number=10)
    second = step(number=2, before=first.output)
    return step(number=side.output, before=second.output).output
"""
# A runner that says when it is ready, waits for the word and runs the pipeline so many times.
RUNNER = """
import sys
from pathlib import Path

from penstock.orchestration.run import Settings, run_pipeline
from penstock.orchestration.target import load

pipeline = load("author.py:chain")
settings = Settings(Path("runs"), store=sys.argv[2], workers=2)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    report = run_pipeline(pipeline, {}, settings)
    print(report.state.name, report.outputs.parameters["Output"], flush=True)
"""


def two_runners(folder, times, store):
    """Run the pipeline in two processes that begin together; return what each said."""
    (folder / "author.py").write_text(AUTHOR)
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(times), store],
            cwd=folder,
            env={**os.environ, "PENSTOCK_TEST_COUNTER": str(folder / "counter")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [runner.stdout.readline() for runner in runners] == ["ready\n"] * 2
    for runner in runners:
        runner.stdin.write("go\n")
        runner.stdin.flush()
    said = [runner.communicate()[0].splitlines() for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0]
    return said


def test_two_processes_compute_each_step_once_and_share_the_store(tmp_path, where):
    """PENSTOCK_CACHED_RUNS sets how many runs each process makes."""
    times = int(os.environ.get("PENSTOCK_CACHED_RUNS", "10"))

    said = two_runners(tmp_path, times, where)

    assert said == [["SUCCEEDED 13"] * times] * 2
    assert Counter((tmp_path / "counter").read_text().split()) == {"1": 1, "2": 1, "10": 2}
    with Store.open(where) as store:
        runs = store.runs()
        assert problems(store) == []
        assert len(runs) == 2 * times
        assert {run.state for run in runs} == {RunState.COMPLETE}
        states = Counter(step.state for run in runs for step in store.executions(run.id))
    assert states == {ExecutionState.COMPLETE: 4, ExecutionState.CACHED: 8 * times - 4}
