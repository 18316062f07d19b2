import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock.data.digest import digest_path
from penstock.data.remote_folders import write_remote
from penstock.errors import PenstockError
from penstock.orchestration import copies as module
from penstock.orchestration.copies import Copies
from penstock.orchestration.pipeline_root import publish
from penstock.orchestration.values import Artifact, Values


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


@pytest.fixture
def copies(tmp_path):
    return Copies(tmp_path / "copies", 10_000)


def artifact(copies, url, size=100):
    write_remote(f"{url}/x", os.urandom(size))
    return Artifact("a", "system.Dataset", "0.0.1", url, digest=copies.digest(url))


def values(*artifacts):
    return Values(artifacts={"inputs": list(artifacts)})


def path_of(held):
    return Path(held.artifacts["inputs"][0].uri)


def homes(copies):
    return {place.name for place in copies.folder.iterdir()} - {"known"}


def test_a_copy_has_the_content_and_the_name(copies, bucket):
    given = artifact(copies, f"{bucket}/some/data")
    with copies.held(values(given)) as held:
        path = path_of(held)
        assert path.name == "data"
        assert digest_path(path) == given.digest


def test_a_copy_that_a_step_wrote_to_is_fetched_again(copies, bucket):
    given = artifact(copies, f"{bucket}/data")
    with copies.held(values(given)) as held:
        (path_of(held) / "x").write_text("spoilt")
        (path_of(held) / "y").touch()
    with copies.held(values(given)) as held:
        assert digest_path(path_of(held)) == given.digest


def test_an_empty_folder_and_an_empty_file_come_back(copies, bucket, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder", "file"):
        place, url = tmp_path / name, f"{bucket}/{name}"
        publish(place, url, digest_path(place))
        digest = copies.digest(url)
        assert digest == digest_path(place)
        given = Artifact("a", "system.Dataset", "0.0.1", url, digest=digest)
        with copies.held(values(given)) as held:
            assert path_of(held).is_dir() == place.is_dir()


def test_what_changed_in_the_bucket_is_not_handed_out(copies, bucket, tmp_path):
    given = artifact(copies, f"{bucket}/data")
    write_remote(f"{bucket}/data/x", b"other")
    fresh = Copies(tmp_path / "fresh", 10_000)
    with pytest.raises(PenstockError, match="data was altered since it was recorded"):
        fresh.held(values(given)).__enter__()


def test_copies_used_longest_ago_go_when_the_limit_is_passed(copies, bucket):
    given = [artifact(copies, f"{bucket}/data-{n}", 4_000) for n in range(2)]
    with copies.held(values(given[0])) as held:
        first = path_of(held)
    os.utime(first.parent, (2e9, 2e9))
    third = artifact(copies, f"{bucket}/data-2", 4_000)
    with copies.held(values(third)) as held:
        assert first.exists()
        assert path_of(held).exists()
    assert len(homes(copies)) == 2


def test_a_copy_in_use_stays_beyond_the_limit(bucket, tmp_path):
    copies = Copies(tmp_path / "copies", 0)
    given = [artifact(copies, f"{bucket}/data-{n}") for n in range(3)]
    with ExitStack() as stack:
        held = [stack.enter_context(copies.held(values(one))) for one in given]
        assert [digest_path(path_of(one)) for one in held] == [one.digest for one in given]
    with copies.held(values(given[0])):
        assert len(homes(copies)) == 1


def test_many_at_once_get_what_they_asked_for(bucket, tmp_path, monkeypatch):
    copies = Copies(tmp_path / "copies", 150)
    given = [artifact(copies, f"{bucket}/data-{n}") for n in range(3)]
    fetched = []
    fetch = module.download
    lock = threading.Lock()

    def counted(url, place):
        with lock:
            fetched.append(url)
        fetch(url, place)

    monkeypatch.setattr(module, "download", counted)

    def use(number):
        chosen = [given[number % 3], given[(number + 1) % 3]]
        with copies.held(values(*chosen)) as held:
            paths = [Path(a.uri) for a in held.artifacts["inputs"]]
            return [digest_path(path) for path in paths] == [one.digest for one in chosen]

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(use, range(18)))
    assert len(fetched) >= 1


def test_a_digest_that_nobody_recorded_takes_one_download(copies, bucket, monkeypatch):
    given = artifact(copies, f"{bucket}/data")
    monkeypatch.setattr(module, "download", None)
    assert copies.digest(given.uri) == given.digest
    assert copies.digest(f"{bucket}/none") is None
    assert copies.digest("bq://project.table") is None
