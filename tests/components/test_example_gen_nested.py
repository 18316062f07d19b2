"""Structs and lists of structs, from every source that has them to every reader."""

import datetime
import decimal
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tensorflow_data_validation as tfdv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_data_validation.statistics.stats_options import StatsOptions

from penstock.components.example_gen.executor import generate_examples
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data import json_source, record_sources
from penstock.data.examples import read_manifest, read_table
from penstock.data.frames import arrow_dataset, data_frame
from penstock.data.tf_dataset import tf_dataset
from penstock.errors import PenstockError

from .nested import as_lists

STOP = pa.struct([("at", pa.string()), ("minutes", pa.int64())])
TRIP = pa.struct(
    [
        ("distance", pa.float64()),
        ("paid", pa.bool_()),
        ("stops", pa.list_(STOP)),
        ("driver", pa.struct([("name", pa.string()), ("codes", pa.list_(pa.int64()))])),
    ]
)
SCHEMA = pa.schema([("id", pa.int64()), ("trip", TRIP), ("grid", pa.list_(pa.list_(pa.int64())))])


def trip(n):
    """A row with everything that nested data can lack, by its number."""
    stops = [{"at": f"s{k}", "minutes": None if k == 2 else k} for k in range(n % 4)]
    driver = None if n % 5 == 1 else {"name": f"d{n % 3}", "codes": [None, [], [n, 1]][n % 3]}
    inner = {"distance": n / 4, "paid": n % 2 == 0, "stops": stops, "driver": driver}
    inner["stops"] = None if n % 7 == 3 else stops
    return {
        "id": n,
        "trip": None if n % 6 == 5 else inner,
        "grid": None if n % 4 == 2 else [[n], [], [None, n]][: n % 4],
    }


TRIPS = [trip(n) for n in range(60)]


