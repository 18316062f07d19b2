"""Whatever is wrong with the database: one sentence, and what was recorded stays whole."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock.errors import PenstockError
from penstock.metadata.integrity import problems
from penstock.metadata.store import Store
from penstock.metadata.values import Artifact, ExecutionState

WRITER = """
import os, sys
from penstock.metadata.store import Store
from penstock.metadata.values import Artifact, ExecutionState as E, RunState

def write(where, name):
    store = Store.open(where)
    previous, number = (), 0
    while True:
        number += 1
        run = f"{name}-{number}"
        store.start_run(run, "flights", "d", {"n": number}, f"/runs/{run}")
        for task in range(4):
            key = f"{number}-{task}"
            claim = store.claim(key, run)
            inputs = {"i": previous}
            step = store.start_execution(run, f"t{task}", "c", cache_key=key, inputs=inputs)
            made = tuple(Artifact(f"/{run}/{task}/{k}", digest=f"d{number}{k}") for k in range(3))
            outputs = store.finish_execution(step, E.COMPLETE, outputs={"o": made}, claim=claim)
            previous = outputs["o"]
        store.record(run, "again", "c", E.CACHED, outputs={"o": previous})
        store.finish_run(run, RunState.COMPLETE)
        if number == 1:
            print("at work", flush=True)

# A process that has all modules loaded makes the writers, so that a round is short.
Store.open(sys.argv[1]).close()
for name in sys.stdin:
    writer = os.fork()
    if writer == 0:
        write(sys.argv[1], name.strip())
    print(writer, flush=True)
    os.waitpid(writer, 0)
    print("dead", flush=True)
