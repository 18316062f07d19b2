import itertools
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.components.example_gen.executor import generate_examples
from penstock.data import parquet_source
from penstock.data import shards as shards_module
from penstock.data.examples import read_manifest, read_table, shard_paths
from penstock.data.row_hash import row_hashes
from penstock.errors import PenstockError


@pytest.fixture
def trips():
    draw = np.random.default_rng(2)
    rows = 4000
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "fare": np.where(np.arange(rows) % 9 == 0, np.nan, draw.gamma(2, 5, rows).round(2)),
            "company": draw.choice(["Blue", "Red", None], rows),
            "my tip": draw.integers(0, 5, rows),
        }
    )


def write(folder, frame, row_group_size=500):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, folder / "x.parquet", row_group_size=row_group_size)


def generate(folder, frame, name="out", **kwargs):
    if frame is not None:
        write(folder, frame)
    generate_examples(folder / name, "x.parquet", folder, **kwargs)
    splits = read_manifest(folder / name).splits
    return pd.concat([read_table(folder / name, split).to_pandas() for split in splits])


def refusal(folder, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate_examples(folder / "out", "x.parquet", folder, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


# Filters, and the same as pandas would say it.
FILTERS = {
    "fare > 10": lambda f: f["fare"] > 10,
    "not fare > 10": lambda f: f["fare"] <= 10,
    "2 < fare <= 4.5": lambda f: (f["fare"] > 2) & (f["fare"] <= 4.5),
    "company == 'Red' or col('my tip') >= 3": lambda f: (
        (f["company"] == "Red") | (f["my tip"] >= 3)
    ),
    "company in ['Red', 'Green'] and fare - id * 2 < -1": lambda f: (
        (f["company"] == "Red") & (f["fare"] - f["id"] * 2 < -1)
    ),
    "is_null(company) and not is_null(fare)": lambda f: f["company"].isna() & f["fare"].notna(),
    "company != 'Red'": lambda f: f["company"] == "Blue",
    "col('my tip') not in [1, 2]": lambda f: ~f["my tip"].isin([1, 2]),
}


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_a_filter_keeps_the_rows_that_pandas_keeps(tmp_path, trips, text, name):
    write(tmp_path, trips)
    trips.to_csv(tmp_path / "x.csv", index=False)
    generate_examples(tmp_path / "out", name, tmp_path, splits={"all": 1}, filter=text)
    expected = trips["id"][FILTERS[text](trips).fillna(False)].tolist()
    assert 0 < len(expected) < 4000
    assert read_table(tmp_path / "out", "all")["id"].to_pylist() == expected
    manifest = read_manifest(tmp_path / "out")
    assert manifest.source["filter"] == text
    assert manifest.accounts == {
        "in": 4000,
        "out": len(expected),
        "quarantined": 0,
        "filtered": 4000 - len(expected),
    }


def test_row_groups_that_cannot_match_are_not_read(tmp_path, trips, monkeypatch):
    read = []
    original = parquet_source.parquet_batches

    def spy(*args):
        read.append(args[4])
        return original(*args)

    monkeypatch.setattr("penstock.data.parts.parquet_batches", spy)
    found = generate(tmp_path, trips, filter="id >= 1200 and id < 1600")
    assert read == [[2, 3]]
    assert sorted(found["id"]) == list(range(1200, 1600))
    assert read_manifest(tmp_path / "out").accounts["filtered"] == 3600


def test_columns_are_selected_and_their_content_alone_decides(tmp_path, trips):
    write(tmp_path, trips)
    options = {"columns": ["my tip", "company"], "filter": "fare > 5"}
    generate(tmp_path, None, split_columns=["id"], **options)
    assert [c.name for c in read_manifest(tmp_path / "out").columns] == ["my tip", "company"]
    assert read_manifest(tmp_path / "out").leakage["duplicate_rows"] > 0
    # Without split_columns, rows that are equal in what is kept stay together.
    generate(tmp_path, None, **options)
    parts = [
        set(map(tuple, read_table(tmp_path / "out", s).to_pandas().fillna("").values))
        for s in ("train", "eval")
    ]
    assert parts[0].isdisjoint(parts[1])
    assert read_manifest(tmp_path / "out").accounts["out"] == int((trips["fare"] > 5).sum())


def test_a_sample_is_the_same_rows_each_time_and_of_its_share(tmp_path, trips):
    once = set(generate(tmp_path, trips, sample_rate=0.3)["id"])
    assert abs(len(once) / 4000 - 0.3) < 5 * np.sqrt(0.21 / 4000)
    again = set(generate(tmp_path, trips[::-1], sample_rate=0.3)["id"])
    assert once == again
    assert once < set(generate(tmp_path, trips, sample_rate=0.6)["id"])
    splits = read_manifest(tmp_path / "out").splits
    share = sum(s.rows for s in splits["train"]) / sum(s.rows for p in splits.values() for s in p)
    assert abs(share - 2 / 3) < 0.05


def test_shuffling_is_by_the_seed_alone(tmp_path, trips):
    def order(frame, seed, name="out"):
        return generate(tmp_path, frame, name, splits={"all": 1}, shuffle_seed=seed)["id"].tolist()

    first = order(trips, 7)
    assert sorted(first) == list(range(4000)) != first
    assert order(trips.sample(frac=1, random_state=0), 7) == first
    assert order(trips, 8) != first
    moved = np.abs(np.argsort(first) - np.arange(4000)).mean()
    # A row moves 4000 / 3 places on average in a uniform permutation.
    assert 1200 < moved < 1470


def test_shuffling_reaches_across_shards(tmp_path, trips):
    options = {"splits": {"all": 1}, "shards": {"rows": 300}, "shuffle_seed": 1}
    found = generate(tmp_path, trips, **options)["id"].to_numpy()
    assert sorted(found) == list(range(4000))
    rows = [shard.rows for shard in read_manifest(tmp_path / "out").splits["all"]]
    assert rows == [300] * 13 + [100]
    assert 1200 < np.abs(np.argsort(found) - np.arange(4000)).mean() < 1470
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["Split-all", "manifest.json"]


def test_shards_have_the_rows_and_the_compression_asked_for(tmp_path, trips):
    options = {"splits": {"all": 1}, "shards": {"rows": 1500.0, "compression": "snappy"}}
    generate(tmp_path, trips, **options)
    files = [pq.ParquetFile(path) for path in shard_paths(tmp_path / "out", "all")]
    assert [file.metadata.num_rows for file in files] == [1500, 1500, 1000]
    assert files[0].metadata.row_group(0).column(0).compression == "SNAPPY"


@settings(deadline=None, max_examples=15)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=4),
    group=st.integers(1, 40),
    shard=st.integers(1, 70),
    seed=st.none() | st.integers(0, 3),
    beam=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_the_content_digest_depends_on_rows_alone(
    tmp_path_factory, cuts, group, shard, seed, beam, order
):
    folder = tmp_path_factory.mktemp("rows")
    rows = [(n % 23, "abc"[n % 3] if n % 5 else None) for n in range(60)]
    expected = digest_of(folder / "plain", [rows], 1000)
    order.shuffle(rows)
    edges = [0, *sorted(cuts), 60]
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)]
    args = [] if beam else None
    options = {"shards": {"rows": shard}, "shuffle_seed": seed, "beam_pipeline_args": args}
    assert digest_of(folder / "other", parts, group, **options) == expected


