"""A version in an object store is whole before it can be loaded, whoever dies or pushes at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from penstock.data.digest import digest_names, digest_path
from penstock.errors import PenstockError
from penstock.registry.object_store import ServingBucket, digest_of, files, open_bucket
from penstock.registry.serving_bucket import (
    claims,
    newest,
    publish,
    remove_old,
    serve_again,
    versions,
)
from penstock.registry.serving_folder import WARMUP

_ONE_AT_A_TIME = threading.Lock()


class Store(MemoryFileSystem):
    """An object store that dies after so many writes; whoever comes next finds what it had."""

    cachable = False

    def __init__(self):
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]
        self.writes_left = None

    def spend(self):
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise KeyboardInterrupt
            self.writes_left -= 1

    def pipe_file(self, path, value, mode="overwrite", **options):
        self.spend()
        with _ONE_AT_A_TIME:
            super().pipe_file(path, value, mode=mode, **options)

    def cp_file(self, one, two, **options):
        self.spend()
        super().cp_file(one, two, **options)

    def rm_file(self, path):
        self.spend()
        super()._rm(path)

    def open(self, path, mode="rb", **options):
        if "r" not in mode:
            self.spend()
        return super().open(path, mode, **options)


@pytest.fixture
def store():
    return ServingBucket("memory://models/flights", Store(), "/models/flights")


def saved(folder: Path, content: str) -> tuple[Path, str]:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(content)
    for part in range(2):
        (folder / "variables" / f"variables.data-{part}").write_bytes(os.urandom(100))
    return folder, digest_path(folder)


def held(bucket: ServingBucket, version: int) -> str:
    """The digest of what lies there, warm-up requests left out."""
    folder = f"{bucket.path}/{version}"
    names = [name for name in files(bucket, folder) if name != WARMUP]
    return digest_names({name: digest_of(bucket, f"{folder}/{name}") for name in names})


def loadable(bucket: ServingBucket) -> dict[int, str]:
    """What TensorFlow Serving can load: folders with a number, and saved_model.pb in them."""
    there = files(bucket, bucket.path)
    names = [name.split("/") for name in there]
    found = [int(n[0]) for n in names if n[0].isdigit() and n[1:] == ["saved_model.pb"]]
    return {version: held(bucket, version) for version in found}


def test_each_content_is_one_version_and_numbers_rise(store, tmp_path):
    one, two, three = (saved(tmp_path / name, name) for name in "abc")
    # Given a version of another tool
    store.filesystem.pipe_file("/models/flights/41/saved_model.pb", b"foreign")

    numbers = [publish(store, *content)[0].version for content in (one, two, one)]
    assert publish(store, *two)[1] is True
    assert remove_old(store, 1) == [42]
    numbers.append(publish(store, *three)[0].version)

    assert numbers == [42, 43, 42, 44]
    assert versions(store) == [41, 43, 44]
    assert {k: v for k, v in loadable(store).items() if k != 41} == {43: two[1], 44: three[1]}
    assert not files(store, f"{store.path}/.penstock/incoming")


def test_whenever_a_push_dies_no_half_version_is_loadable_and_the_next_push_completes_it(tmp_path):
    content, other = saved(tmp_path / "a", "a"), saved(tmp_path / "b", "b")
    warmup = tmp_path / "warmup"
    warmup.write_bytes(b"requests")
    for writes in range(100):
        store = ServingBucket("memory://models/flights", Store(), "/models/flights")
        publish(store, *other)
        store.filesystem.writes_left = writes
        try:
            publish(store, *content, warmup=warmup)
        except KeyboardInterrupt:
            pass
        else:
            break
        # Given whatever it left
        store.filesystem.writes_left = None
        assert set(loadable(store).values()) <= {content[1], other[1]}
        assert newest(store).content_digest == loadable(store)[max(loadable(store))]
        claimed = [claim.version for claim in claims(store)]
        # when the same is pushed again, it is the version that was claimed, and whole
        assert publish(store, *content, warmup=warmup)[0].version == 2
        assert loadable(store) == {1: other[1], 2: content[1]}
        assert claimed in ([1], [1, 2])
    else:
        pytest.fail("the push never ended")
    assert writes > 10


def test_other_content_does_not_wait_for_one_that_died(store, tmp_path):
    content, other = saved(tmp_path / "a", "a"), saved(tmp_path / "b", "b")
    # 4 uploads, the claim and its proof, one copy of three
    store.filesystem.writes_left = 6
    with pytest.raises(KeyboardInterrupt):
        publish(store, *content)
    store.filesystem.writes_left = None
    assert [claim.version for claim in claims(store)] == [1]
    assert versions(store) == []

    assert publish(store, *other)[0].version == 2

    assert newest(store).version == 2
    assert loadable(store) == {2: other[1]}


def test_pushes_at_once_give_each_content_one_version(store, tmp_path):
    contents = [saved(tmp_path / str(n), str(n)) for n in range(5)]

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda content: publish(store, *content), contents * 3))

    assert sorted(loadable(store)) == [1, 2, 3, 4, 5]
    assert set(loadable(store).values()) == {digest for _, digest in contents}
    assert {claim.version: claim.content_digest for claim, _ in done} == loadable(store)


@pytest.mark.parametrize("rivals", [("b",), ("b", "a"), ("a",)])
def test_who_finds_the_number_taken_looks_again(store, tmp_path, monkeypatch, rivals):
    contents = {name: saved(tmp_path / name, name) for name in "ab"}
    whole, waiting = Store.pipe_file, list(rivals)

    def slow(self, path, value, mode="overwrite", **options):
        # Between the look and the claim, others push.
        while waiting:
            publish(store, *contents[waiting.pop(0)])
        whole(self, path, value, mode=mode, **options)

    monkeypatch.setattr(Store, "pipe_file", slow)

    mine = publish(store, *contents["a"])[0]

    # Each is overtaken by the next while it waits.
    expected = dict.fromkeys(reversed(rivals)) | {"a": None}
    assert loadable(store) == {n: contents[name][1] for n, name in enumerate(expected, 1)}
    assert loadable(store)[mine.version] == contents["a"][1]


def test_going_back_copies_within_the_store_to_the_next_number(store, tmp_path):
    contents = [saved(tmp_path / name, name) for name in "ab"]
    for folder, digest in contents:
        publish(store, folder, digest)
    told = []

    claim = serve_again(store, contents[0][1], told.append)
    same = serve_again(store, contents[0][1], told.append)

    assert (claim.version, same.version) == (3, 3)
    assert told == ["memory://models/flights/3"] * 2
    assert loadable(store)[3] == contents[0][1]
    assert serve_again(store, "sha256:0", told.append) is None


def test_a_switch_that_is_refused_at_the_end_shows_nothing(store, tmp_path):
    contents = [saved(tmp_path / name, name) for name in "ab"]
    for folder, digest in contents:
        publish(store, folder, digest)

    def refuse(where):
        raise PenstockError("no")

    with pytest.raises(PenstockError, match=r"^no$"):
        serve_again(store, contents[0][1], refuse)

    assert versions(store) == [1, 2]
    assert files(store, f"{store.path}/3") == {}
    assert publish(store, *saved(tmp_path / "c", "c"))[0].version == 4


def test_what_differs_on_arrival_is_no_version(store, tmp_path):
    folder, _ = saved(tmp_path / "a", "a")

    with pytest.raises(PenstockError, match="differs from the original"):
        publish(store, folder, "sha256:0")

    assert claims(store) == []
    assert files(store, store.path) == {}


def test_a_store_that_ignores_the_condition_is_refused(store, tmp_path, monkeypatch):
    whole = Store.pipe_file
    monkeypatch.setattr(
        Store, "pipe_file", lambda self, path, value, mode="": whole(self, path, value)
    )

    with pytest.raises(PenstockError, match="give a store that honours If-None-Match"):
        publish(store, *saved(tmp_path / "a", "a"))

    assert loadable(store) == {}


def test_what_is_needed_stays_beside_the_newest(store, tmp_path):
    contents = [saved(tmp_path / name, name) for name in "abcd"]
    for folder, digest in contents:
        publish(store, folder, digest)

    assert remove_old(store, 1, {contents[1][1]}) == [1, 3]

    assert loadable(store) == {2: contents[1][1], 4: contents[3][1]}


def test_a_version_for_kserve_is_a_folder_of_one_version(store, tmp_path):
    folder, digest = saved(tmp_path / "a", "a")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "signature.json").write_text("{}")

    publish(store, folder, digest)
    saved_model = publish(store, folder, digest, for_kserve=True)[0]
    other = publish(store, tmp_path / "x", digest_path(tmp_path / "x"), for_kserve=True)[0]

    assert "2/2/saved_model.pb" in files(store, store.path)
    assert (saved_model.folder, other.folder) == ("2/2", "3")


def test_s3_holds_a_model_as_it_was_with_its_warmup_requests(new_bucket, tmp_path):
    bucket = open_bucket(f"{new_bucket()}/flights/")
    folder, digest = saved(tmp_path / "a", "a")
    # More than one block, so that it is uploaded in parts
    (folder / "variables" / "large").write_bytes(os.urandom(20 << 20))
    digest = digest_path(folder)
    warmup = tmp_path / "warmup"
    warmup.write_bytes(b"requests")

    first = publish(bucket, folder, digest, warmup=warmup)
    again = publish(bucket, folder, digest)
    back = serve_again(bucket, digest, lambda where: None)

    assert (first[0].version, first[1], again[1], back.version) == (1, False, True, 1)
    assert held(bucket, 1) == digest
    assert bucket.filesystem.cat(f"{bucket.path}/1/{WARMUP}") == b"requests"
    assert [claim.version for claim in claims(bucket)] == [1]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://no-such-bucket/flights", "s3://no-such-bucket/flights cannot be written"),
        ("s3:///", "names no bucket"),
        ("file:///models", "give its path, without file://"),
        ("nosuch://models", "nosuch://models cannot be reached"),
    ],
)
def test_where_nothing_can_be_written_is_said(new_bucket, tmp_path, url, sentence):
    with pytest.raises(PenstockError, match=sentence):
        publish(open_bucket(url), *saved(tmp_path / "a", "a"))
