import pytest

from penstock.data.digest import digest_bytes, digest_path
from penstock.data.output import new_folder


def test_a_folder_appears_whole_and_replaces_what_was_there(tmp_path):
    target = tmp_path / "deep" / "out"
    with new_folder(target) as folder:
        (folder / "one").write_text("1")
        assert not target.exists()
    with new_folder(target) as folder:
        (folder / "two").write_text("2")
    assert [file.name for file in target.iterdir()] == ["two"]
    assert [file.name for file in target.parent.iterdir()] == ["out"]


def test_a_failed_step_leaves_what_was_there_before(tmp_path):
    target = tmp_path / "out"
    with new_folder(target) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(RuntimeError, match="half way"), new_folder(target) as folder:
        (folder / "two").write_text("2")
        raise RuntimeError("half way")
    assert [file.name for file in target.iterdir()] == ["one"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_digest_follows_names_and_contents_alone(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_text("x")
    assert digest_path(one) == digest_path(two)
    (two / "sub" / "file").rename(two / "sub" / "other")
    assert digest_path(one) != digest_path(two)
    assert digest_path(one / "sub" / "file") == digest_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        digest_path(tmp_path / "nothing")