def digest_of(folder, parts, group, **kwargs):
    folder.mkdir()
    schema = pa.schema({"n": pa.int64(), "s": pa.string()})
    for number, part in enumerate(parts):
        table = pa.Table.from_pylist([{"n": n, "s": s} for n, s in part], schema=schema)
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=group)
    metadata = generate_examples(folder / "out", "*.parquet", folder, **kwargs)
    return metadata["content_digest"], metadata["rows"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"filter": "fare >"}, "'fare >' is no filter: it does not parse; write an expression"),
        ({"filter": "len(fare) > 1"}, "'len(fare) > 1' is no filter: it has 'len(fare)'; write"),
        ({"filter": "fare in company"}, "'fare in company' is no filter: 'company' is no list of"),
        ({"filter": "fare is 1"}, "'fare is 1' is no filter: it compares in another way than"),
        ({"filter": "far > 1"}, "The filter 'far > 1' names 'far', which is no column of the"),
        ({"filter": "company > 1"}, "The filter 'company > 1' does not fit the columns' types ("),
        ({"filter": "fare"}, "The filter 'fare' does not fit the columns' types ("),
        ({"columns": ["x"]}, "columns names 'x', which is no column of the data; there are id,"),
        ({"columns": []}, "columns is []; name each column to keep once, or leave it out."),
        ({"sample_rate": 0}, "sample_rate is 0; give a share above 0 and at most 1, such as 0.1."),
        ({"shards": {"size": 1}}, "shards has the unknown key 'size'; known are rows, compression"),
        ({"shards": {"rows": 0}}, "shards gives rows as 0; expected a whole number from 1 on."),
        ({"shards": {"compression": "xz"}}, "shards gives compression as 'xz'; expected zstd,"),
        ({"filter": "id < 0"}, "The filter and the sample leave none of 4,000 rows; widen them"),
    ],
)
def test_wrong_selections_are_refused(tmp_path, trips, parameters, sentence):
    write(tmp_path, trips)
    assert refusal(tmp_path, **parameters).startswith(sentence)


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path, trips, monkeypatch):
    write(tmp_path, trips)
    original = parquet_source.parquet_batches

    def meddle(*args):
        yield from original(*args)
        os.utime(tmp_path / "x.parquet", ns=(1, 1))

    monkeypatch.setattr("penstock.data.parts.parquet_batches", meddle)
    assert refusal(tmp_path).startswith("x.parquet changed while it was read; run example_gen")


def finalized(value):
    """SplitMix64's finalizer on Python's integers, from the paper."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


@pytest.mark.parametrize("seed", [0, 7, -1])
def test_the_order_is_that_of_the_keys_of_rows_and_seed(tmp_path, trips, seed):
    write(tmp_path, trips)
    options = {"splits": {"all": 1}, "shards": {"rows": 300}}
    generate_examples(tmp_path / "plain", "x.parquet", tmp_path, **options)
    batch = read_table(tmp_path / "plain", "all").combine_chunks().to_batches()[0]
    drawn = finalized((seed + 1) % 2**64)
    keys = {
        id_: finalized(int(row) ^ drawn)
        for id_, row in zip(batch["id"].to_pylist(), row_hashes(batch), strict=True)
    }
    generate_examples(tmp_path / "out", "x.parquet", tmp_path, shuffle_seed=seed, **options)
    assert read_table(tmp_path / "out", "all")["id"].to_pylist() == sorted(keys, key=keys.get)


def test_a_shuffle_holds_few_rows_at_once(tmp_path, trips, monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 400)
    sizes = []
    original = pq.ParquetFile.read

    def spy(self, *args, **kwargs):
        table = original(self, *args, **kwargs)
        sizes.append(len(table))
        return table

    monkeypatch.setattr(pq.ParquetFile, "read", spy)
    options = {"splits": {"all": 1}, "shards": {"rows": 400}, "shuffle_seed": 1}
    generate(tmp_path, trips, **options)
    assert len(sizes) == 10
    assert max(sizes) < 600
