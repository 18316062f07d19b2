"""Artifacts in an object store, on a real S3 server on loopback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import dsl
from kfp.compiler import Compiler

from penstock.data.digest import digest_path
from penstock.data.remote_folders import list_remote, write_remote
from penstock.errors import PenstockError
from penstock.metadata.garbage import Keep, delete_garbage, find_garbage
from penstock.metadata.integrity import problems
from penstock.metadata.store import Store
from penstock.orchestration.pipeline_root import PipelineRoots, publish
from penstock.orchestration.run import Settings, resume_run

from ..cluster import free_port


@dsl.component
def write(parts: int, data: dsl.Output[dsl.Dataset], left_out: dsl.Output[dsl.Dataset]):
    import pathlib

    folder = pathlib.Path(data.path) / "sub"
    folder.mkdir(parents=True)
    for part in range(parts):
        (folder / f"part-{part}.txt").write_text("x" * (part + 1))
    data.metadata["parts"] = parts


@dsl.component
def measure(data: dsl.Input[dsl.Dataset], page: dsl.Output[dsl.HTML]) -> int:
    import pathlib

    assert data.uri == data.path
    size = sum(f.stat().st_size for f in pathlib.Path(data.path).rglob("*.txt"))
    pathlib.Path(page.path).write_text(f"<p>{size}</p>")
    return size


@dsl.component
def hand_on(data: dsl.Input[dsl.Dataset], same: dsl.Output[dsl.Dataset]):
    same.uri = data.uri


@dsl.pipeline
def measured(parts: int = 3):
    written = write(parts=parts)
    measure(data=written.outputs["data"])


@dsl.pipeline
def imported(uri: str):
    measure(data=dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset).output)


def in_bucket(url):
    """The names of all objects below a URL."""
    return set(list_remote(url))


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


@pytest.fixture
def run(execute_in, bucket):
    """Run with artifacts in the bucket."""

    def execute(pipeline, watch=lambda step: None, **parameters):
        options = {"pipeline_root": f"{bucket}/pipes/"}
        return execute_in(pipeline, options, watch, **parameters)

    return execute


@pytest.fixture
def store(tmp_path):
    def opened():
        return Store.open(tmp_path / "runs" / "metadata.sqlite", create=False)

    return opened


def test_steps_work_on_local_files_and_what_they_made_lies_in_the_bucket(
    run, execute, bucket, tmp_path
):
    there = run(measured, parts=4)
    here = execute(measured, parts=4)

    assert there.by_path["measure"].outputs.parameters == {"Output": 1 + 2 + 3 + 4}
    root = f"{bucket}/pipes/measured/{there.run_id}"
    assert there.report.artifacts == root
    assert in_bucket(root) == {
        "pipeline.yaml",
        *(f"write/data/sub/part-{n}.txt" for n in range(4)),
        "write/data.complete.json",
        "measure/page",
        "measure/page.complete.json",
    }
    for step in ("write", "measure"):
        for name, (artifact,) in there.by_path[step].outputs.artifacts.items():
            assert artifact.uri == f"{root}/{step}/{name}"
            assert artifact.digest == here.by_path[step].outputs.artifacts[name][0].digest
    logs = {"log.txt", "executor_output.json", "pipeline.yaml"}
    assert {p.name for p in there.folder.rglob("*") if p.is_file()} == logs


def test_earlier_results_are_found_in_the_bucket_alone(run, bucket, tmp_path):
    first = run(measured)
    shutil.rmtree(tmp_path / "runs" / ".copies")
    assert run(measured).cached == {"write", "measure"}

    page = first.by_path["measure"].outputs.artifacts["page"][0].uri
    write_remote(page, b"<p>7</p>")
    altered = run(measured)
    assert altered.cached == {"write"}
    assert altered.ran == {"write", "measure"}


def test_a_file_missing_in_the_bucket_is_made_again(run, bucket):
    first = run(measured)
    data = first.by_path["write"].outputs.artifacts["data"][0].uri
    PipelineRoots().delete(f"{data}/sub/part-1.txt")
    again = run(measured)
    assert again.cached == {"measure"}
    assert again.by_path["write"].outputs.artifacts["data"][0].uri != data


def test_what_lies_on_this_machine_alone_is_not_taken_for_a_bucket(run, execute_in):
    execute_in(measured)
    assert run(measured).cached == set()
    assert execute_in(measured).cached == {"write", "measure"}


def test_an_input_that_is_handed_on_keeps_its_url(run):
    @dsl.pipeline
    def handed():
        hand_on(data=write(parts=1).outputs["data"])

    done = run(handed)
    (data,) = done.by_path["write"].outputs.artifacts["data"]
    (same,) = done.by_path["hand-on"].outputs.artifacts["same"]
    assert (same.uri, same.digest) == (data.uri, data.digest)


def test_an_importer_names_what_lies_in_a_bucket(execute_in, bucket):
    url = f"{bucket}/elsewhere/data"
    for name, content in (("a.txt", b"12"), ("deep/b.txt", b"345")):
        write_remote(f"{url}/{name}", content)
    first = execute_in(imported, uri=url)
    assert first.by_path["measure"].outputs.parameters == {"Output": 5}
    assert execute_in(imported, uri=url).cached == {"measure"}
    write_remote(f"{url}/a.txt", b"1234")
    assert execute_in(imported, uri=url).by_path["measure"].outputs.parameters == {"Output": 7}


def test_what_an_importer_does_not_find_is_said(execute_in, bucket):
    missing = execute_in(imported, uri=f"{bucket}/none")
    assert missing.by_path["measure"].reason == (
        f"Nothing lies at {bucket}/none; make it, or correct its URI."
    )


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://no-such-bucket/x", r"yaml cannot be written \(The specified bucket does not exist"),
        ("/tmp/x", r"--pipeline-root /tmp/x is not in an object store; give a URL such as"),
        ("s3://", "--pipeline-root s3:// is not in an object store"),
    ],
)
def test_a_root_that_cannot_be_written_to_costs_no_step(
    execute_in, new_bucket, tmp_path, url, sentence
):
    with pytest.raises(PenstockError, match=sentence):
        execute_in(measured, {"pipeline_root": url})
    assert not list(tmp_path.glob("runs/measured/*"))


@pytest.fixture
def own_server(monkeypatch):
    """An S3 server that the test may stop and start again; its content outlives that."""
    s3fs = pytest.importorskip("s3fs")
    threaded = pytest.importorskip("moto.server").ThreadedMotoServer
    port = free_port()
    server = threaded("127.0.0.1", port, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("goes-away")
    yield server
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_that_goes_away_loses_nothing(execute_in, own_server, store, tmp_path, outcome):
    def cut(step):
        if step.name == "write" and step.state.is_success:
            own_server.stop()

    failed = execute_in(measured, {"pipeline_root": "s3://goes-away"}, cut)
    assert failed.failed == {"measure"}
    reason = failed.by_path["measure"].reason
    assert reason.startswith(f"s3://goes-away/measured/{failed.run_id}/measure/page")
    assert "(Could not connect to the endpoint" in reason
    own_server.start()
    again = outcome(resume_run(failed.run_id, Settings(tmp_path / "runs")))
    assert again.cached == {"write"}
    assert again.ran == {"write", "measure"}
    with store() as opened:
        assert problems(opened) == []


def started(pipeline, tmp_path, bucket, **parameters):
    """`penstock run` of a pipeline, in a process that can be killed."""
    Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))
    command = [sys.executable, "-m", "penstock", "run", str(tmp_path / "pipeline.yaml")]
    command += ["--root", str(tmp_path / "runs"), "--pipeline-root", f"{bucket}/pipes"]
    for name, value in parameters.items():
        command += ["--param", f"{name}={value}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def test_an_upload_killed_in_the_middle_is_never_seen_as_an_artifact(
    bucket, tmp_path, store, outcome
):
    process = started(measured, tmp_path, bucket, parts=100)
    deadline = time.monotonic() + 60
    while not any("part-" in name for name in in_bucket(bucket)):
        assert process.poll() is None
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    there = in_bucket(bucket)
    assert 0 < sum("part-" in name for name in there) < 100
    assert not any(name.endswith(".complete.json") for name in there)
    with store() as opened:
        (lost,) = opened.runs()
        assert lost.lost
        assert not any(step.outputs for step in opened.executions(lost.id))
        left = find_garbage(opened, tmp_path / "runs", Keep(last=1), PipelineRoots()).left
        assert {item.url.removeprefix(f"{bucket}/") for item in left} == there - {
            f"pipes/measured/{lost.id}/pipeline.yaml"
        }
    again = outcome(resume_run("latest", Settings(tmp_path / "runs")))
    assert again.ran == {"write", "measure"}
    assert again.by_path["measure"].outputs.parameters == {"Output": sum(range(101))}
    with store() as opened:
        assert not find_garbage(opened, tmp_path / "runs", Keep(last=1), PipelineRoots()).left
        assert problems(opened) == []


def test_clean_up_reaches_into_the_bucket_and_keeps_what_is_needed(run, bucket, store, tmp_path):
    first, second = run(measured, parts=1), run(measured, parts=2)
    third = run(measured, parts=1)
    assert third.cached == {"write", "measure"}
    place = f"pipes/measured/{second.run_id}/write"
    write_remote(f"{bucket}/{place}/data/other.txt", b"")
    write_remote(f"{bucket}/pipes/measured/{first.run_id}/write/half/part-0", b"123")

    with store() as opened:
        found = find_garbage(opened, tmp_path / "runs", Keep(last=1), PipelineRoots())
        assert found.size(PipelineRoots()) > 3
        delete_garbage(opened, tmp_path / "runs", Keep(last=1), PipelineRoots())
        assert problems(opened) == []
        again = find_garbage(opened, tmp_path / "runs", Keep(last=1), PipelineRoots())
    assert (again.artifacts, again.left) == ((), ())
    assert in_bucket(bucket) == {
        f"pipes/measured/{third.run_id}/pipeline.yaml",
        *(
            f"pipes/measured/{first.run_id}/{name}"
            for name in (
                "pipeline.yaml",
                "write/data/sub/part-0.txt",
                "write/data.complete.json",
                "measure/page",
                "measure/page.complete.json",
            )
        ),
    }
    assert run(measured, parts=1).cached == {"write", "measure"}


def test_what_was_uploaded_replaces_a_killed_attempt(bucket, tmp_path):
    url = f"{bucket}/x/data"
    write_remote(f"{url}/old", b"1")
    write_remote(f"{url}.complete.json", b"{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "new").write_text("22")
    publish(tmp_path / "data", url, digest_path(tmp_path / "data"))
    assert in_bucket(f"{bucket}/x") == {"data/new", "data.complete.json"}


def test_commands_name_artifacts_in_the_bucket(run, tmp_path):
    done = run(measured)
    data = done.by_path["write"].outputs.artifacts["data"][0]

    def penstock(*words):
        command = [sys.executable, "-m", "penstock", *words, "--root", str(tmp_path / "runs")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    shown = json.loads(penstock("runs", "show", "latest", "--json"))
    assert shown["artifacts"] == done.report.artifacts
    assert f"#{data.id}" in penstock("lineage", f"{data.uri}/sub/part-0.txt")
    assert Path(shown["folder"]) == done.folder
