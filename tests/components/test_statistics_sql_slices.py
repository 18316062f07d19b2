"""Slices by TFDV's slicing queries, against TFDV's own engine where its release has one."""

import collections

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.utils import slicing_util

from penstock.components.statistics_gen.counting import by_name
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data import shards as shards_module
from penstock.data.examples import Column, Manifest, read_table, shard_paths, write_manifest
from penstock.data.list_arrays import list_batch
from penstock.data.shards import ShardWriter
from penstock.data.sql_slices import SqlSlicer, slice_queries
from penstock.errors import PenstockError

ROWS = 400


@pytest.fixture(scope="module")
def table():
    draw = np.random.default_rng(4)
    words = [
        None if n % 11 == 0 else str(w) for n, w in enumerate(draw.choice(["UA", "A'A"], ROWS))
    ]
    return pa.table(
        {
            "carrier": words,
            "month": pa.array([None if n % 13 == 0 else n % 5 - 1 for n in range(ROWS)]),
            "fare": [n % 7 / 2 for n in range(ROWS)],
            "stops": [[f"s{k}" for k in range(n % 4)] for n in range(ROWS)],
            "air time": draw.integers(0, 9, ROWS),
            "trip": [{"n": n % 3} for n in range(ROWS)],
        }
    )


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sql") / "examples"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "SHARD_ROWS", 150)
        writer = ShardWriter(folder, "train", table.schema)
        for batch in table.to_batches():
            writer.write(batch)
        shards = {"train": writer.close()}
    columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
    write_manifest(folder, Manifest(columns, "sha256:0", "sha256:1", (), {}, shards))
    return folder


@pytest.fixture
def sizes(folder, table):
    """The slices of a query with their number of rows, over all shards."""

    def count(sql):
        found = collections.Counter()
        files = [str(file) for file in shard_paths(folder, "train")]
        slicer = SqlSlicer(slice_queries([sql], ["sql"]), table.schema)
        for file in files:
            slices = by_name(slicer.slices_of_shard(file))
            assert all((np.diff(rows) > 0).all() for rows in slices.values())
            found.update({key: len(rows) for key, rows in slices.items()})
        return found

    return count


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT STRUCT(carrier) FROM example.carrier",
        "select struct( carrier , m ) from example.carrier, example.month m where (m > 1)",
        "SELECT STRUCT(stops) FROM example.stops",
        "SELECT STRUCT(s AS stop, month) FROM example.stops AS s, example.month WHERE s != 's1';",
        "SELECT STRUCT(fare) FROM example.fare",
        "SELECT STRUCT(NULLIF(month, 1) AS month) FROM example.month",
        "SELECT STRUCT('late (or) so' AS k) FROM example.fare WHERE (fare > 1) AND fare < 3",
        "SELECT STRUCT(CONCAT(carrier, '-', stops) AS both) FROM example.carrier, example.stops",
    ],
)
def test_slices_are_those_of_tfdv(table, sizes, sql):
    sql_util = pytest.importorskip("tfx_bsl.arrow.sql_util", reason="no SQL in this tfx_bsl")
    assert sql_util.RecordBatchSQLSliceQuery
    theirs = slicing_util.GenerateSlicesSqlDoFn([sql.rstrip(";")])
    theirs.setup()
    batch = list_batch(table.drop(["air time", "trip"]).combine_chunks().to_batches()[0])
    # TFDV's engine takes bytes for no text.
    words = pa.large_list(pa.string())
    arrays = [c.cast(words) if "binary" in str(c.type) else c for c in batch.columns]
    batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
    expected = {key: rows.num_rows for key, rows in theirs.process(batch)}
    assert expected.pop("All Examples") == ROWS
    assert sizes(sql) == expected != {}


def test_values_may_be_used_without_taking_lists_apart(table, sizes):
    rows = table.to_pylist()
    assert sizes("SELECT STRUCT(month) WHERE example.fare >= 2 AND month IS NOT NULL") == (
        collections.Counter(
            f"month_{r['month']}" for r in rows if r["fare"] >= 2 and r["month"] is not None
        )
    )
    sql = "SELECT STRUCT(len(example.stops) AS stops, example.trip.n > 0 AS far)"
    assert sizes(sql) == collections.Counter(
        f"stops_{len(r['stops'])}_far_{str(r['trip']['n'] > 0).lower()}" for r in rows
    )
    sql = 'SELECT STRUCT("air time") FROM example."air time" WHERE "air time" < 2'
    assert sizes(sql) == collections.Counter(
        f"air time_{r['air time']}" for r in rows if r["air time"] < 2
    )


