"""The local runner on SQLite and on PostgreSQL: cache, resume, and what is recorded."""

from kfp import dsl
from kfp.compiler import Compiler

from penstock.metadata.integrity import problems
from penstock.metadata.values import ExecutionState, RunState
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, resume_run, run_pipeline
from penstock.orchestration.spec import parse

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def make(rows: int, data: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]):
    with open(data.path, "w") as file:
        file.write("x" * rows)
    metrics.log_metric("rows", float(rows))


@component
def pick(data: dsl.Input[dsl.Dataset], marker: str) -> int:
    from pathlib import Path

    if Path(marker).name == "none":
        raise RuntimeError("there is no marker")
    return len(open(data.path).read())


@dsl.pipeline
def water(marker: str, rows: int = 3):
    made = make(rows=rows)
    pick(data=made.outputs["data"], marker=marker)


def test_the_runner_records_caches_and_resumes(where, store, tmp_path):
    Compiler().compile(water, str(tmp_path / "water.yaml"))
    pipeline = parse((tmp_path / "water.yaml").read_text(), "water.yaml")
    settings = Settings(tmp_path / "runs", store=where)

    first = run_pipeline(pipeline, {"marker": "there"}, settings)
    second = run_pipeline(pipeline, {"marker": "there"}, settings)
    failed = run_pipeline(pipeline, {"marker": "none"}, settings)
    again = resume_run(failed.run_id, settings)

    assert first.state is second.state is State.SUCCEEDED
    assert {step.state for step in second.steps} == {State.CACHED}
    assert failed.state is again.state is State.FAILED
    assert [run.state for run in store.runs()] == [
        RunState.FAILED,
        RunState.COMPLETE,
        RunState.COMPLETE,
    ]
    states = [(e.task, e.state) for e in store.executions(failed.run_id)]
    assert states == [
        ("make", ExecutionState.CACHED),
        ("pick", ExecutionState.FAILED),
        ("pick", ExecutionState.FAILED),
    ]
    (made,) = (e for e in store.executions(first.run_id) if e.task == "make")
    assert made.outputs["metrics"][0].metadata == {"rows": 3.0}
    assert made.outputs["data"][0].digest.startswith("sha256:")
    assert problems(store) == []