def table_of(rows, schema=SCHEMA):
    arrays = [pa.array([row[f.name] for row in rows], f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def generate(folder, pattern="x.*", **kwargs):
    generate_examples(folder / "out", pattern, folder, **kwargs)
    return folder / "out"


def rows_of(examples):
    found = [r for split in ("train", "eval") for r in read_table(examples, split).to_pylist()]
    return sorted(found, key=lambda row: row["id"])


def refusal(folder, pattern="x.*", **kwargs):
    with pytest.raises(PenstockError) as error:
        generate(folder, pattern, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nested")
    pq.write_table(table_of(TRIPS), folder / "x.parquet", row_group_size=17)
    return generate(folder)


def test_nested_rows_of_parquet_arrive_as_they_are(examples):
    assert rows_of(examples) == TRIPS
    assert read_manifest(examples).columns[1].type.startswith("struct<distance: double, paid: bool")


def test_large_and_encoded_types_within_structs_become_plain(tmp_path):
    words = pa.array(["a", "b", None]).dictionary_encode()
    large = pa.array([["x"], None, []], pa.large_list(pa.large_string()))
    pairs = pa.array([[1, 2], [0, 0], [3, 4]], pa.list_(pa.int32(), 2))
    cell = pa.StructArray.from_arrays([words, large, pairs], ["word", "large", "pair"])
    pq.write_table(pa.table({"id": [0, 1, 2], "cell": cell}), tmp_path / "x.parquet")
    assert [row["cell"] for row in rows_of(generate(tmp_path))] == [
        {"word": "a", "large": ["x"], "pair": [1, 2]},
        {"word": "b", "large": None, "pair": [0, 0]},
        {"word": None, "large": [], "pair": [3, 4]},
    ]


def test_nested_json_lines_may_leave_out_fields(tmp_path, monkeypatch):
    monkeypatch.setattr(json_source, "BLOCK_BYTES", 150)
    texts = []
    for row in TRIPS:
        row = json.loads(json.dumps(row))
        # What is null may as well not be written.
        for part in (row, row["trip"] or {}):
            for name in [name for name, value in part.items() if value is None]:
                del part[name]
        texts.append(json.dumps(row))
    (tmp_path / "x.jsonl").write_text("\n".join(texts))
    assert [without_nulls(row) for row in rows_of(generate(tmp_path))] == [
        without_nulls(row) for row in TRIPS
    ]


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def test_dates_within_objects_stay_text(tmp_path):
    rows = [{"id": 1, "trip": {"day": "2013-01-01", "at": ["2013-01-01 10:00:00"]}}]
    (tmp_path / "x.jsonl").write_text(json.dumps(rows[0]))
    assert rows_of(generate(tmp_path)) == rows


def test_faults_within_objects_are_named_by_their_path(tmp_path):
    def write(*rows):
        (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))

    write({"trip": {"n": [1, 2**64]}}, {"trip": {"n": [0.5]}})
    assert refusal(tmp_path).startswith(
        "x.jsonl, line 1, has 18446744073709551616 in column 'trip.n', a whole number beyond"
    )
    write({"trip": {"n": 1}}, {"trip": {"n": "x"}})
    assert refusal(tmp_path) == (
        "Column 'trip.n' of x.jsonl is number and string between lines 1 and 2; write it in one "
        "type throughout."
    )
    write({"trip": {}}, {"trip": {}})
    assert "with at least one field" in refusal(tmp_path)


def test_avro_records_are_structs_and_maps_are_refused(tmp_path, monkeypatch):
    fastavro = pytest.importorskip("fastavro")
    monkeypatch.setattr(record_sources, "BATCH_RECORDS", 3)
    money = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
    stop = {
        "name": "stop",
        "type": "record",
        "fields": [{"name": "at", "type": "string"}, {"name": "price", "type": ["null", money]}],
    }
    inner = {
        "name": "trip",
        "type": "record",
        "fields": [
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "stops", "type": {"type": "array", "items": stop}},
        ],
    }

    def write(fields, rows):
        schema = fastavro.parse_schema({"name": "row", "type": "record", "fields": fields})
        with (tmp_path / "x.avro").open("wb") as stream:
            fastavro.writer(stream, schema, rows)

    fields = [{"name": "id", "type": "long"}, {"name": "trip", "type": ["null", inner]}]
    rows = [
        {"id": n, "trip": {"day": datetime.date(2013, 1, 1 + n), "stops": [stop_of(n)][: n % 2]}}
        for n in range(8)
    ]
    write(fields, [*rows, {"id": 8, "trip": None}])
    for row in rows:
        for found in row["trip"]["stops"]:
            found["price"] = None if found["price"] is None else float(found["price"])
    assert rows_of(generate(tmp_path)) == [*rows, {"id": 8, "trip": None}]
    (tmp_path / "out").rename(tmp_path / "done")
    map_ = {"name": "m", "type": {"type": "map", "values": "long"}}
    fields[1]["type"][1] = {"name": "trip", "type": "record", "fields": [map_]}
    write(fields, [{"id": 1, "trip": {"m": {"a": 1}}}])
    assert refusal(tmp_path) == (
        "Column 'trip.m' of x.avro is an Avro map, which Examples do not hold; write a record, or "
        "an array of records of a key and a value."
    )


def stop_of(n):
    return {"at": f"s{n}", "price": None if n == 3 else decimal.Decimal(n) / 4}


@pytest.mark.parametrize("beam", [None, []])
def test_splits_and_digest_do_not_depend_on_files_or_the_order_of_fields(examples, tmp_path, beam):
    turned = pa.struct(
        [
            TRIP.field(3),
            pa.field("stops", pa.list_(pa.struct([STOP.field(1), STOP.field(0)]))),
            TRIP.field(1),
            TRIP.field(0),
        ]
    )
    schema = pa.schema([SCHEMA.field(2), pa.field("trip", turned), SCHEMA.field(0)])
    pq.write_table(table_of(TRIPS[40:] + TRIPS[:7], schema), tmp_path / "1.parquet")
    pq.write_table(table_of(TRIPS[7:40]), tmp_path / "2.parquet")
    other = generate(tmp_path, "*.parquet", beam_pipeline_args=beam)
    assert read_manifest(other).content_digest == read_manifest(examples).content_digest
    assert set(data_frame(other, "eval")["id"]) == set(data_frame(examples, "eval")["id"])


def test_files_whose_structs_differ_are_refused(tmp_path):
    for name, kind in ("a", "int64"), ("b", "int64"), ("b", "string"):
        cell = pa.struct([(name, pa.type_for_alias(kind))])
        pq.write_table(pa.table({"x": pa.nulls(2, cell)}), tmp_path / f"{name}-{kind}.parquet")
    assert refusal(tmp_path, "*-int64.parquet") == (
        "Column 'x' is struct<a: int64> in a-int64.parquet and struct<b: int64> in "
        "b-int64.parquet; write it in one type throughout, or declare it in a schema."
    )
    assert refusal(tmp_path, "b-*.parquet").startswith("Column 'x' is struct<b: int64> in b-int64")


def test_a_schema_declares_the_types_of_fields(tmp_path):
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(
        'feature { name: "x" type: STRUCT struct_domain { feature { name: "n" type: INT } } }'
    )
    given = [{"n": 1.0, "o": 0.5}, None, {"n": 2.0, "o": None}, {"n": None, "o": 1.0}]

    def write(rows):
        pq.write_table(pa.table({"id": range(len(rows)), "x": rows}), tmp_path / "x.parquet")

    write(given)
    out = generate(tmp_path, schema_path=tmp_path / "schema")
    assert read_manifest(out).columns[1].type == "struct<n: int64, o: double>"
    assert [row["x"] for row in rows_of(out)] == given
    (tmp_path / "out").rename(tmp_path / "done")
    write([*given, {"n": 0.5, "o": 1.0}])
    assert refusal(tmp_path, schema_path=tmp_path / "schema").startswith(
        "x.parquet, row 5, has 0.5 in column 'x.n', which is double, expected int64;"
    )


@pytest.mark.parametrize("beam", [None, []])
def test_a_filter_looks_into_structs(tmp_path, beam):
    pq.write_table(table_of(TRIPS), tmp_path / "x.parquet", row_group_size=10)
    where = 'trip.distance > 5 and trip.driver.name in ["d1"]'
    out = generate(tmp_path, filter=where, beam_pipeline_args=beam)
    wanted = [
        row
        for row in TRIPS
        if row["trip"] and row["trip"]["distance"] > 5
        if row["trip"]["driver"] and row["trip"]["driver"]["name"] == "d1"
    ]
    assert rows_of(out) == wanted
    assert read_manifest(out).accounts["filtered"] == len(TRIPS) - len(wanted)


def test_structs_are_no_times_and_name_no_splits(tmp_path):
    pq.write_table(pa.table({"x": [{"n": 1}]}), tmp_path / "x.parquet")
    assert refusal(tmp_path, leakage={"time": "x"}) == (
        "leakage's time names 'x', which is struct<n: int64>; give a column of dates, timestamps, "
        "numbers or text that sorts by time."
    )
    assert refusal(tmp_path, split_by={"column": "x"}) == (
        "split_by's column names 'x', which is struct<n: int64>; give a column whose values name "
        "the splits."
    )


def test_rows_that_are_equal_but_for_a_nested_value_may_part(tmp_path):
    rows = [{"id": 0, "x": {"n": [{"k": n}]}} for n in range(200)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    out = generate(tmp_path, splits={"train": 1, "eval": 1})
    assert 60 < read_manifest(out).rows("eval") < 140
    groups = {"split_columns": ["x"], "shuffle_seed": 3, "leakage": {"groups": ["x"]}}
    out = generate(tmp_path, splits={"train": 1, "eval": 1}, **groups)
    assert read_manifest(out).leakage == {"duplicate_rows": 0, "duplicate_groups": 0}


def tfdv_statistics(table):
    """TFDV's own statistics of the rows, through Python's objects."""
    arrays = [pa.array([as_lists(value) for value in column.to_pylist()]) for column in table]
    batch = pa.RecordBatch.from_arrays(arrays, names=table.column_names)
    return generate_statistics_in_memory(batch, StatsOptions())


def by_path(statistics):
    (dataset,) = statistics.datasets
    return {tuple(feature.path.step): feature for feature in dataset.features}


@pytest.fixture(scope="module")
def statistics(examples):
    generate_statistics(examples, examples.parent / "statistics")
    return examples.parent / "statistics"


@pytest.mark.parametrize("split", ["train", "eval"])
def test_statistics_of_paths_are_those_of_tfdv(examples, statistics, split):
    found = by_path(tfdv.load_stats_binary(f"{statistics}/Split-{split}/stats.binpb"))
    expected = by_path(tfdv_statistics(read_table(examples, split)))
    assert set(found) == set(expected)
    assert ("trip", "stops", "minutes") in found
    for path, feature in found.items():
        other = expected[path]
        for each in (feature, other):
            # Sketches: their own tests bound the error.
            each.ClearField("path")
            if each.HasField("num_stats"):
                each.num_stats.ClearField("histograms")
                each.num_stats.ClearField("median")
        np.testing.assert_allclose(feature.num_stats.std_dev, other.num_stats.std_dev)
        feature.num_stats.std_dev = other.num_stats.std_dev = 0
        assert feature == other, path


def test_the_share_that_lacks_a_field_is_among_the_structs_that_are_there(examples, statistics):
    table = pq.read_table(statistics / "statistics.parquet").to_pylist()
    missing = {r["feature"]: r["missing"] for r in table if r["split"] == "train"}
    rows = read_table(examples, "train").to_pylist()
    stops = [stop for row in rows if row["trip"] for stop in row["trip"]["stops"] or []]
    assert missing["trip"] == sum(row["trip"] is None for row in rows)
    assert missing["trip.stops.minutes"] == sum(stop["minutes"] is None for stop in stops) > 0
    page = (statistics / "statistics.html").read_text()
    (article,) = re.findall(r'<article data-name="trip.stops.minutes">.*?</article>', page, re.S)
    share = f"{100 * missing['trip.stops.minutes'] / len(stops):.1f}%"
    assert re.search(r"<th[^>]*>missing</th><td[^>]*>([^<]*)</td>", article)[1] == share


def test_tfdv_infers_and_validates_by_path(statistics, tmp_path):
    schema = tfdv.infer_schema(tfdv.load_stats_binary(f"{statistics}/Split-train/stats.binpb"))
    (found,) = [feature for feature in schema.feature if feature.name == "trip"]
    assert {f.name for f in found.struct_domain.feature} == {f.name for f in TRIP}
    rows = [{**row} for row in TRIPS if row["trip"]]
    for row in rows:
        row["trip"] = {**row["trip"], "driver": {"name": "nobody", "codes": [1]}}
    pq.write_table(table_of(rows), tmp_path / "x.parquet")
    generate_statistics(generate(tmp_path), tmp_path / "statistics")
    found = tfdv.load_stats_binary(f"{tmp_path}/statistics/Split-train/stats.binpb")
    anomalies = tfdv.validate_statistics(found, schema).anomaly_info
    assert [key for key in anomalies if "driver.name" in key], anomalies


def test_arrow_and_pandas_keep_structs_and_name_their_fields(examples):
    whole = read_table(examples, "train")
    assert arrow_dataset(examples, "train").to_table() == whole
    found = data_frame(examples, "train", ["id", "trip"])
    assert [row["distance"] if row else None for row in found["trip"]] == [
        row["distance"] if row else None for row in whole["trip"].to_pylist()
    ]
    names = ["trip.driver.name", "id", "trip.distance"]
    driver = pc.struct_field(whole["trip"].combine_chunks(), [3, 0]).to_pylist()
    assert read_table(examples, "train", names)["trip.driver.name"].to_pylist() == driver
    frame = data_frame(examples, "train", names)
    assert list(frame.columns) == names
    assert frame["trip.driver.name"].tolist() == driver
    with pytest.raises(PenstockError, match=r"There is no column 'trip.driver.age' in the"):
        read_table(examples, "train", ["trip.driver.age"])


def test_tensors_are_the_fields_asked_for_by_name(examples):
    columns = ["trip.distance", "trip.paid", "trip.driver.name"]
    (batch,) = tf_dataset(examples, "train", columns, 100).as_numpy_iterator()
    trips = [row["trip"] or {} for row in read_table(examples, "train").to_pylist()]
    expected = [trip.get("distance", np.nan) for trip in trips]
    np.testing.assert_array_equal(batch["trip.distance"], np.array(expected, np.float32))
    np.testing.assert_array_equal(batch["trip.paid"], [trip.get("paid", np.nan) for trip in trips])
    names = [((trip.get("driver") or {}).get("name") or "").encode() for trip in trips]
    assert batch["trip.driver.name"].tolist() == names
    with pytest.raises(PenstockError) as error:
        tf_dataset(examples, "train", ["trip"], 10)
    assert str(error.value).endswith(
        "which does not become one number or string per row; name its fields instead, such as "
        "'trip.distance'."
    )


cells = st.recursive(
    st.one_of(st.none(), st.integers(-3, 3)),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(st.sampled_from("ab"), below, min_size=1, max_size=2),
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=cells, copies=st.integers(1, 3))
def test_whatever_json_can_nest_arrives(value, copies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    rows = [{"id": n, "x": value} for n in range(copies)]
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    try:
        found = rows_of(generate(folder))
    except PenstockError as error:
        # One list whose items are of several kinds, which no column holds.
        assert "one type throughout" in str(error) or "cannot be read" in str(error)
        return
    assert [canonical(row["x"]) for row in found] == [canonical(value)] * copies


def canonical(value):
    """A value without what a column cannot tell: fields that are null or absent."""
    if isinstance(value, dict):
        parts = {name: canonical(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None}
    return [canonical(part) for part in value] if isinstance(value, list) else value
