"""gc deletes what no kept run needs, and never anything else."""

import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.metadata.garbage import Keep, delete_garbage, find_garbage
from penstock.metadata.integrity import problems
from penstock.metadata.store import ArtifactGone, Store
from penstock.metadata.values import Artifact, ArtifactState, ExecutionState, RunState

COMPLETE, CACHED = ExecutionState.COMPLETE, ExecutionState.CACHED


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def run(store, root, run_id, *, pipeline="flights", cached=(), inputs=(), steps=("a", "b")):
    """A run that makes an artifact per step, and takes some of earlier runs."""
    folder = root / pipeline / run_id
    store.start_run(run_id, pipeline, "d", {}, folder)
    made = []
    for step in steps:
        place = folder / step / "out"
        place.mkdir(parents=True)
        (place / "data").write_bytes(run_id.encode() * 100)
        (folder / step / "log.txt").write_text("log")
        new = Artifact(str(place), "system.X", "out", f"sha256:{run_id}{step}")
        done = store.record(
            run_id, step, "c", COMPLETE, inputs={"i": tuple(inputs)}, outputs={"out": (new,)}
        )
        made += done.outputs["out"]
    for artifact in cached:
        store.record(run_id, f"cached{artifact.id}", "c", CACHED, outputs={"out": (artifact,)})
    store.finish_run(run_id, RunState.COMPLETE)
    return made


def state(store, artifact):
    return store.artifact(artifact.id).state


def test_last_runs_of_each_pipeline_are_kept(store, root):
    old = run(store, root, "r1")
    other = run(store, root, "r2", pipeline="taxi")
    new = run(store, root, "r3")

    garbage = delete_garbage(store, root, Keep(last=1))

    assert [r.id for r in garbage.kept] == ["r3", "r2"]
    assert {a.id for a in garbage.artifacts} == {a.id for a in old}
    assert not (root / "flights/r1").exists()
    assert all(Path(a.uri, "data").is_file() for a in (*new, *other))
    assert all(state(store, a) is ArtifactState.DELETED for a in old)
    assert [r.id for r in store.runs()] == ["r3", "r2", "r1"]  # what is known stays
    assert problems(store) == []


def test_finding_changes_nothing(store, root):
    made = run(store, root, "r1")

    garbage = find_garbage(store, root, Keep())

    assert len(garbage.artifacts) == 2 and garbage.folders == (root / "flights/r1",)
    assert garbage.size() == sum(f.stat().st_size for f in root.rglob("*") if f.is_file())
    assert all(state(store, a) is ArtifactState.LIVE and Path(a.uri).is_dir() for a in made)


def test_what_came_from_the_cache_of_an_older_run_stays(store, root):
    first, second = run(store, root, "r1")
    run(store, root, "r2", cached=[first])

    delete_garbage(store, root, Keep(last=1))

    assert Path(first.uri, "data").is_file() and state(store, first) is ArtifactState.LIVE
    assert not Path(second.uri).exists()


def test_what_a_kept_run_consumed_stays(store, root):
    first, second = run(store, root, "r1")
    run(store, root, "r2", inputs=[second])

    delete_garbage(store, root, Keep(last=1))

    assert not Path(first.uri).exists() and Path(second.uri, "data").is_file()


def test_named_new_and_protected_are_kept(store, root):
    for number in range(1, 5):
        run(store, root, f"r{number}")
    third = store.run("r3")
    protected = store.executions("r2")[0].outputs["out"][0]

    garbage = delete_garbage(
        store,
        root,
        Keep(
            runs=frozenset({"r1"}),
            newer_than=third.started,
            protected=frozenset({protected.digest}),
        ),
    )

    assert [r.id for r in garbage.kept] == ["r4", "r3", "r1"]
    assert sorted(p.name for p in (root / "flights").iterdir()) == ["r1", "r2", "r3", "r4"]
    assert Path(protected.uri, "data").is_file()
    assert not (root / "flights/r2/b/out").exists()


def test_protected_by_uri(store, root):
    first, _ = run(store, root, "r1")

    delete_garbage(store, root, Keep(protected=frozenset({first.uri})))

    assert Path(first.uri, "data").is_file()


def test_run_at_work_is_kept(store, root):
    store.start_run("r1", "flights", "d", {}, root / "flights/r1")
    place = root / "flights/r1/a"
    place.mkdir(parents=True)
    made = store.record("r1", "a", "c", COMPLETE, outputs={"o": (Artifact(str(place)),)})

    delete_garbage(store, root, Keep())

    assert place.is_dir() and state(store, made.outputs["o"][0]) is ArtifactState.LIVE


