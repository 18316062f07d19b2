"""What is recorded is what is read back, on SQLite and on PostgreSQL."""

import math
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.metadata.integrity import problems
from penstock.metadata.models import ProcessRow
from penstock.metadata.store import ArtifactGone, Store
from penstock.metadata.values import Artifact, ArtifactState, ExecutionState, RunState

COMPLETE, CACHED, FAILED, CANCELED, RUNNING = (
    ExecutionState.COMPLETE,
    ExecutionState.CACHED,
    ExecutionState.FAILED,
    ExecutionState.CANCELED,
    ExecutionState.RUNNING,
)


@pytest.fixture(autouse=True)
def sound(store):
    """Whatever a test did, the store's invariants hold."""
    yield
    assert problems(store) == []


def start(store, run_id="r1", pipeline="flights"):
    return store.start_run(run_id, pipeline, "sha256:spec", {"steps": 5}, f"/runs/{run_id}")


def test_run_is_read_back_as_it_was_recorded(store):
    before = datetime.now(timezone.utc) - timedelta(seconds=5)

    begun = store.start_run(
        "r1", "flights", "sha256:spec", {"steps": 5}, "/runs/r1", properties={"by": "hand"}
    )
    store.finish_run("r1", RunState.FAILED, "trainer failed.")

    run = store.run("r1")
    assert begun.state is RunState.RUNNING and begun.ended is None and not begun.lost
    assert (run.pipeline, run.spec_digest, run.folder) == ("flights", "sha256:spec", "/runs/r1")
    assert run.parameters == {"steps": 5} and run.properties == {"by": "hand"}
    assert run.state is RunState.FAILED and run.error == "trainer failed."
    assert before < run.started <= run.ended


def test_runs_are_listed_newest_first_and_by_pipeline(store):
    for run_id, pipeline in (("a", "flights"), ("b", "taxi"), ("c", "flights")):
        start(store, run_id, pipeline)

    assert [run.id for run in store.runs()] == ["c", "b", "a"]
    assert [run.id for run in store.runs("flights")] == ["c", "a"]
    assert [run.id for run in store.runs(limit=1)] == ["c"]


def test_run_is_found_by_the_beginning_of_its_id(store):
    start(store, "20260101-aa")
    start(store, "20260102-bb")

    assert store.run("20260101").id == "20260101-aa"
    assert store.run("latest").id == "20260102-bb"
    with pytest.raises(PenstockError, match="Several runs begin with 2026"):
        store.run("2026")
    with pytest.raises(PenstockError, match="knows no run 2027"):
        store.run("2027")
    with pytest.raises(PenstockError, match="knows no run %"):
        store.run("%")


def test_run_id_is_taken_once(store):
    start(store)

    with pytest.raises(PenstockError, match="has a run r1 already"):
        start(store)


def test_execution_is_read_back_with_what_it_consumed_and_produced(store):
    start(store)
    first = store.start_execution("r1", "example_gen", "example-gen", parameters={"span": 3})
    made = store.finish_execution(
        first,
        COMPLETE,
        outputs={
            "examples": (Artifact("/x", "system.Examples", "examples", "sha256:1", {"n": 2}),)
        },
        parameters={"rows": 7},
    )
    second = store.start_execution(
        "r1",
        "loop/0/trainer",
        "trainer",
        cache_key="k",
        key_parts={"examples": "sha256:1"},
        inputs={"examples": made["examples"]},
        properties={"log": "/log"},
    )
    store.finish_execution(second, FAILED, error="No rows.", properties={"attempts": 2})

    one, two = store.executions("r1")
    assert (one.task, one.component, one.state) == ("example_gen", "example-gen", COMPLETE)
    assert one.parameters == {"span": 3} and one.output_parameters == {"rows": 7}
    (examples,) = one.outputs["examples"]
    assert (examples.uri, examples.type, examples.digest) == ("/x", "system.Examples", "sha256:1")
    assert examples.metadata == {"n": 2} and examples.state is ArtifactState.LIVE
    assert two.inputs == {"examples": (examples,)} and two.outputs == {}
    assert (two.cache_key, two.key_parts) == ("k", {"examples": "sha256:1"})
    assert two.properties == {"log": "/log", "attempts": 2}
    assert (two.run_id, two.pipeline, two.error) == ("r1", "flights", "No rows.")
    assert store.execution(second) == two
    assert store.step_counts(["r1"])["r1"] == {COMPLETE: 1, FAILED: 1}


