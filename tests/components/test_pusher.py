"""Pushing: a version is there whole or not at all, once per content, and only if blessed."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from penstock.components import artifacts
from penstock.components.pusher.component import pusher
from penstock.components.pusher.executor import push
from penstock.data.digest import digest_path
from penstock.errors import PenstockError


def write_model(folder: Path, content: str, *, files: int = 3, file_bytes: int = 100) -> Path:
    """What a SavedModel looks like to one who only carries it."""
    variables = folder / "serving" / "variables"
    variables.mkdir(parents=True)
    (folder / "serving" / "saved_model.pb").write_text(content)
    for number in range(files):
        (variables / f"variables.data-{number:05}").write_bytes(os.urandom(file_bytes))
    return folder


def bless(folder: Path, model: Path, *, blessed: bool = True, reason: str = "auc 0.7.") -> Path:
    folder.mkdir(parents=True)
    record = {
        "blessed": blessed,
        "reason": reason,
        "rows": 10,
        "checks": [],
        "model_digest": digest_path(model / "serving"),
        "examples_digest": "sha256:0",
    }
    (folder / "blessing.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model", "one")


@pytest.fixture
def blessing(tmp_path, model):
    return bless(tmp_path / "blessing", model)


def visible(destination: Path) -> list[str]:
    """What TensorFlow Serving looks at: names that are numbers."""
    return sorted(entry.name for entry in destination.iterdir() if entry.name.isdigit())


def test_a_blessed_model_becomes_version_one(model, blessing, tmp_path):
    result = push(model, blessing, tmp_path / "pushed", str(tmp_path / "serve"))

    assert visible(tmp_path / "serve") == ["1"]
    assert digest_path(tmp_path / "serve" / "1") == digest_path(model / "serving")
    written = json.loads((tmp_path / "pushed" / "pushed.json").read_text())
    assert written == {
        "pushed": True,
        "reason": f"Pushed as version 1 to {tmp_path / 'serve' / '1'}.",
        "destination": str(tmp_path / "serve" / "1"),
        "version": 1,
        "content_digest": digest_path(model / "serving"),
        "registered": None,
        "inference_service": None,
    }
    assert result == {"summary": written["reason"], **written}


def test_tensorflow_loads_the_pushed_version(tmp_path):
    import tensorflow as tf

    class Twice(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"predictions": 2 * x}

    module = Twice()
    tf.saved_model.save(
        module, str(tmp_path / "model" / "serving"), signatures={"serving_default": module.serve}
    )
    blessing = bless(tmp_path / "blessing", tmp_path / "model")

    result = push(tmp_path / "model", blessing, tmp_path / "pushed", str(tmp_path / "serve"))

    loaded = tf.saved_model.load(result["destination"])
    answer = loaded.signatures["serving_default"](x=tf.constant([1.5]))
    assert answer["predictions"].numpy() == pytest.approx([3.0])


def test_the_same_content_twice_is_one_version(model, blessing, tmp_path):
    serve = str(tmp_path / "serve")
    first = push(model, blessing, tmp_path / "pushed", serve)
    copied = tmp_path / "copy"
    shutil.copytree(model, copied)

    again = push(copied, blessing, tmp_path / "again", serve)

    assert visible(tmp_path / "serve") == ["1"]
    assert (again["pushed"], again["version"]) == (True, 1)
    assert first["content_digest"] == again["content_digest"]
    assert "holds this model already, as version 1" in again["reason"]


def test_other_content_is_the_next_version_and_numbers_are_not_used_again(
    model, blessing, tmp_path
):
    serve = tmp_path / "serve"
    # Given a version of another tool, and names that TensorFlow Serving ignores
    write_model(tmp_path / "foreign", "foreign")
    shutil.copytree(tmp_path / "foreign" / "serving", serve / "41")
    (serve / "notes").mkdir()
    other = write_model(tmp_path / "other", "two")
    third = write_model(tmp_path / "third", "three")

    first = push(model, blessing, tmp_path / "p1", str(serve))
    second = push(other, bless(tmp_path / "b2", other), tmp_path / "p2", str(serve))
    shutil.rmtree(serve / "43")
    after = push(third, bless(tmp_path / "b3", third), tmp_path / "p3", str(serve))
    foreign = push(
        tmp_path / "foreign",
        bless(tmp_path / "b4", tmp_path / "foreign"),
        tmp_path / "p4",
        str(serve),
    )

    assert [first["version"], second["version"], after["version"]] == [42, 43, 44]
    assert foreign["version"] == 41
    assert "Version 44 is newer and is what TensorFlow Serving loads" in foreign["reason"]


def test_a_version_that_was_changed_afterwards_does_not_count_as_pushed(model, blessing, tmp_path):
    serve = tmp_path / "serve"
    push(model, blessing, tmp_path / "pushed", str(serve))
    (serve / "1" / "saved_model.pb").write_text("tampered")

    again = push(model, blessing, tmp_path / "again", str(serve))

    assert again["version"] == 2
    assert digest_path(serve / "2") == digest_path(model / "serving")


def test_a_relative_destination_starts_at_the_working_directory(
    model, blessing, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    result = push(model, blessing, tmp_path / "pushed", "some/where")

    assert result["destination"] == str(tmp_path / "some" / "where" / "1")


def test_an_unblessed_model_is_refused_in_words_and_the_step_goes_on(model, tmp_path):
    blessing = bless(tmp_path / "blessing", model, blessed=False, reason="auc is 0.58.")
    pushed_model = artifacts.PushedModel(
        name="pushed_model", uri=str(tmp_path / "pushed"), metadata={}
    )

    outputs = pusher.python_func(
        model=artifacts.Model(name="model", uri=str(model), metadata={}),
        blessing=artifacts.Blessing(name="blessing", uri=str(blessing), metadata={}),
        pushed_model=pushed_model,
        destination=str(tmp_path / "serve"),
    )

    assert outputs.pushed is False
    assert outputs.reason == "The model is not blessed: auc is 0.58."
    assert not (tmp_path / "serve").exists()
    assert json.loads((tmp_path / "pushed" / "pushed.json").read_text()) == {
        "pushed": False,
        "reason": outputs.reason,
        "destination": None,
        "version": None,
        "content_digest": None,
        "registered": None,
        "inference_service": None,
    }
    assert pushed_model.metadata["summary"] == outputs.reason


def test_what_cannot_be_pushed_fails_with_a_sentence(model, blessing, tmp_path):
    def refused(sentence, model=model, blessing=blessing, destination=str(tmp_path / "serve")):
        with pytest.raises(PenstockError) as raised:
            push(model, blessing, tmp_path / "pushed", destination)
        assert sentence in str(raised.value)
        assert not (tmp_path / "serve").exists() and not (tmp_path / "pushed").exists()

    file = tmp_path / "file"
    file.write_text("x")
    refused("is a file; give a folder", destination=str(file))
    refused("cannot be written to (Not a directory)", destination=str(file / "below"))
    refused("cannot be written to", destination="/proc/penstock")
    refused("names no bucket", destination="s3://")
    refused("nosuch://models cannot be reached", destination="nosuch://models")
    refused("There is nowhere to push to", destination=" ")

    refused("There is no model at", model=tmp_path / "nothing")
    refused("There is no blessing at", blessing=tmp_path / "nothing")
    other = write_model(tmp_path / "other", "two")
    refused("is of another model", blessing=bless(tmp_path / "others", other))
    refused("is of another model", blessing=bless(tmp_path / "unblessed", other, blessed=False))

    for number, text in enumerate(("{", "[]", '{"blessed": "yes"}', '{"blessed": true}')):
        place = tmp_path / f"bad-{number}"
        place.mkdir()
        (place / "blessing.json").write_text(text)
        refused("is not a blessing", blessing=place)


def infra_bless(folder: Path, model: Path, *, blessed: bool = True, warmup: bytes = b"") -> Path:
    record = {
        "blessed": blessed,
        "reason": "p99 is 4 ms." if blessed else "It answers NaN.",
        "model_digest": digest_path(model / "serving"),
    }
    folder.mkdir()
    (folder / "infra_blessing.json").write_text(json.dumps(record))
    if warmup:
        (folder / "warmup").mkdir()
        (folder / "warmup" / "tf_serving_warmup_requests").write_bytes(warmup)
    return folder


def test_a_model_that_cannot_be_served_is_refused_whatever_the_other_blessing_says(
    model, blessing, tmp_path
):
    infra = infra_bless(tmp_path / "infra", model, blessed=False)
    options = {"infra_blessing": infra, "allow_unvalidated": True}

    result = push(model, blessing, tmp_path / "pushed", str(tmp_path / "serve"), **options)

    assert (result["pushed"], result["reason"]) == (
        False,
        "The model cannot be served: It answers NaN.",
    )
    assert not (tmp_path / "serve").exists()
    with pytest.raises(PenstockError, match="The infra blessing is of another model"):
        other = write_model(tmp_path / "other", "two")
        push(other, None, tmp_path / "p2", str(tmp_path / "serve"), infra_blessing=infra)


def test_warm_up_requests_go_into_the_version_and_do_not_make_it_another_content(
    model, blessing, tmp_path
):
    serve = tmp_path / "serve"
    warmup = serve / "1" / "assets.extra" / "tf_serving_warmup_requests"
    infra = infra_bless(tmp_path / "infra", model, warmup=b"requests")

    def pushed(name, model=model, blessing=blessing, infra=None):
        place = tmp_path / f"pushed-{name}"
        return push(model, blessing, place, str(serve), infra_blessing=infra)["version"]

    assert pushed("first", infra=infra) == 1
    assert warmup.read_bytes() == b"requests"
    assert digest_path(serve / "1", leave_out={str(warmup.relative_to(serve / "1"))}) == (
        digest_path(model / "serving")
    )
    assert pushed("again", infra=infra) == 1
    assert pushed("without") == 1
    # Also when the record is gone, which may be deleted
    shutil.rmtree(serve / ".penstock" / "versions")
    assert pushed("unrecorded") == 1
    # What the author has put in is the model's own, and stays.
    own = write_model(tmp_path / "own", "two")
    (own / "serving" / "assets.extra").mkdir()
    (own / "serving" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"own")
    theirs = infra_bless(tmp_path / "infra-2", own, warmup=b"requests")
    assert pushed("own", own, bless(tmp_path / "b2", own), theirs) == 2
    assert digest_path(serve / "2") == digest_path(own / "serving")


def test_kserve_is_set_up_with_few_settings_that_are_checked(model, blessing, tmp_path):
    def refused(sentence, destination="memory://models/a", **settings):
        with pytest.raises(PenstockError) as raised:
            push(model, blessing, tmp_path / "pushed", destination, kserve=settings)
        assert sentence in str(raised.value)
        assert not (tmp_path / "pushed").exists()

    refused("kserve knows no 'nam'; use some of name, namespace, canary_traffic", nam="flights")
    refused("kserve needs a name for the InferenceService, and None cannot be one", runtime="x")
    refused("and 'Flights_1' cannot be one", name="Flights_1")
    refused("kserve's namespace 'a/b' cannot be one", name="a", namespace="a/b")
    for percent in (101, -1, 0.5, "10", True):
        refused(
            f"canary_traffic_percent is {percent!r}; give a whole number from 0 to 100",
            name="a",
            canary_traffic_percent=percent,
        )
    refused("give requests and limits", name="a", resources={"cpu": "1"})
    refused("{'team': 1}; give a dictionary of text to text", name="a", labels={"team": 1})
    refused("runtime is 3; give text", name="a", runtime=3)
    refused("KServe takes models from an object store", str(tmp_path / "serve"), name="a")
    # KServe's own servers read pickles and single files, without our preprocessing.
    (model / "serving" / "saved_model.pb").unlink()
    (model / "serving" / "signature.json").write_text(
        json.dumps({"format": 1, "kind": "xgboost", "inputs": {"x": "float32"}, "width": 1})
    )
    shutil.rmtree(tmp_path / "blessing")
    bless(tmp_path / "blessing", model)
    refused("cannot serve a model of kind 'xgboost' with its preprocessing", name="a")


PUSH = """
import sys
from penstock.components.pusher.executor import push
arguments = sys.argv[1:]
while arguments:
    job, arguments = arguments[:4], arguments[4:]
    push(*job)
