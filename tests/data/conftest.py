import pyarrow as pa
import pytest

from penstock.data.examples import Column, Manifest, write_manifest
from penstock.data.shards import ShardWriter


@pytest.fixture
def write_examples(tmp_path):
    """Writes tables as the splits of examples and returns their folder."""

    def write(**splits):
        folder = tmp_path / "examples"
        folder.mkdir()
        shards = {}
        for split, table in splits.items():
            writer = ShardWriter(folder, split, table.schema)
            for batch in table.to_batches():
                writer.write(batch)
            shards[split] = writer.close()
        columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
        manifest = Manifest(columns, "sha256:0", "sha256:1", (1, 2), {"pattern": "x"}, shards)
        write_manifest(folder, manifest)
        return folder

    return write


@pytest.fixture
def table():
    return pa.table(
        {
            "number": pa.array([1, None, 3, 4], pa.int64()),
            "number.2": pa.array([0.5, 1.5, None, 3.5]),
            "word": pa.array(["x", None, "", "ä"]),
            "flag": pa.array([True, False, None, True]),
            "many": pa.array([[1, 2], [], None, [None]], pa.list_(pa.int64())),
        }
    )


@pytest.fixture
def folder(tmp_path):
    """Makes empty files by name."""

    def make(*names):
        for name in names:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path

    return make
