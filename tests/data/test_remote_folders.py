import json

import fsspec
import pytest

from penstock.data.digest import digest_path
from penstock.data.remote_folders import (
    delete_remote,
    download,
    fingerprint,
    list_remote,
    read_remote_json,
    upload,
    write_remote,
)
from penstock.errors import PenstockError

ODD = ("a.txt", "sub folder/b[1]*?.bin", "sub folder/é%20#.json", "empty")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "model"
    for number, name in enumerate(ODD):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"x" * number)
    return place


@pytest.fixture
def s3_bucket(new_bucket):
    boto3 = pytest.importorskip("boto3")
    return boto3.resource("s3").Bucket(new_bucket().removeprefix("s3://"))


@pytest.fixture
def url(s3_bucket):
    return f"s3://{s3_bucket.name}/some/model"


def keys(bucket):
    return {found.key for found in bucket.objects.all()}


@pytest.fixture(autouse=True)
def fresh_filesystems():
    """fsspec keeps a file system, with its credentials, for the life of the process."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_folder_comes_back_as_it_went(folder, url, s3_bucket, tmp_path):
    upload(folder, url)

    assert keys(s3_bucket) == {f"some/model/{name}" for name in ODD}
    assert {name: file.size for name, file in list_remote(url).items()} == dict(
        zip(ODD, range(4), strict=True)
    )
    download(url, tmp_path / "copy")
    assert digest_path(tmp_path / "copy") == digest_path(folder)


def test_a_file_comes_back_as_it_went(folder, url, tmp_path):
    upload(folder / "a.txt", url)
    assert list(list_remote(url)) == [""]
    download(url, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (folder / "a.txt").read_bytes()


def test_what_lay_there_before_is_replaced(folder, url, tmp_path):
    upload(folder, url)
    (folder / "a.txt").unlink()
    upload(folder, url)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "old").touch()
    download(url, tmp_path / "copy")
    assert digest_path(tmp_path / "copy") == digest_path(folder)


def test_neighbours_of_like_name_are_left_alone(folder, url, s3_bucket):
    upload(folder, url)
    upload(folder, f"{url}-2")
    write_remote(f"{url}.json", b"{}")
    delete_remote(url)
    assert keys(s3_bucket) == {f"some/model-2/{name}" for name in ODD} | {"some/model.json"}
    assert list_remote(url) == {}
    delete_remote(url)


@pytest.mark.parametrize("last", ODD)
def test_the_last_file_appears_when_all_others_are_there(folder, url, last, monkeypatch):
    filesystem = fsspec.filesystem("s3")
    seen = {}
    put = type(filesystem).put_file

    def watched(self, source, target, **options):
        if target.endswith(last):
            seen.update(list_remote(url))
        return put(self, source, target, **options)

    monkeypatch.setattr(filesystem, "put_file", watched.__get__(filesystem))
    upload(folder, url, last=last)
    assert set(seen) == set(ODD) - {last}


def test_after_an_error_no_file_follows_and_the_last_is_not_there(folder, url, monkeypatch):
    filesystem = fsspec.filesystem("s3")
    put = filesystem.put_file

    def failing(source, target, **options):
        if target.endswith("empty"):
            raise PermissionError("Access Denied.")
        return put(source, target, **options)

    monkeypatch.setattr(filesystem, "put_file", failing)
    with pytest.raises(PenstockError, match=r"model cannot be written \(Access Denied\); check"):
        upload(folder, url, last="a.txt")
    assert "a.txt" not in list_remote(url)


def test_a_fingerprint_changes_with_the_content(folder, url):
    upload(folder, url)
    first = fingerprint(list_remote(url))
    upload(folder, url)
    assert fingerprint(list_remote(url)) == first
    (folder / "sub folder/é%20#.json").write_bytes(b"xy")
    upload(folder, url)
    assert fingerprint(list_remote(url)) not in (first, None)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../passwd", "a/../../../passwd"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name, url, s3_bucket, tmp_path):
    s3_bucket.put_object(Key=f"some/model/{name}", Body=b"x")
    with pytest.raises(PenstockError, match="would lie outside of a folder"):
        download(url, tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_is_said(url, folder, tmp_path):
    with pytest.raises(PenstockError, match=f"Nothing lies at {url}; check its name"):
        download(url, tmp_path / "copy")
    with pytest.raises(PenstockError, match=r"\(The specified bucket does not exist\)"):
        upload(folder, "s3://no-such-bucket/x")
    with pytest.raises(FileNotFoundError, match="nothing to upload"):
        upload(folder / "none", url)
    with pytest.raises(FileNotFoundError, match="nothing to upload"):
        upload(folder, url, last="none")
    assert list_remote(url) == {}
    assert list_remote("s3://no-such-bucket/x") == {}


def test_json_is_read_or_none(url):
    write_remote(f"{url}/a.json", json.dumps({"a": [1]}).encode())
    write_remote(f"{url}/b.json", b"{")
    assert read_remote_json(f"{url}/a.json") == {"a": [1]}
    assert read_remote_json(f"{url}/b.json") is None
    assert read_remote_json(f"{url}/c.json") is None
