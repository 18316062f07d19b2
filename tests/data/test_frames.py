import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from penstock.data import shards as shards_module
from penstock.data.examples import read_table, shard_paths
from penstock.data.frames import arrow_dataset, data_frame
from penstock.errors import PenstockError


@pytest.fixture
def folder(write_examples, monkeypatch):
    """1,000 rows in ten shards, and an empty split."""
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 100)
    monkeypatch.setattr(shards_module, "ROW_GROUP_ROWS", 50)
    table = pa.table(
        {
            "n": pa.array([None if n % 10 == 3 else n for n in range(1000)], pa.int64()),
            "word": [f"word-{n % 7}" for n in range(1000)],
            "a.b": [n / 2 for n in range(1000)],
        }
    )
    return write_examples(train=table, eval=table.slice(0, 0))


def test_the_dataset_is_the_split_in_its_order(folder):
    assert arrow_dataset(folder, "train").to_table() == read_table(folder, "train")


def test_an_empty_split_keeps_its_columns(folder):
    dataset = arrow_dataset(folder, "eval")
    assert dataset.count_rows() == 0
    assert dataset.schema.names == ["n", "word", "a.b"]
    assert list(data_frame(folder, "eval").columns) == ["n", "word", "a.b"]


def test_a_frame_has_the_columns_and_rows_that_were_asked_for(folder):
    found = data_frame(folder, "train", ["word", "n"], where=ds.field("n") >= 990)
    whole = read_table(folder, "train").to_pandas()
    expected = whole[whole["n"] >= 990][["word", "n"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert list(found) == ["word", "n"]


def test_rows_are_counted_without_reading_their_values(folder):
    assert arrow_dataset(folder, "train").count_rows(filter=ds.field("n") < 100) == 90


def refusal(*args, **kwargs):
    with pytest.raises(PenstockError) as error:
        data_frame(*args, **kwargs)
    return str(error.value)


def test_what_is_not_there_is_said(folder):
    assert refusal(folder, "test") == (
        "There is no split 'test' in the examples; they have 'train', 'eval'."
    )
    assert refusal(folder, "train", ["x"]).startswith("There is no column 'x' in the examples")
    assert refusal(folder, "train", where=ds.field("x") > 1).startswith(
        f"Split 'train' of {folder} cannot be read ("
    )


def test_a_truncated_shard_is_said(folder):
    shard = shard_paths(folder, "train")[4]
    shard.write_bytes(shard.read_bytes()[:50])
    assert "cannot be read" in refusal(folder, "train")
    assert "run example_gen again" in refusal(folder, "train")
