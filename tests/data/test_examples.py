import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.data import shards as shards_module
from penstock.data.examples import (
    Column,
    iter_batches,
    read_manifest,
    read_schema,
    read_table,
    shard_paths,
)
from penstock.errors import PenstockError


def test_what_was_written_is_read_back(write_examples, table):
    folder = write_examples(train=table, eval=table.slice(0, 1))
    assert read_table(folder, "train").equals(table)
    assert read_table(folder, "eval").equals(table.slice(0, 1))
    manifest = read_manifest(folder)
    assert (manifest.rows("train"), manifest.rows("eval")) == (4, 1)
    assert manifest.columns[2] == Column("word", "string")
    assert manifest.spans == (1, 2)


def test_null_empty_list_and_null_in_list_stay_different(write_examples, table):
    folder = write_examples(train=table)
    assert read_table(folder, "train", ["many"])["many"].to_pylist() == [[1, 2], [], None, [None]]


def test_columns_come_in_the_order_asked_for_and_no_others(write_examples, table):
    folder = write_examples(train=table)
    assert read_table(folder, "train", ["word", "number"]).schema.names == ["word", "number"]
    (batch,) = iter_batches(folder, "train", ["flag", "number.2"])
    assert batch.schema.names == ["flag", "number.2"]
    assert read_schema(folder, "train", ["flag"]) == pa.schema({"flag": pa.bool_()})


def test_an_empty_split_has_columns_and_no_rows(write_examples, table):
    folder = write_examples(train=table.slice(0, 0))
    assert read_table(folder, "train").equals(table.slice(0, 0))
    assert list(iter_batches(folder, "train")) == []
    assert read_manifest(folder).rows("train") == 0


def test_shards_are_bounded_and_do_not_depend_on_batch_sizes(write_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 200)
    monkeypatch.setattr(shards_module, "ROW_GROUP_ROWS", 100)
    numbers = pa.table({"n": np.arange(1050)})
    folder = write_examples(train=pa.Table.from_batches(numbers.to_batches(max_chunksize=7)))
    sizes = [shard.rows for shard in read_manifest(folder).splits["train"]]
    assert sizes == [200, 200, 200, 200, 200, 50]
    bytes_one_way = [path.read_bytes() for path in shard_paths(folder, "train")]
    folder.rename(tmp_path / "first")
    folder = write_examples(train=pa.Table.from_batches(numbers.to_batches(max_chunksize=333)))
    assert [path.read_bytes() for path in shard_paths(folder, "train")] == bytes_one_way
    assert read_table(folder, "train")["n"].to_pylist() == list(range(1050))
    assert pq.ParquetFile(shard_paths(folder, "train")[0]).num_row_groups == 2
    batches = list(iter_batches(folder, "train", batch_rows=64))
    assert max(batch.num_rows for batch in batches) == 64


def test_the_manifest_is_written_as_documented(write_examples, table):
    folder = write_examples(train=table.select(["number"]))
    content = json.loads((folder / "manifest.json").read_text())
    assert list(content) == [
        "format",
        "columns",
        "schema_digest",
        "content_digest",
        "spans",
        "source",
        "accounts",
        "leakage",
        "splits",
    ]
    file = folder / "Split-train" / "part-00000.parquet"
    shard = {"file": file.name, "rows": 4, "bytes": file.stat().st_size}
    assert content["splits"] == {"train": {"rows": 4, "shards": [shard]}}
    assert content["columns"] == [{"name": "number", "type": "int64"}]


def refusal(function, *args, **kwargs):
    with pytest.raises(PenstockError) as error:
        result = function(*args, **kwargs)
        list(result)
    return str(error.value)


def test_an_unknown_split_is_named_beside_the_known(write_examples, table):
    folder = write_examples(train=table, eval=table)
    assert refusal(shard_paths, folder, "test") == (
        "There is no split 'test' in the examples; they have 'train', 'eval'."
    )


def test_an_unknown_column_is_named_beside_the_known(write_examples, table):
    folder = write_examples(train=table.select(["word", "flag"]))
    assert refusal(iter_batches, folder, "train", ["wrod"]) == (
        f"There is no column 'wrod' in the examples at {folder}; they have 'word', 'flag'."
    )


def test_a_folder_without_examples_is_refused(tmp_path):
    assert refusal(read_manifest, tmp_path) == (
        f"There are no examples at {tmp_path}: manifest.json is missing; give the folder that "
        "example_gen wrote."
    )


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "columns": 3}']
)
def test_a_broken_manifest_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    assert refusal(read_manifest, tmp_path).startswith(
        f"{tmp_path}/manifest.json is not a manifest of examples ("
    )


def test_a_manifest_of_another_format_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    assert refusal(read_manifest, tmp_path) == (
        f"{tmp_path}/manifest.json has format 99, this version of Penstock reads 1; run "
        "example_gen again."
    )


def test_a_missing_or_truncated_shard_is_named(write_examples, table):
    folder = write_examples(train=table)
    (file,) = shard_paths(folder, "train")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert refusal(iter_batches, folder, "train").startswith(
        f"The shard {file} cannot be read as Parquet ("
    )
    file.unlink()
    assert refusal(iter_batches, folder, "train") == (
        f"The manifest of {folder} lists Split-train/part-00000.parquet, which is missing; run "
        "example_gen again."
    )