"""
ROUNDS = 25


def test_kill_at_any_moment_leaves_a_sound_store(where):
    chance = random.Random(7)
    maker = subprocess.Popen(
        [sys.executable, "-c", WRITER, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with Store.open(where) as store, maker:
        for turn in range(ROUNDS):
            maker.stdin.write(f"w{turn}\n")
            maker.stdin.flush()
            writer = int(maker.stdout.readline())
            assert maker.stdout.readline() == "at work\n"
            time.sleep(chance.uniform(0, 0.15))
            os.kill(writer, signal.SIGKILL)
            assert maker.stdout.readline() == "dead\n"

            assert problems(store) == []
        maker.stdin.close()

        lost = {run.id for run in store.runs() if run.lost}
        assert len(lost) > ROUNDS / 4, "most writers should have been killed within a run"
        assert set(store.recover()) == lost
        assert problems(store) == []
        assert not any(run.lost for run in store.runs())
        steps = store.step_counts([run.id for run in store.runs()]).values()
        assert sum(sum(counts.values()) for counts in steps) > ROUNDS


def test_threads_and_processes_write_at_once(where):
    with Store.open(where) as store:
        makers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, where],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for number, maker in enumerate(makers):
            maker.stdin.write(f"w{number}\n")
            maker.stdin.close()
        writers = [int(maker.stdout.readline()) for maker in makers]
        store.start_run("mine", "flights", "d", {}, "/runs/mine")

        def step(number):
            execution = store.start_execution("mine", f"t{number}", "c")
            store.finish_execution(
                execution,
                ExecutionState.COMPLETE,
                outputs={"o": (Artifact(f"/mine/{number}", digest=str(number)),)},
            )

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(step, range(30)))
        for writer, maker in zip(writers, makers, strict=True):
            os.kill(writer, signal.SIGKILL)
            maker.wait()
            maker.stdout.close()

        assert len(store.executions("mine")) == 30
        assert problems(store) == []


def test_several_processes_make_one_store(where):
    program = "from penstock.metadata.store import Store; import sys; Store.open(sys.argv[1])"

    makers = [
        subprocess.Popen([sys.executable, "-c", program, where], stderr=subprocess.PIPE)
        for _ in range(4)
    ]

    assert [maker.communicate()[1] for maker in makers] == [b""] * 4
    with Store.open(where) as store:
        assert problems(store) == []


def test_integrity_check_finds_what_is_wrong(where):
    with Store.open(where) as store:
        store.start_run("r1", "flights", "d", {}, "/runs/r1")
        store.record(
            "r1", "t", "c", ExecutionState.COMPLETE, outputs={"o": (Artifact("/o"), Artifact("/p"))}
        )
        assert problems(store) == []
        broken = {
            "DELETE FROM event WHERE position = 1": "lacks some of its outputs",
            "UPDATE event SET type = 'INPUT'": "lacks some of its outputs",
            "UPDATE execution SET last_known_state = 'FAILED'": "did not succeed",
            "UPDATE execution SET last_known_state = 'CACHED'": "cached before it was made",
            "UPDATE execution SET end_time_since_epoch = NULL": "state and end do not agree",
            "UPDATE run SET state = 'COMPLETE'": "state and end do not agree",
            "UPDATE artifact SET state = 'ELSEWHERE'": "unknown state",
            "DELETE FROM attribution": "not attributed to its run",
            "DELETE FROM association": "in no run",
            "DELETE FROM parent_context": "without its context",
        }

        for statement, problem in broken.items():
            with store.writing() as session:
                session.execute(text(statement))
                found = problems_within(session, store)
                session.rollback()
            assert any(problem in sentence for sentence in found), (statement, found)

        assert problems(store) == []


def problems_within(session, store):
    """The problems that an open transaction sees."""

    class Within:
        engine = store.engine

        def reading(self):
            from contextlib import nullcontext

            return nullcontext(session)

    return problems(Within())


def test_dangling_reference_is_found(tmp_path):
    file = tmp_path / "metadata.sqlite"
    with Store.open(file) as store:
        store.start_run("r1", "flights", "d", {}, "/runs/r1")
        store.record("r1", "t", "c", ExecutionState.COMPLETE, outputs={"o": (Artifact("/o"),)})
        with sqlite3.connect(file) as raw:  # foreign keys are off unless asked for
            raw.execute("DELETE FROM artifact")

        assert any("event.artifact_id names artifact 1, which is not" in p for p in problems(store))


def test_missing_store_is_not_made_by_a_reader(tmp_path):
    with pytest.raises(PenstockError, match=r"There is no metadata store at .*none\.sqlite; run"):
        Store.open(tmp_path / "none.sqlite", create=False)

    assert list(tmp_path.iterdir()) == []


def test_file_of_something_else(tmp_path):
    file = tmp_path / "metadata.sqlite"
    file.write_text("# Notes\n" * 1000)

    with pytest.raises(PenstockError, match=r"metadata\.sqlite is damaged; restore a copy"):
        Store.open(file)

    assert file.read_text().startswith("# Notes")


def test_damaged_file(tmp_path):
    file = tmp_path / "metadata.sqlite"
    with Store.open(file) as store:
        for number in range(50):
            store.start_run(f"r{number}", "flights", "d", {"text": "x" * 500}, "/runs")
    content = bytearray(file.read_bytes())
    content[4096 * 2 :] = os.urandom(len(content) - 4096 * 2)
    file.write_bytes(content)

    with pytest.raises(PenstockError, match="is damaged"), Store.open(file) as store:
        store.runs()
        problems(store)


def test_database_of_something_else(where):
    from penstock.metadata.engine import connect, parse

    engine = connect(parse(where), 5)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE registered_models (name TEXT)"))
    engine.dispose()

    with pytest.raises(PenstockError, match="something else: it has the table registered_models"):
        Store.open(where)


def test_store_of_a_newer_penstock(where):
    with Store.open(where) as store, store.writing() as session:
        session.execute(text("UPDATE penstock_schema SET version_num = '0999'"))

    with pytest.raises(PenstockError, match=r"by a newer Penstock \(schema 0999, .* to 0\d+\)"):
        Store.open(where)


def test_locked_store_waits_and_then_says_so(tmp_path):
    file = tmp_path / "metadata.sqlite"
    Store.open(file).close()
    with Store.open(file, busy_seconds=0.3) as store, sqlite3.connect(file) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()

        with pytest.raises(PenstockError, match=r"locked by another process for 0\.3 s; wait"):
            store.start_run("r1", "flights", "d", {}, "/runs")

        assert 0.25 < time.monotonic() - began < 5
        assert store.runs() == []  # readers need not wait
        other.rollback()
        store.start_run("r1", "flights", "d", {}, "/runs")


def test_postgres_that_is_locked(database):
    Store.open(database).close()
    with Store.open(database, busy_seconds=0.3) as store, Store.open(database) as other:
        store.recover()
        with other.writing() as session:
            session.execute(text("LOCK TABLE process, run IN ACCESS EXCLUSIVE MODE"))

            with pytest.raises(PenstockError, match=r"locked by another process for 0\.3 s"):
                store.start_run("r1", "flights", "d", {}, "/runs")


def test_short_lock_is_waited_for(tmp_path):
    file = tmp_path / "metadata.sqlite"
    with Store.open(file) as store, sqlite3.connect(file, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(store.start_run, "r1", "flights", "d", {}, "/runs")
            time.sleep(0.3)
            assert not waiting.done()
            other.rollback()

            assert waiting.result(10).id == "r1"


def test_place_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(PenstockError, match="cannot be made or read: File exists; choose another"):
        Store.open(tmp_path / "file" / "metadata.sqlite")
    with pytest.raises(PenstockError, match="is not a file"):
        Store.open(tmp_path)


AS_NOBODY = """
import os, sys
from penstock.errors import PenstockError
from penstock.metadata.store import Store
if os.geteuid() == 0:  # root may write everywhere
    os.setgid(65534)
    os.setuid(65534)
