"""Bulk inference that is killed goes on where it stopped."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.components.bulk_inferrer.executor import infer
from penstock.data.examples import read_table
from penstock.errors import PenstockError
from penstock.models.model import write_description

SHARDS = 4
OWN_KIND = """
import time
from pathlib import Path
from penstock.models.model import Model, read_description
from penstock.models.tensors import input_arrays

class Watched(Model):
    \"\"\"Doubles x, writes down whom it was asked about, and hangs where it is told to.\"\"\"

    def __init__(self, folder, signature):
        self.folder, self.signature = folder.parent.parent, signature

    @classmethod
    def load(cls, folder):
        return cls(folder, read_description(folder)[1])

    def predict(self, rows):
        x = input_arrays(rows, self.signature.inputs)["x"]
        hang = self.folder / "hang"
        if hang.exists() and float(hang.read_text()) == x[0]:
            time.sleep(600)
        with (self.folder / "asked").open("a") as asked:
            asked.write(f"{x[0]:g}\\n")
        return (2 * x)[:, None]
"""
RUN = """
import sys
from penstock.components.bulk_inferrer.executor import infer
folder = sys.argv[1]
infer(f"{folder}/examples", f"{folder}/model", f"{folder}/out", allow_unvalidated=True,
      checkpoint_dir=f"{folder}/checkpoints")
"""


@pytest.fixture
def folder(write_tables, tmp_path, monkeypatch):
    """Examples of four shards that begin with 0, 10, 20 and 30, and a model that watches."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "watched_models.py").write_text(OWN_KIND)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "model" / "serving").mkdir(parents=True)
    description = ("watched_models:Watched", {"x": "float32"}, 1)
    write_description(tmp_path / "model" / "serving", *description)
    table = pa.table({"x": np.arange(10.0 * SHARDS)})
    write_tables(tmp_path / "examples", {"eval": table}, shards=SHARDS)
    yield tmp_path
    sys.modules.pop("watched_models", None)


def asked(folder: Path) -> list[str]:
    """The first rows of the shards that the model was asked about."""
    return sorted((folder / "asked").read_text().split())


def predict(folder: Path, **options):
    options = {"checkpoint_dir": str(folder / "checkpoints"), **options}
    paths = (folder / "examples", folder / "model", folder / "out")
    return infer(*paths, allow_unvalidated=True, **options)


def doubled(folder: Path) -> bool:
    written = read_table(folder / "out", "eval")
    return written["predictions"].to_pylist() == [2.0 * x for x in range(10 * SHARDS)]


def test_a_killed_run_started_again_predicts_only_what_is_not_there(folder):
    (folder / "hang").write_text("20")
    path = os.pathsep.join([str(folder / "code"), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)], env={**os.environ, "PYTHONPATH": path}
    )
    limit = time.monotonic() + 120
    # Shards may be taken in any order; whatever is done before the third counts.
    while len(list(folder.glob("checkpoints/*/answers/*.json"))) < 1 and killed.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    finished = len(list(folder.glob("checkpoints/*/answers/*.json")))
    before = asked(folder)
    assert not (folder / "out").exists()

    (folder / "hang").unlink()
    result = predict(folder)

    assert 1 <= finished < SHARDS
    assert len(asked(folder)) - len(before) == SHARDS - finished
    assert doubled(folder)
    assert result["rows"] == {"eval": 10 * SHARDS}
    assert list((folder / "checkpoints").iterdir()) == []


def test_what_failed_is_tried_again_and_the_rest_is_not(folder):
    file = folder / "examples" / "Split-eval" / "part-00002.parquet"
    whole = file.read_bytes()
    file.write_bytes(b"PAR1")
    with pytest.raises(PenstockError, match=r"part-00002\.parquet cannot be read"):
        predict(folder)
    assert asked(folder) == ["0", "10", "30"]

    file.write_bytes(whole)
    predict(folder)
    assert asked(folder) == ["0", "10", "20", "30"]
    assert doubled(folder)


def test_finished_shards_of_other_predictions_do_not_count(folder):
    def fail_at_the_end(**options):
        file = folder / "examples" / "Split-eval" / "part-00003.parquet"
        whole = file.read_bytes()
        file.write_bytes(b"PAR1")
        with pytest.raises(PenstockError):
            predict(folder, **options)
        file.write_bytes(whole)

    fail_at_the_end()
    predict(folder, columns=[])
    assert asked(folder) == ["0", "0", "10", "10", "20", "20", "30"]
    assert read_table(folder / "out", "eval").column_names == ["predictions"]

    (folder / "model" / "serving" / "more").write_text("another model")
    predict(folder)
    assert asked(folder).count("0") == 3


def test_a_shard_that_was_cut_off_is_predicted_again(folder):
    file = folder / "examples" / "Split-eval" / "part-00003.parquet"
    whole = file.read_bytes()
    file.write_bytes(b"PAR1")
    with pytest.raises(PenstockError):
        predict(folder)
    file.write_bytes(whole)
    cut, *_ = folder.glob("checkpoints/*/Split-eval/part-00001-*.parquet")
    cut.write_bytes(cut.read_bytes()[:100])

    predict(folder)
    assert asked(folder) == ["0", "10", "10", "20", "30"]
    assert doubled(folder)


def test_two_at_once_are_told_apart(folder):
    file = folder / "examples" / "Split-eval" / "part-00003.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(PenstockError):
        predict(folder)
    (lock,) = folder.glob("checkpoints/*/lock")
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PenstockError, match=r"Another process writes the same predictions"):
            predict(folder)


def test_without_a_place_of_its_own_nothing_outlives_a_failure(folder):
    (folder / "examples" / "Split-eval" / "part-00003.parquet").write_bytes(b"PAR1")
    there = sorted(folder.iterdir())
    with pytest.raises(PenstockError):
        predict(folder, checkpoint_dir="")
    assert sorted(folder.iterdir()) == sorted([*there, folder / "asked"])


def test_a_place_that_cannot_be_written_to_is_one_sentence(folder):
    (folder / "file").write_text("")
    with pytest.raises(PenstockError, match=r"checkpoint_dir '.*file/x' cannot be written to"):
        predict(folder, checkpoint_dir=str(folder / "file" / "x"))
