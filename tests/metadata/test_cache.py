"""The cache finds what can be used again, and one process at a time computes a key."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from penstock.metadata.integrity import problems
from penstock.metadata.models import ClaimRow, ProcessRow
from penstock.metadata.values import Artifact, ExecutionState

COMPLETE, CACHED, FAILED = (
    ExecutionState.COMPLETE,
    ExecutionState.CACHED,
    ExecutionState.FAILED,
)


@pytest.fixture(autouse=True)
def run(store):
    store.start_run("r1", "flights", "d", {}, "/runs/r1")
    yield
    assert problems(store) == []


def record(store, key, state=COMPLETE, *, digest="sha256:1", parts=None, component="trainer"):
    outputs = {"model": (Artifact(f"/m/{digest}", digest=digest),)} if state is COMPLETE else {}
    return store.record(
        "r1", "trainer", component, state, cache_key=key, key_parts=parts, outputs=outputs
    )


def test_newest_complete_execution_is_found(store):
    record(store, "k", digest="sha256:1")
    second = record(store, "k", digest="sha256:2")
    record(store, "k", FAILED)
    record(store, "other", digest="sha256:3")

    assert store.find_cached("k") == second
    assert store.find_cached("unknown") is None


def test_execution_in_progress_is_not_found(store):
    store.start_execution("r1", "trainer", "trainer", cache_key="k")

    assert store.find_cached("k") is None


def test_execution_without_artifacts_is_found_with_its_parameters(store):
    store.record("r1", "decide", "decide", COMPLETE, cache_key="k", output_parameters={"go": True})

    assert store.find_cached("k").output_parameters == {"go": True}


def test_nearest_shares_most_ingredients_and_is_newest_among_equals(store):
    record(store, "k1", digest="1", parts={"code": "a", "data": "x", "steps": 1})
    same_code = record(store, "k2", digest="2", parts={"code": "b", "data": "y", "steps": 2})
    record(store, "k3", digest="3", parts={"code": "b", "data": "x"}, component="evaluator")
    later = record(store, "k4", digest="4", parts={"code": "a", "data": "x", "steps": 9})

    wanted = {"code": "b", "data": "z", "steps": 2}
    assert store.nearest("trainer", wanted) == same_code
    assert store.nearest("trainer", {"code": "a", "data": "x", "steps": 7}) == later
    assert store.nearest("pusher", wanted) is None


def test_claim_is_held_until_it_is_released(store):
    claim = store.claim("k", "r1/trainer")

    assert claim is not None
    assert store.claim("k", "r2/trainer") is None
    assert store.claimed_by("k") == "r1/trainer"
    assert store.claim("other", "r2/trainer") is not None

    store.release(claim)
    assert store.claimed_by("k") is None
    again = store.claim("k", "r2/trainer")
    store.release(claim)  # an old claim lets go of nothing
    assert again is not None and store.claimed_by("k") == "r2/trainer"


@pytest.mark.parametrize("state", [COMPLETE, FAILED])
def test_claim_ends_with_the_execution(store, state):
    claim = store.claim("k", "r1/trainer")
    step = store.start_execution("r1", "trainer", "trainer", cache_key="k")

    store.finish_execution(step, state, claim=claim)

    assert store.claimed_by("k") is None


def test_claim_of_a_silent_machine_expires(store):
    store.claim("k", "r1/trainer")
    with store.writing() as session:
        session.query(ProcessRow).update({"host": "elsewhere"})
    assert store.claim("k", "me") is None

    with store.writing() as session:
        (row,) = session.query(ProcessRow)
        row.heartbeat_time_since_epoch -= 91_000
    taken = store.claim("k", "me")

    assert taken is not None and store.claimed_by("k") == "me"


CONTENDER = """
import sys, time
from penstock.metadata.store import Store
where, name, keys = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
with Store.open(where) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for key in keys:
        if store.claim(key, name):
            print(key, flush=True)
    sys.stdin.readline()
"""


def test_of_several_processes_exactly_one_gets_each_key(store, where):
    keys = [f"k{n}" for n in range(40)]
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, where, str(n), ",".join(keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(5)
    ]
    for contender in contenders:
        assert contender.stdout.readline() == "ready\n"

    for contender in contenders:
        contender.stdin.write("go\n")
        contender.stdin.flush()
    # All stay alive until everybody has asked: a claim of a dead process may be taken.
    until = time.monotonic() + 60
    while time.monotonic() < until and not all(store.claimed_by(key) for key in keys):
        time.sleep(0.1)
    time.sleep(1)
    got = Counter()
    for contender in contenders:
        rest, _ = contender.communicate("end\n", timeout=60)
        got.update(rest.split())

    assert got == Counter(keys)


def test_of_several_threads_exactly_one_gets_a_key(store):
    claims = []
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait()
        claims.append(store.claim("k", "thread"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claims) == 8 and sum(claim is not None for claim in claims) == 1


def test_of_several_processes_exactly_one_takes_over_a_dead_ones_key(store, where):
    held = "from penstock.metadata.store import Store; import sys, os; "
    held += "Store.open(sys.argv[1]).claim('k', 'dead'); os._exit(0)"
    subprocess.run([sys.executable, "-c", held, where], check=True)
    claims = []
    barrier = threading.Barrier(6)

    def ask():
        barrier.wait()
        claims.append(store.claim("k", "heir"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(claim is not None for claim in claims) == 1
    with store.reading() as session:
        assert session.query(ClaimRow).count() == 1


def test_a_zombie_holds_no_claim(store, where):
    program = "from penstock.metadata.store import Store; import sys; "
    program += "Store.open(sys.argv[1]).claim('k', 'zombie'); print('ok', flush=True); "
    program += "sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ok\n"
    assert store.claim("k", "me") is None

    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not reaped

    assert store.claim("k", "me") is not None
    child.communicate()