try:
    Store.open(sys.argv[1]).start_run("r", "p", "d", {}, "/runs")
except PenstockError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        (0o555, "cannot be written; make it and its folder writable"),
        (0o000, "cannot be made or read: Permission denied"),
    ],
)
def test_store_that_cannot_be_written(mode, sentence):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "metadata.sqlite")
        Store.open(file).close()
        file.chmod(0o444)
        Path(folder).chmod(mode)

        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, file], capture_output=True, text=True, check=False
        )

        Path(folder).chmod(0o755)
    assert sentence in done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=False
    )
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        with Store.open(disk / "metadata.sqlite") as store:
            with pytest.raises(PenstockError, match="cannot grow, the disk is full; make room"):
                for number in range(1000):
                    store.start_run(f"r{number}", "flights", "d", {"x": "y" * 2000}, "/runs")
            assert store.runs()
            assert problems(store) == []
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
        shutil.rmtree(disk)


def test_server_that_is_not_there():
    with pytest.raises(PenstockError) as raised:
        Store.open("postgresql://me:hidden@127.0.0.1:1/db", busy_seconds=2)

    sentence = str(raised.value)
    assert sentence.startswith("The metadata store postgresql://me:***@127.0.0.1:1/db cannot be")
    assert "hidden" not in sentence and "\n" not in sentence


def test_wrong_password_and_wrong_database(database):
    with pytest.raises(PenstockError, match="cannot be reached: password authentication failed"):
        Store.open(database.replace("secret", "wrong"))
    with pytest.raises(PenstockError, match='cannot be reached: database "nowhere" does not'):
        Store.open(database.replace("/postgres?", "/nowhere?"))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://me:hidden@host/db", r"mysql://me:\*\*\*@host/db is of a kind that is not"),
        ("postgresql//host/db://", "is not a file|cannot be"),
        ("://", "URL cannot be read"),
    ],
)
def test_url_that_is_none(url, sentence):
    with pytest.raises(PenstockError, match=sentence):
        Store.open(url, create=False)


def test_lost_connection_is_mended(database):
    with Store.open(database) as store, Store.open(database) as other:
        store.start_run("r1", "flights", "d", {}, "/runs")
        with other.writing() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

        assert store.run("r1").id == "r1"


def test_ctrl_c_in_a_transaction_leaves_nothing(where):
    with (
        Store.open(where) as store,
        pytest.raises(KeyboardInterrupt),
        store.writing() as session,
    ):
        session.execute(text("DELETE FROM penstock_schema"))
        raise KeyboardInterrupt

    Store.open(where).close()
