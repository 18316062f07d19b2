import re

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from penstock.data import shards as shards_module
from penstock.data import tf_dataset as module
from penstock.data.examples import iter_shard
from penstock.data.tf_dataset import tf_dataset
from penstock.errors import PenstockError


@pytest.fixture
def thousand(write_examples, monkeypatch):
    """1,003 numbered rows in shards of 100."""
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 100)
    monkeypatch.setattr(shards_module, "ROW_GROUP_ROWS", 50)
    numbers = np.arange(1003)
    words = pa.array([f"row-{n}" for n in numbers])
    return write_examples(train=pa.table({"n": numbers, "word": words, "late": numbers % 2}))


def numbers_of(dataset):
    return [int(n) for features in dataset for n in features["n"].numpy()]


def test_missing_values_become_nan_and_empty_strings(write_examples, table):
    folder = write_examples(train=table)
    (batch,) = tf_dataset(folder, "train", ["number", "number.2", "word", "flag"], 10)
    np.testing.assert_array_equal(batch["number"], np.array([1, np.nan, 3, 4], np.float32))
    np.testing.assert_array_equal(batch["number.2"], np.array([0.5, 1.5, np.nan, 3.5], np.float32))
    np.testing.assert_array_equal(batch["flag"], np.array([1, 0, np.nan, 1], np.float32))
    assert batch["word"].numpy().tolist() == [b"x", b"", b"", "ä".encode()]
    assert {name: t.dtype for name, t in batch.items()} == {
        "number": tf.float32,
        "number.2": tf.float32,
        "word": tf.string,
        "flag": tf.float32,
    }


def test_the_label_is_the_second_element(thousand):
    dataset = tf_dataset(thousand, "train", ["n"], 100, label="late")
    for features, label in dataset:
        assert list(features) == ["n"]
        np.testing.assert_array_equal(label, features["n"] % 2)
    assert dataset.element_spec[1] == tf.TensorSpec([None], tf.float32)


def test_the_label_may_be_a_feature_too(thousand):
    features, label = next(iter(tf_dataset(thousand, "train", ["late"], 5, label="late")))
    np.testing.assert_array_equal(features["late"], label)


def test_without_a_seed_rows_keep_their_order(thousand):
    dataset = tf_dataset(thousand, "train", ["n", "word"], 64)
    assert numbers_of(dataset) == list(range(1003))
    assert [len(batch["n"]) for batch in dataset] == [64] * 15 + [43]
    assert dataset.cardinality().numpy() == 16


def test_drop_remainder_gives_full_batches_of_known_size(thousand):
    dataset = tf_dataset(thousand, "train", ["n"], 64, drop_remainder=True)
    assert [len(batch["n"]) for batch in dataset] == [64] * 15
    assert dataset.element_spec["n"].shape == [64]
    assert dataset.cardinality().numpy() == 15


@pytest.mark.parametrize("cells_in_memory", [10**9, 600, 1])
def test_a_shuffled_epoch_has_every_row_once_with_its_own_cells(
    thousand, monkeypatch, cells_in_memory
):
    monkeypatch.setattr(module, "IN_MEMORY_CELLS", cells_in_memory)
    rows = [
        (int(n), word.decode(), int(late))
        for features, labels in tf_dataset(
            thousand, "train", ["n", "word"], 64, label="late", shuffle_seed=1
        )
        for n, word, late in zip(
            features["n"].numpy(), features["word"].numpy(), labels.numpy(), strict=True
        )
    ]
    assert rows != sorted(rows)
    assert sorted(rows) == [(n, f"row-{n}", n % 2) for n in range(1003)]