"""


def push_elsewhere(arguments: list[object]) -> subprocess.Popen[bytes]:
    """Push in another process, one job for every four arguments."""
    return subprocess.Popen([sys.executable, "-c", PUSH, *map(str, arguments)])


def test_concurrent_pushes_lose_nothing_and_double_nothing(tmp_path):
    # Given six models, each pushed three times, at once from four processes
    jobs, digests = [], set()
    for number in range(6):
        model = write_model(tmp_path / f"model-{number}", str(number))
        blessing = bless(tmp_path / f"blessing-{number}", model)
        digests.add(digest_path(model / "serving"))
        for repeat in range(3):
            pushed = tmp_path / f"pushed-{number}-{repeat}"
            jobs.append([model, blessing, pushed, tmp_path / "serve"])
    order = np.random.default_rng(0).permutation(len(jobs))

    processes = [
        push_elsewhere([argument for place in order[start::4] for argument in jobs[place]])
        for start in range(4)
    ]

    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    names = visible(tmp_path / "serve")
    assert names == ["1", "2", "3", "4", "5", "6"]
    assert {digest_path(tmp_path / "serve" / name) for name in names} == digests
    for _, _, pushed, _ in jobs:
        written = json.loads((pushed / "pushed.json").read_text())
        assert digest_path(written["destination"]) == written["content_digest"]


def test_a_killed_push_leaves_no_version_and_the_next_one_succeeds(tmp_path):
    model = write_model(tmp_path / "model", "big", files=400, file_bytes=25_000)
    blessing = bless(tmp_path / "blessing", model)
    serve = tmp_path / "serve"
    process = push_elsewhere([model, blessing, tmp_path / "pushed", serve])
    while not list(serve.glob(".penstock/incoming/*/variables/*")):
        assert process.poll() is None, "the push ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert visible(serve) == []
    assert list(serve.glob(".penstock/incoming/*"))
    assert not (tmp_path / "pushed").exists()

    result = push(model, blessing, tmp_path / "pushed", str(serve))

    assert result["version"] == 1
    assert digest_path(serve / "1") == digest_path(model / "serving")
    assert list(serve.glob(".penstock/incoming*")) == []


FULL = """
import signal, sys
from penstock.components.pusher.executor import push
from penstock.errors import PenstockError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    push(*sys.argv[1:])
except PenstockError as error:
    sys.exit(str(error))
"""


def test_a_disk_that_takes_no_more_leaves_no_version(tmp_path):
    """A limit on file size stands for the full disk: a write fails half-way."""
    model = write_model(tmp_path / "model", "big", file_bytes=100_000)
    blessing = bless(tmp_path / "blessing", model)
    serve = tmp_path / "serve"
    command = [sys.executable, "-c", FULL, model, blessing, tmp_path / "pushed", serve]

    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )

    assert done.returncode == 1
    assert "could not be copied to" in done.stderr and "nothing was pushed" in done.stderr
    assert "Traceback" not in done.stderr
    assert visible(serve) == []
    assert list(serve.glob(".penstock/incoming*")) == []