def test_lists_of_artifacts_keep_their_order(store):
    start(store)
    made = [Artifact(f"/models/{n}", digest=f"sha256:{n}") for n in range(12)]
    first = store.start_execution("r1", "loop", "trainer")
    models = store.finish_execution(first, COMPLETE, outputs={"models": tuple(made)})["models"]

    store.record("r1", "pick", "pick", COMPLETE, inputs={"models": tuple(reversed(models))})

    loop, pick = store.executions("r1")
    assert [a.uri for a in loop.outputs["models"]] == [a.uri for a in made]
    assert [a.uri for a in pick.inputs["models"]] == [a.uri for a in reversed(made)]


def test_cached_step_shares_the_artifacts_of_the_earlier_one(store):
    start(store)
    first = store.start_execution("r1", "trainer", "trainer", cache_key="k")
    store.finish_execution(first, COMPLETE, outputs={"model": (Artifact("/m", digest="d"),)})
    start(store, "r2")
    earlier = store.find_cached("k")

    cached = store.record(
        "r2", "trainer", "trainer", CACHED, cache_key="k", outputs=earlier.outputs
    )

    assert cached.state is CACHED and cached.outputs == earlier.outputs
    assert len(store.artifacts(uri="/m")) == 1


def test_input_without_an_id_is_recognised(store):
    start(store)
    given_by_hand = Artifact("/data", digest="sha256:1")
    one = store.record("r1", "a", "c", COMPLETE, inputs={"data": (given_by_hand,)})
    two = store.record("r1", "b", "c", COMPLETE, inputs={"data": (given_by_hand,)})
    other = store.record(
        "r1", "d", "c", COMPLETE, inputs={"data": (Artifact("/data", digest="sha256:2"),)}
    )

    assert one.inputs == two.inputs
    assert one.inputs != other.inputs


def test_what_is_overwritten_is_recorded_as_deleted(store):
    start(store)
    for digest in ("sha256:old", "sha256:new"):
        step = store.start_execution("r1", "trainer", "trainer", cache_key=digest)
        store.finish_execution(step, COMPLETE, outputs={"m": (Artifact("/m", digest=digest),)})

    new, old = store.artifacts(uri="/m")
    assert (new.digest, new.state) == ("sha256:new", ArtifactState.LIVE)
    assert (old.digest, old.state) == ("sha256:old", ArtifactState.DELETED)
    assert store.find_cached("sha256:old") is None
    with pytest.raises(ArtifactGone, match="/m, output m of again, has been deleted"):
        store.record("r1", "again", "trainer", CACHED, outputs={"m": (old,)})


def test_an_execution_ends_once(store):
    start(store)
    step = store.start_execution("r1", "trainer", "trainer")
    store.finish_execution(step, COMPLETE)

    with pytest.raises(PenstockError, match=f"Execution {step} has ended already"):
        store.finish_execution(step, FAILED)
    with pytest.raises(PenstockError, match="Execution 77 is not in the metadata store"):
        store.finish_execution(77, FAILED)


def test_a_failed_step_has_no_outputs(store):
    start(store)
    step = store.start_execution("r1", "trainer", "trainer")

    with pytest.raises(ValueError, match="FAILED has no outputs"):
        store.finish_execution(step, FAILED, outputs={"model": (Artifact("/m"),)})

    store.finish_execution(step, FAILED)


def test_outputs_are_recorded_whole_or_not_at_all(store):
    start(store)
    step = store.start_execution("r1", "trainer", "trainer")
    unknown = Artifact("/gone", id=999)

    with pytest.raises(ArtifactGone):
        store.finish_execution(
            step, COMPLETE, outputs={"a": (Artifact("/a", digest="d"),), "b": (unknown,)}
        )

    assert store.artifacts(uri="/a") == []
    assert store.execution(step).state is RUNNING


def test_a_run_that_ends_leaves_nothing_running(store):
    start(store)
    store.start_execution("r1", "trainer", "trainer")

    store.finish_run("r1", RunState.CANCELED)

    assert store.executions("r1")[0].state is CANCELED