@pytest.mark.parametrize("cells_in_memory", [10**9, 300])
def test_a_seed_fixes_the_order_and_every_epoch_has_another(thousand, monkeypatch, cells_in_memory):
    monkeypatch.setattr(module, "IN_MEMORY_CELLS", cells_in_memory)
    orders = [
        numbers_of(tf_dataset(thousand, "train", ["n"], 59, shuffle_seed=s, repeat=True).take(34))
        for s in (7, 7, 8)
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    first, second = orders[0][:1003], orders[0][1003:2006]
    assert sorted(first) == sorted(second) == list(range(1003))
    assert first != second


def test_a_shuffle_in_memory_reaches_across_the_split(thousand):
    order = np.array(numbers_of(tf_dataset(thousand, "train", ["n"], 64, shuffle_seed=0)))
    # A row moves 1003 / 3 places on average in a uniform permutation.
    assert 280 < np.abs(order - np.arange(1003)).mean() < 390


def test_batches_fill_up_across_epochs_only_at_their_ends(thousand):
    dataset = tf_dataset(thousand, "train", ["n"], 500, repeat=True).take(4)
    assert [len(batch["n"]) for batch in dataset] == [500, 500, 3, 500]
    infinite = tf_dataset(thousand, "train", ["n"], 500, repeat=True)
    assert infinite.cardinality().numpy() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("cells_in_memory", [10**9, 300])
@pytest.mark.parametrize("workers", [1, 2, 7, 40])
def test_workers_share_the_rows_among_them_evenly(thousand, monkeypatch, cells_in_memory, workers):
    monkeypatch.setattr(module, "IN_MEMORY_CELLS", cells_in_memory)
    found = [
        numbers_of(
            tf_dataset(
                thousand, "train", ["n"], 16, shuffle_seed=3, num_shards=workers, index=index
            )
        )
        for index in range(workers)
    ]
    assert sorted(n for numbers in found for n in numbers) == list(range(1003))
    lengths = {len(numbers) for numbers in found}
    assert max(lengths) - min(lengths) <= 1


def test_a_worker_reads_only_the_files_that_it_needs(thousand, monkeypatch):
    read = []

    def noted(file, names):
        read.append(file.name)
        return iter_shard(file, names)

    monkeypatch.setattr(module, "iter_shard", noted)
    dataset = tf_dataset(thousand, "train", ["n"], 16, label="late", num_shards=5, index=1)
    rows = [int(n) for features, _ in dataset for n in features["n"].numpy()]
    assert rows == list(range(200, 401))
    assert read == ["part-00002.parquet", "part-00003.parquet", "part-00004.parquet"]


def test_more_workers_than_rows_leave_some_without(write_examples, table):
    folder = write_examples(train=table)
    counts = [
        len(list(tf_dataset(folder, "train", ["number"], 1, num_shards=6, index=index)))
        for index in range(6)
    ]
    assert sorted(counts) == [0, 0, 1, 1, 1, 1]


def test_an_empty_split_gives_no_batches(write_examples, table):
    folder = write_examples(train=table.slice(0, 0))
    assert list(tf_dataset(folder, "train", ["number", "word"], 10, shuffle_seed=1)) == []


def refusal(*args, **kwargs):
    with pytest.raises(PenstockError) as error:
        tf_dataset(*args, **kwargs)
    return str(error.value)


def test_what_cannot_be_batched_is_refused(write_examples, table, thousand, tmp_path):
    assert refusal(thousand, "train", ["n"], 0) == "The batch size is 0; it must be at least 1."
    assert refusal(thousand, "train", [], 1) == (
        "No columns were asked for; name at least one feature or the label."
    )
    assert refusal(thousand, "train", ["n"], 1, label="word") == (
        "The label 'word' is a string column; a label must be a number."
    )
    assert refusal(thousand, "train", ["n"], 2000, repeat=True, drop_remainder=True) == (
        "Split 'train' has 1003 rows, which make no batch of 2000, so repeating it would never "
        "end; give more rows or a smaller batch size."
    )
    for index, workers in ((2, 2), (-1, 2), (0, 0)):
        assert refusal(thousand, "train", ["n"], 1, num_shards=workers, index=index) == (
            f"There is no worker {index} of {workers}; the index counts from 0 to num_shards - 1, "
            "and num_shards is at least 1."
        )
    assert refusal(thousand, "train", ["x"], 1).startswith("There is no column 'x'")
    assert refusal(thousand, "test", ["n"], 1).startswith("There is no split 'test'")


def test_a_column_of_lists_is_refused(write_examples, table):
    folder = write_examples(train=table)
    # Arrow calls the list's field `item`, later versions read it from Parquet as `element`.
    assert re.fullmatch(
        r"Column 'many' has type list<\w+: int64>, which does not become one number or string per "
        r"row; leave it out or turn it into one before example_gen\.",
        refusal(folder, "train", ["many"], 1),
    )