def test_slices_have_the_statistics_of_their_rows(folder, table, tmp_path):
    sqls = [
        "SELECT STRUCT(carrier) FROM example.carrier",
        "SELECT STRUCT('cheap' AS fare) WHERE example.fare < 1",
        "SELECT STRUCT('cheap' AS fare) WHERE example.carrier = 'UA'",
    ]
    metadata = generate_statistics(folder, tmp_path / "out", slice_sqls=sqls)
    assert metadata["summary"] == "6 columns over the rows of train 400; 3 slices"
    slices = tfdv.load_stats_binary(f"{tmp_path}/out/Split-train/slices.binpb").datasets
    frame = read_table(folder, "train").to_pandas()
    expected = {
        "carrier_UA": frame[frame["carrier"] == "UA"],
        "carrier_A'A": frame[frame["carrier"] == "A'A"],
        "fare_cheap": frame[(frame["fare"] < 1) | (frame["carrier"] == "UA")],
    }
    assert {dataset.name for dataset in slices} == set(expected)
    for dataset in slices:
        rows = expected[dataset.name]
        fare = {f.path.step[0]: f for f in dataset.features}["fare"].num_stats
        assert dataset.num_examples == len(rows)
        np.testing.assert_allclose([fare.mean, fare.max], [rows["fare"].mean(), rows["fare"].max()])


@pytest.mark.parametrize(
    ("sqls", "sentence"),
    [
        (["SELECT carrier"], "slice_sqls[0] is 'SELECT carrier'; write it as \"SELECT STRUCT("),
        (["SELECT STRUCT()"], "slice_sqls[0] is 'SELECT STRUCT()'; write it as"),
        (["SELECT STRUCT(month"], "slice_sqls[0] is 'SELECT STRUCT(month'; write it as"),
        (["SELECT STRUCT(month) FROM flights"], "slice_sqls[0] is 'SELECT STRUCT(month) FROM fl"),
        (
            ["SELECT STRUCT(x) FROM example.x"],
            "slice_sqls[0] 'SELECT STRUCT(x) FROM example.x' names the feature 'x', which is not "
            "among the columns; there are carrier, month, fare, stops, air time, trip.",
        ),
        (
            ["SELECT STRUCT(month)", "SELECT STRUCT(month + 1) FROM example.month"],
            'slice_sqls[1] selects ("month" + 1), which has no name for the slices; give it one by',
        ),
        (
            ["SELECT STRUCT(month) WHERE carrier + 1 > 'a' + 2"],
            "slice_sqls[0] \"SELECT STRUCT(month) WHERE carrier + 1 > 'a' + 2\" cannot be evaluated"
            " (Binder Error: ",
        ),
    ],
)
def test_a_wrong_query_is_refused_before_anything_is_counted(folder, tmp_path, sqls, sentence):
    with pytest.raises(PenstockError) as error:
        generate_statistics(folder, tmp_path / "out", slice_sqls=sqls)
    assert str(error.value).startswith(sentence)
    assert not list(tmp_path.iterdir())


def test_names_that_sql_does_not_tell_apart_are_refused(tmp_path):
    pq.write_table(pa.table({"A": [1], "a": [2]}), tmp_path / "[x]*.parquet")
    schema = pq.read_schema(tmp_path / "[x]*.parquet")
    shard = str(tmp_path / "[x]*.parquet")

    def slices(sql):
        return SqlSlicer(slice_queries([sql], ["sql"]), schema).slices_of_shard(shard)

    assert list(slices("SELECT STRUCT(A) FROM example.A")) == [(("A", "1"),)]
    with pytest.raises(PenstockError, match="names 'a', and another column has that name but for"):
        slices("SELECT STRUCT(a) FROM example.a")


def test_slices_are_given_in_one_way(folder, tmp_path):
    with pytest.raises(PenstockError, match="Both slices and slice_sqls are given; give one"):
        generate_statistics(
            folder,
            tmp_path / "out",
            slices=[{"carrier": []}],
            slice_sqls=["SELECT STRUCT(carrier) FROM example.carrier"],
        )