def test_nothing_outside_the_root_or_not_made_by_a_run_is_deleted(store, root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    imported = root / "shared-data"
    link = root / "flights/r1/link"
    for folder in (elsewhere, imported, link.parent):
        folder.mkdir(parents=True)
    link.symlink_to(elsewhere)
    store.start_run("r1", "flights", "d", {}, root / "flights/r1")
    up = f"{link}/../../.."
    local = [str(place) for place in (elsewhere, imported, link, root, "/", up)]
    uris = [*local, "s3://bucket/x"]
    store.record(
        "r1", "i", "c", COMPLETE, outputs={f"o{n}": (Artifact(u),) for n, u in enumerate(uris)}
    )
    store.start_run("r2", "flights", "d", {}, elsewhere)
    store.start_run("r3", "flights", "d", {}, root)
    for run_id in ("r1", "r2", "r3"):
        store.finish_run(run_id, RunState.COMPLETE)
    (elsewhere / "precious").write_text("")

    garbage = delete_garbage(store, root, Keep())

    assert garbage.artifacts == () and len(garbage.outside) == len(uris)
    assert garbage.folders == (root / "flights/r1",)
    assert (elsewhere / "precious").exists() and imported.is_dir() and root.is_dir()


def test_what_holds_something_needed_is_not_deleted(store, root):
    outer, _ = run(store, root, "r1")
    inner = Path(outer.uri) / "inner"
    inner.mkdir()
    store.start_run("r2", "flights", "d", {}, root / "flights/r2")
    store.record("r2", "x", "c", COMPLETE, inputs={"i": (Artifact(str(inner)),)})

    garbage = delete_garbage(store, root, Keep(last=1))

    assert inner.is_dir() and outer.id not in {a.id for a in garbage.artifacts}


def test_deleted_artifact_is_no_cache_hit_and_cannot_be_used(store, root):
    folder = root / "flights/r1"
    (folder / "m").mkdir(parents=True)
    store.start_run("r1", "flights", "d", {}, folder)
    made = store.record(
        "r1", "m", "c", COMPLETE, cache_key="k", outputs={"m": (Artifact(str(folder / "m")),)}
    )
    store.finish_run("r1", RunState.COMPLETE)

    delete_garbage(store, root, Keep())
    store.start_run("r2", "flights", "d", {}, root / "flights/r2")

    assert store.find_cached("k") is None
    with pytest.raises(ArtifactGone, match="has been deleted by `penstock gc`"):
        store.start_execution("r2", "e", "c", inputs={"m": made.outputs["m"]})
    assert store.executions("r2") == []


def test_unknown_run_and_missing_root(store, root):
    with pytest.raises(PenstockError, match="knows no run banana"):
        find_garbage(store, root, Keep(runs=frozenset({"banana"})))
    with pytest.raises(PenstockError, match=r"There is no folder .*nowhere; say where runs lie"):
        find_garbage(store, root / "nowhere", Keep())


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_exactly_what_kept_runs_touch_survives(tmp_path, data):
    root = tmp_path / f"case{len(list(tmp_path.iterdir()))}"
    root.mkdir()
    with Store.open(root / "metadata.sqlite") as store:
        made, touched = [], {}
        for number in range(data.draw(st.integers(1, 6))):
            taken = data.draw(st.sets(st.sampled_from(made), max_size=3)) if made else set()
            chosen = [a for a in made if a in taken]
            half = len(chosen) // 2
            run_id = f"r{number}"
            new = run(store, root, run_id, cached=chosen[:half], inputs=chosen[half:])
            touched[run_id] = {a.uri for a in (*new, *chosen)}
            made += [Hashed(a) for a in new]
        keep = data.draw(st.sets(st.sampled_from(sorted(touched))))

        delete_garbage(store, root, Keep(runs=frozenset(keep)))

        needed = set().union(*(touched[run_id] for run_id in keep))
        assert {a.uri for a in made if Path(a.uri).exists()} == needed
        for artifact in made:
            live = state(store, artifact) is ArtifactState.LIVE
            assert live == (artifact.uri in needed)
        assert problems(store) == []


class Hashed(Artifact):
    """An artifact that can be in a set."""

    def __new__(cls, artifact=None, **_):
        return object.__new__(cls)

    def __init__(self, artifact):
        super().__init__(**vars(artifact))

    def __hash__(self):
        return hash(self.uri)


COLLECTOR = """
import os, signal, sys, time
from penstock.metadata.garbage import Keep, delete_garbage
from penstock.metadata.store import Store
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        with Store.open(sys.argv[1]) as store:
            delete_garbage(store, sys.argv[2], Keep(last=1))
        os._exit(0)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_killed_collection_is_finished_by_the_next(where, root):
    chance = random.Random(3)
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, where, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with Store.open(where) as store, collector:
        old = []
        for turn in range(4):
            old += run(store, root, f"old{turn}", steps=tuple("abcdefgh"))
            kept = run(store, root, f"new{turn}")
            collector.stdin.write(f"{chance.uniform(0, 0.12)}\n")
            collector.stdin.flush()
            assert collector.stdout.readline() == "dead\n"

            assert problems(store) == []
            assert all(Path(a.uri, "data").is_file() for a in kept)
            for artifact in old:  # what is whole in the store is whole on disk
                if state(store, artifact) is ArtifactState.LIVE:
                    assert Path(artifact.uri, "data").is_file()
            old += kept
        collector.stdin.close()

        delete_garbage(store, root, Keep(last=1))

        kept = {a.uri for a in kept}
        assert {a.uri for a in old if Path(a.uri).exists()} == kept
        assert {a.uri for a in old if state(store, a) is ArtifactState.LIVE} == kept
        assert [p.name for p in (root / "flights").iterdir()] == ["new3"]


def test_age_is_measured_from_the_start(store, root):
    run(store, root, "r1")
    started = store.run("r1").started

    assert find_garbage(store, root, Keep(newer_than=started)).artifacts == ()
    assert find_garbage(store, root, Keep(newer_than=started + timedelta(seconds=1))).artifacts
