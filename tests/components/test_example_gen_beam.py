import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.components.example_gen import beam_conversion
from penstock.components.example_gen.executor import generate_examples
from penstock.data import parts
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError


@pytest.fixture
def sources(tmp_path):
    """Two CSV files with a malformed row each, and one Parquet file of six row groups."""
    draw = np.random.default_rng(3)
    frame = pd.DataFrame({"id": np.arange(3000), "customer": draw.integers(0, 200, 3000)})
    (tmp_path / "csv").mkdir()
    frame[:1000].to_csv(tmp_path / "csv" / "a.csv", index=False)
    frame[1000:].to_csv(tmp_path / "csv" / "b.csv", index=False)
    for name in ("a", "b"):
        with (tmp_path / "csv" / f"{name}.csv").open("a") as stream:
            stream.write("1,2,3\n")
    pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False),
        tmp_path / "x.parquet",
        row_group_size=500,
    )
    return tmp_path


OPTIONS = {
    "max_quarantined_share": 0.01,
    "leakage": {"groups": ["customer"]},
    "filter": "id != 17",
    "sample_rate": 0.9,
}


def both(folder, pattern, beam_pipeline_args=(), **kwargs):
    """The manifests and rows of the same call without and with Beam."""
    found = []
    for name, args in (("here", None), ("beam", list(beam_pipeline_args))):
        generate_examples(folder / name, pattern, folder, beam_pipeline_args=args, **kwargs)
        manifest = read_manifest(folder / name)
        rows = {s: read_table(folder / name, s).to_pandas() for s in manifest.splits}
        found.append((manifest, rows))
    return found


@pytest.mark.parametrize("pattern", ["csv/*.csv", "x.parquet"])
def test_beam_gives_the_same_rows_digest_and_accounts(sources, pattern, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 1000)
    (here, here_rows), (beam, beam_rows) = both(sources, pattern, **OPTIONS)
    assert beam.content_digest == here.content_digest
    assert beam.accounts == here.accounts
    assert beam.leakage == here.leakage
    assert beam.source == here.source
    for split in here_rows:
        pd.testing.assert_frame_equal(beam_rows[split], here_rows[split])
    names = [shard.file for shard in beam.splits["train"]]
    count = 2 if "csv" in pattern else 3
    assert names == [f"part-{number:05d}-00000.parquet" for number in range(count)]
    assert not (sources / "beam" / "records").exists()


def test_beam_puts_the_same_rows_in_quarantine(sources):
    both(sources, "csv/*.csv", max_quarantined_share=0.01)
    here, beam = (
        pq.read_table(sources / name / "quarantine").to_pylist() for name in ("here", "beam")
    )
    assert here == beam
    assert [row["line"] for row in beam] == [1002, 2002]


def test_several_processes_give_the_same(sources):
    args = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    (here, _), (beam, _) = both(sources, "x.parquet", args, split_by={"stratify": "customer"})
    assert beam.content_digest == here.content_digest


def test_a_split_without_rows_has_a_shard_that_tells_the_columns(sources):
    splits = {"train": 1e9, "eval": 1e-9}
    _, (beam, rows) = both(sources, "x.parquet", splits=splits)
    assert (beam.rows("eval"), list(rows["eval"])) == (0, ["id", "customer"])


def test_errors_on_beam_are_the_same_sentence(sources):
    def refusal(**kwargs):
        with pytest.raises(PenstockError) as error:
            generate_examples(sources / "out", "csv/*.csv", sources, **kwargs)
        assert not list(sources.glob("*out*"))
        return str(error.value)

    assert refusal(beam_pipeline_args=[]) == refusal()
    by_column = {"split_by": {"column": "id"}, "max_quarantined_share": 1.0}
    assert refusal(beam_pipeline_args=[], **by_column) == refusal(**by_column)
    assert refusal(beam_pipeline_args=["x"], max_quarantined_share=1).startswith(
        "beam_pipeline_args holds 'x'"
    )


def test_an_element_may_be_converted_twice(sources, monkeypatch):
    original = beam_conversion.convert_element

    def twice(element, **kwargs):
        original(element, **kwargs)
        original(element, **kwargs)

    monkeypatch.setattr(beam_conversion, "convert_element", twice)
    (here, _), (beam, _) = both(sources, "csv/*.csv", max_quarantined_share=0.01)
    assert json.dumps(beam.accounts) == json.dumps(here.accounts)
    assert beam.content_digest == here.content_digest
