"""Data at the edges through statistics_gen."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data.examples import (
    Column,
    Manifest,
    Shard,
    shard_paths,
    split_folder,
    write_manifest,
)
from penstock.data.list_arrays import list_array
from penstock.data.statistics import read_statistics
from penstock.errors import PenstockError

from .nested import as_lists


@pytest.fixture
def examples_of(tmp_path):
    """Writes a table as the split `train` of examples, in some shards, and returns their folder."""

    def write(table, shards=2):
        folder = tmp_path / "examples"
        place = folder / split_folder("train")
        place.mkdir(parents=True)
        listed = []
        cuts = [len(table) * n // shards for n in range(shards + 1)]
        for number, (start, end) in enumerate(itertools.pairwise(cuts)):
            file = place / f"part-{number:05d}.parquet"
            pq.write_table(table.slice(start, end - start), file)
            listed.append(Shard(file.name, end - start, file.stat().st_size))
        columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
        write_manifest(
            folder, Manifest(columns, "sha256:0", "sha256:1", (), {}, {"train": tuple(listed)})
        )
        return folder

    return write


def features_of(path):
    (dataset,) = read_statistics(path, "train").datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


def test_nan_and_infinities_are_counted_and_told(examples_of, tmp_path):
    draw = np.random.default_rng(0)
    clean = draw.normal(0, 1, 1000)
    holes, edges = clean.copy(), clean.copy()
    holes[::5] = np.nan
    edges[0], edges[1] = np.inf, -np.inf
    folder = examples_of(pa.table({"holes": holes, "edges": edges, "nan": np.full(1000, np.nan)}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generate_statistics(folder, tmp_path / "out")
    found = features_of(tmp_path / "out")
    stats = found["holes"].num_stats
    np.testing.assert_allclose(stats.mean, np.nanmean(holes))
    assert (stats.min, stats.max) == (np.nanmin(holes), np.nanmax(holes))
    assert {histogram.num_nan for histogram in stats.histograms} == {200}
    assert stats.common_stats.num_missing == 0
    stats = found["edges"].num_stats
    assert (stats.min, stats.max) == (-np.inf, np.inf)
    assert found["nan"].num_stats.histograms[0].num_nan == 1000
    page = (tmp_path / "out" / "statistics.html").read_text()
    for note in ("NaN values", "infinite values"):
        assert f'class="note">{note}<' in page


def test_columns_without_values_are_missing_whatever_their_type(examples_of, tmp_path):
    types = {
        "null": pa.null(),
        "int": pa.int64(),
        "float": pa.float32(),
        "word": pa.string(),
        "flag": pa.bool_(),
        "many": pa.list_(pa.string()),
    }
    table = pa.table({name: pa.array([None] * 10, kind) for name, kind in types.items()})
    generate_statistics(examples_of(table), tmp_path / "out")
    for feature in features_of(tmp_path / "out").values():
        stats = getattr(feature, feature.WhichOneof("stats"))
        assert stats.common_stats.num_missing == 10
    frame = pd.read_parquet(tmp_path / "out" / "statistics.parquet")
    assert frame["missing"].tolist() == [10] * 6
    assert frame["mean"].isna().all()


def test_five_thousand_columns_are_counted_and_their_page_stays_small(examples_of, tmp_path):
    numbers = {f"number_{n}": np.arange(20) / 2 + n for n in range(250)}
    words = {f"word_{n}": [f"w{n % 3}", None] * 10 for n in range(4750)}
    table = pa.table(numbers | words)
    metadata = generate_statistics(examples_of(table, shards=1), tmp_path / "out")
    assert metadata["summary"] == "5000 columns over the rows of train 20"
    found = features_of(tmp_path / "out")
    assert list(found) == table.column_names
    assert found["number_249"].num_stats.max == 9.5 + 249
    assert found["word_4749"].string_stats.common_stats.num_missing == 10
    assert (tmp_path / "out" / "statistics.html").stat().st_size < 6_000_000


def test_strings_that_are_no_text_are_counted(examples_of, tmp_path):
    table = pa.table({"bytes": pa.array([b"\xff\xfe", b"\xff\xfe", b"x", None], pa.binary())})
    generate_statistics(examples_of(table), tmp_path / "out")
    (feature,) = features_of(tmp_path / "out").values()
    assert feature.string_stats.unique == 2
    assert [top.frequency for top in feature.string_stats.top_values] == [2, 1]


NESTED = pa.struct(
    [
        ("flag", pa.bool_()),
        ("words", pa.list_(pa.string())),
        ("inner", pa.struct([("n", pa.int64())])),
    ]
)
ROWS = [
    {"flag": True, "words": ["a", None], "inner": {"n": 1}},
    None,
    {"flag": None, "words": [], "inner": None},
    {"flag": False, "words": None, "inner": {"n": None}},
    {"flag": True, "words": ["ä"], "inner": {"n": 5}},
]


@pytest.mark.parametrize("start", [0, 1, 3])
def test_nested_cells_keep_their_values_and_what_is_missing(start):
    for kind, rows in (
        (NESTED, ROWS),
        (pa.list_(NESTED), [[ROWS[0], None], [], None, ROWS[2:], [ROWS[0]]]),
        (pa.list_(pa.list_(pa.bool_())), [[[True], []], [], None, [None], [[False, True]]]),
    ):
        column = pa.array(rows, kind).slice(start)
        assert list_array(column).to_pylist() == [as_lists(row) for row in rows[start:]]
        list_array(column).validate(full=True)


def test_fields_of_structs_are_features(examples_of, tmp_path):
    generate_statistics(examples_of(pa.table({"x": pa.array(ROWS, NESTED)})), tmp_path / "out")
    (dataset,) = read_statistics(tmp_path / "out", "train").datasets
    found = {".".join(feature.path.step): feature for feature in dataset.features}
    assert found["x"].struct_stats.common_stats.num_missing == 1
    assert found["x.flag"].num_stats.common_stats.num_non_missing == 3
    assert found["x.inner.n"].num_stats.max == 5
    assert found["x.words"].string_stats.unique == 2
    frame = pd.read_parquet(tmp_path / "out" / "statistics.parquet")
    assert set(frame["feature"]) == set(found)
    assert "x.inner.n" in (tmp_path / "out" / "statistics.html").read_text()


def test_a_type_without_statistics_is_refused_unless_it_is_left_out(examples_of, tmp_path):
    pairs = pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64()))
    folder = examples_of(pa.table({"pairs": pairs, "n": [1, 2]}), shards=1)
    sentence = refusal(folder, tmp_path / "out")
    assert sentence.startswith("Column 'pairs' has type map<")
    assert "for which TFDV has no statistics; leave it out by exclude_columns, or" in sentence
    generate_statistics(folder, tmp_path / "out", exclude_columns=["pairs"])
    assert list(features_of(tmp_path / "out")) == ["n"]


def refusal(*args, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate_statistics(*args, **kwargs)
    return str(error.value)


def test_examples_without_columns_are_refused(tmp_path):
    (tmp_path / "examples").mkdir()
    manifest = Manifest((), "sha256:0", "sha256:1", (), {}, {"train": ()})
    write_manifest(tmp_path / "examples", manifest)
    assert refusal(tmp_path / "examples", tmp_path / "out") == (
        "The examples have no columns, so there is nothing to count; run example_gen on a source "
        "with columns."
    )


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_shard_is_named(examples_of, tmp_path, keep):
    folder = examples_of(pa.table({"a": list(range(1000))}))
    shard = shard_paths(folder, "train")[1]
    content = shard.read_bytes()
    shard.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    sentence = refusal(folder, tmp_path / "out")
    assert sentence.startswith(f"The shard {shard} cannot be read as Parquet (")
    assert "run example_gen again." in sentence
    assert not (tmp_path / "out").exists()