def test_what_a_killed_process_left_is_recognised_and_can_go_on(store, where):
    program = (
        "import os, signal, sys\n"
        "from penstock.metadata.store import Store\n"
        "store = Store.open(sys.argv[1])\n"
        "store.start_run('r1', 'flights', 'd', {}, '/runs/r1')\n"
        "store.start_execution('r1', 'trainer', 'trainer', cache_key='k')\n"
        "assert store.claim('k', 'r1/trainer')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, where], check=False)
    assert store.run("r1").lost and store.executions("r1")[0].lost

    resumed = store.resume_run("r1")

    assert resumed.state is RunState.RUNNING and not resumed.lost
    (step,) = store.executions("r1")
    assert step.state is FAILED and step.error == "The process that ran it is gone."
    assert store.claim("k", "again")


def test_recover_records_what_dead_processes_left(store, where):
    program = (
        "import os, sys\n"
        "from penstock.metadata.store import Store\n"
        "store = Store.open(sys.argv[1])\n"
        "store.start_run('dead', 'flights', 'd', {}, '/runs/r1')\n"
        "store.start_execution('dead', 'trainer', 'trainer')\n"
        "store.claim('k', 'r1/trainer')\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", program, where], check=False)
    start(store, "alive")

    assert store.recover() == ["dead"]

    assert store.run("dead").state is RunState.FAILED
    assert store.executions("dead")[0].state is FAILED
    assert store.run("alive").state is RunState.RUNNING
    assert store.claimed_by("k") is None
    assert store.recover() == []


def test_a_run_at_work_is_not_taken_over(store, where):
    program = (
        "import sys\n"
        "from penstock.metadata.store import Store\n"
        "store = Store.open(sys.argv[1])\n"
        "store.start_run('r1', 'flights', 'd', {}, '/runs/r1')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "ready\n"

        with pytest.raises(PenstockError, match=f"still being run by process {other.pid} on"):
            store.resume_run("r1")
        assert store.recover() == []

        other.stdin.close()
    assert store.recover() == ["r1"]


def test_a_process_elsewhere_is_known_by_its_heartbeat(store):
    start(store)

    with store.writing() as session:
        session.query(ProcessRow).update({"host": "elsewhere"})
    assert not store.run("r1").lost

    with store.writing() as session:
        (row,) = session.query(ProcessRow)
        row.heartbeat_time_since_epoch -= 91_000
    assert store.run("r1").lost

    store._beat(row.id)
    assert not store.run("r1").lost


def test_a_later_process_with_the_same_number_is_another(store):
    start(store)

    with store.writing() as session:
        (row,) = session.query(ProcessRow)
        row.start_ticks -= 1

    assert store.run("r1").lost


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=json_values)
def test_json_comes_back_exactly(store, value):
    if not store.runs():
        start(store)

    step = store.record(
        "r1",
        "t",
        "c",
        COMPLETE,
        parameters={"p": value},
        outputs={"o": (Artifact("/o", metadata={"m": value}),)},
    )

    read = store.execution(step.id)
    assert repr(read.parameters["p"]) == repr(value)  # 1 is not 1.0 is not True
    assert repr(read.outputs["o"][0].metadata["m"]) == repr(value)


def test_numbers_and_text_that_json_does_not_know_are_kept_in_words(store):
    start(store)

    step = store.record(
        "r1",
        "t",
        "c",
        FAILED,
        parameters={"nan": math.nan, "low": -math.inf, "high": math.inf, "text": "a\0b\udcff"},
        error="bad bytes \0 \udcff in the log",
    )

    assert store.execution(step.id).parameters == {
        "nan": "NaN",
        "low": "-Infinity",
        "high": "Infinity",
        "text": "a\ufffdb?",
    }
    assert step.error == "bad bytes \ufffd ? in the log"


def test_what_is_not_json_is_refused_by_name(store):
    start(store)

    with pytest.raises(PenstockError, match=r"A parameter of t\.when\[0\] is a datetime"):
        store.start_execution("r1", "t", "c", parameters={"when": [datetime.now(timezone.utc)]})


def test_a_second_store_sees_what_the_first_recorded(store, where):
    start(store)

    with Store.open(where) as other:
        assert other.run("r1") == store.run("r1")
