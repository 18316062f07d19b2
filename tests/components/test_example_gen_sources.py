import bz2
import datetime
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy

from penstock.components.example_gen.executor import generate_examples
from penstock.data import json_source, record_sources
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError

ROWS = [
    {"id": 1, "fare": 2.5, "word": "Zürich", "flag": True},
    {"id": 2, "fare": None, "word": 'a "b"', "flag": False},
    {"id": 3, "fare": 4.0, "word": None, "flag": None},
]


def generate(folder, pattern, **kwargs):
    generate_examples(folder / "out", pattern, folder, splits={"all": 1}, **kwargs)
    return read_table(folder / "out", "all")


def refusal(folder, pattern, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate(folder, pattern, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


def quarantined(folder):
    rows = pq.read_table(folder / "out" / "quarantine").to_pylist()
    return [(r["line"], r["text"]) for r in rows]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("compress", ["gz", "bz2", "zst"])
def test_compressed_csv_and_json_lines_are_read(tmp_path, compress):
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "zst": pa_zstd}
    (tmp_path / f"a.jsonl.{compress}").write_bytes(packers[compress](lines(ROWS)))
    csv = pd.DataFrame(ROWS).to_csv(index=False).encode()
    (tmp_path / f"b.csv.{compress}").write_bytes(packers[compress](csv))
    assert generate(tmp_path, f"a.jsonl.{compress}").to_pylist() == ROWS
    assert generate(tmp_path, f"b.csv.{compress}").to_pylist() == ROWS


def pa_zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def test_json_lines_may_leave_out_columns_and_hold_lists(tmp_path, monkeypatch):
    monkeypatch.setattr(json_source, "BLOCK_BYTES", 40)
    (tmp_path / "x.jsonl").write_bytes(
        lines([{"a": 1, "day": "2013-01-01"}] * 9 + [{"a": 2.5, "l": [1, 2]}, {"l": []}])
    )
    table = generate(tmp_path, "x.jsonl")
    assert table.schema.names == ["a", "day", "l"]
    assert table["day"].to_pylist() == ["2013-01-01"] * 9 + [None] * 2
    assert table["a"].to_pylist() == [1.0] * 9 + [2.5, None]
    assert table["l"].to_pylist() == [None] * 9 + [[1, 2], []]


def test_malformed_json_goes_to_quarantine(tmp_path):
    content = b'{"a": 1}\n{"a": \n\n[1]\n{"a": 2, "b": "caf\xe9"}\n{"a": 3}\n'
    (tmp_path / "x.jsonl").write_bytes(content)
    assert refusal(tmp_path, "x.jsonl").startswith("3 of 5 rows cannot be read")
    table = generate(tmp_path, "x.jsonl", max_quarantined_share=0.6)
    assert table["a"].to_pylist() == [1, 3]
    assert quarantined(tmp_path) == [
        (2, b'{"a": '),
        (4, b"[1]"),
        (5, b'{"a": 2, "b": "caf\xe9"}'),
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.accounts == {"in": 5, "out": 2, "quarantined": 3, "filtered": 0}
    assert manifest.source["files"][0]["rows"] == 5
    assert manifest.source["files"][0]["bytes"] == len(content)


def test_faults_far_below_are_named_by_their_line_and_row(tmp_path, monkeypatch):
    monkeypatch.setattr(json_source, "BLOCK_BYTES", 40)
    (tmp_path / "x.jsonl").write_bytes(lines([{"a": 1}] * 50) + b"oops\n")
    assert "(x.jsonl, line 51: " in refusal(tmp_path, "x.jsonl")
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text('feature { name: "a" type: INT }')
    (tmp_path / "x.jsonl").write_bytes(lines([{"a": 1}] * 50 + [{"a": 1.5}]))
    assert refusal(tmp_path, "x.jsonl", schema_path=tmp_path / "schema").startswith(
        "x.jsonl, row 51, has 1.5 in column 'a', which is double, expected int64;"
    )


def test_json_that_changes_its_type_or_holds_huge_integers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.jsonl").write_bytes(lines([{"a": 1}, {"a": "x"}]))
    assert refusal(tmp_path, "x.jsonl") == (
        "Column 'a' of x.jsonl is number and string between lines 1 and 2; write it in one type "
        "throughout."
    )
    (tmp_path / "x.jsonl").write_bytes(lines([{"a": 1}, {"a": 2**64}]))
    assert refusal(tmp_path, "x.jsonl").startswith(
        "x.jsonl, line 2, has 18446744073709551616 in column 'a', a whole number beyond 64 bits"
    )
    monkeypatch.setattr(json_source, "BLOCK_BYTES", 5)
    (tmp_path / "x.jsonl").write_bytes(lines([{"a": 1}, {"a": "x"}]))
    assert refusal(tmp_path, "x.jsonl").startswith(
        "Column 'a' is int64 in x.jsonl and string in x.jsonl;"
    )


def examples_of(rows):
    import tensorflow as tf

    def feature(value):
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], (bytes, str)):
            data = [v.encode() if isinstance(v, str) else v for v in values]
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=data))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    for row in rows:
        features = {name: feature(value) for name, value in row.items() if value is not None}
        yield tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_tfrecord(file, records, compression=""):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(file), compression) as writer:
        for record in records:
            writer.write(record)


@pytest.mark.parametrize(
    ("name", "compression"),
    [("x.tfrecord", ""), ("x.tfrecord.gz", "GZIP"), ("x.tfrecords.zlib", "ZLIB")],
)
def test_tfrecords_of_examples_are_read(tmp_path, name, compression):
    rows = [{**row, "flag": None if row["flag"] is None else int(row["flag"])} for row in ROWS]
    write_tfrecord(tmp_path / name, examples_of(rows), compression)
    table = generate(tmp_path, name)
    found = {column: table[column].to_pylist() for column in table.column_names}
    assert found == {column: [row[column] for row in rows] for column in rows[0]}


def test_tfrecords_with_lists_and_bytes_keep_them(tmp_path, monkeypatch):
    monkeypatch.setattr(record_sources, "BATCH_RECORDS", 2)
    rows = [{"l": 1, "b": "x"}, {"l": 2, "b": "y"}, {"l": [3, 4], "b": b"\xff"}, {"b": "z"}]
    write_tfrecord(tmp_path / "x.tfrecord", examples_of(rows))
    table = generate(tmp_path, "x.tfrecord")
    assert table["l"].to_pylist() == [[1], [2], [3, 4], None]
    assert table["b"].to_pylist() == [b"x", b"y", b"\xff", b"z"]


def test_malformed_and_truncated_tfrecords(tmp_path):
    good = list(examples_of([{"a": 1}, {"a": 2}]))
    write_tfrecord(tmp_path / "x.tfrecord", [good[0], b"\xff\xff", good[1]])
    table = generate(tmp_path, "x.tfrecord", max_quarantined_share=0.5)
    assert table["a"].to_pylist() == [1, 2]
    assert quarantined(tmp_path) == [(2, b"\xff\xff")]
    (tmp_path / "y.tfrecord").write_bytes((tmp_path / "x.tfrecord").read_bytes()[:-3])
    (tmp_path / "out").rename(tmp_path / "done")
    assert refusal(tmp_path, "y.tfrecord").startswith("y.tfrecord is not readable as TFRecord (")


def test_avro_is_read(tmp_path, monkeypatch):
    fastavro = pytest.importorskip("fastavro")
    monkeypatch.setattr(record_sources, "BATCH_RECORDS", 2)
    fields = [
        {"name": "id", "type": "long"},
        {"name": "fare", "type": ["null", "double"]},
        {"name": "word", "type": ["null", "string"]},
        {"name": "flag", "type": ["null", "boolean"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "l", "type": {"type": "array", "items": "int"}},
    ]
    rows = [{**row, "day": datetime.date(2013, 1, row["id"]), "l": [row["id"]]} for row in ROWS]
    schema = fastavro.parse_schema({"name": "x", "type": "record", "fields": fields})
    with (tmp_path / "x.avro").open("wb") as stream:
        fastavro.writer(stream, schema, rows, codec="deflate")
    assert generate(tmp_path, "x.avro").to_pylist() == rows
    (tmp_path / "out").rename(tmp_path / "done")
    (tmp_path / "x.avro").write_bytes((tmp_path / "x.avro").read_bytes()[:-20])
    assert refusal(tmp_path, "x.avro").startswith("x.avro is not readable as Avro (")


def test_an_answer_to_a_query_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(record_sources, "BATCH_RECORDS", 2)
    url = f"sqlite:///{tmp_path}/x.db"
    frame = pd.DataFrame(ROWS)[["id", "fare", "word"]]
    engine = sqlalchemy.create_engine(url)
    frame.to_sql("trips", engine, index=False)
    engine.dispose()
    monkeypatch.setenv("FOLDER", str(tmp_path))
    query = "SELECT * FROM trips WHERE id > 1 ORDER BY id"
    out = tmp_path / "out"
    generate_examples(out, "sqlite:///$FOLDER/x.db", query=query, splits={"all": 1})
    expected = [{k: row[k] for k in ("id", "fare", "word")} for row in ROWS[1:]]
    assert read_table(out, "all").to_pylist() == expected
    assert read_manifest(out).source == {
        "pattern": "sqlite:///$FOLDER/x.db",
        "query": query,
        "files": [
            {
                "path": "sqlite:///$FOLDER/x.db",
                "span": None,
                "version": None,
                "format": "sql",
                "rows": 2,
                "bytes": None,
            }
        ],
    }


def test_a_wrong_query_is_refused_without_its_password(tmp_path):
    def sentence(pattern, query):
        with pytest.raises(PenstockError) as error:
            generate_examples(tmp_path / "out", pattern, query=query)
        return str(error.value)

    assert sentence("sqlite://", "SELECT x FROM y") == (
        "The query of sqlite:// failed (no such table: y); correct the query, the URL, or install "
        "the database's driver."
    )
    assert sentence("nosuch://me:secret@host/x", "SELECT 1").startswith(
        "The query of nosuch://me:***@host/x failed ("
    )
    assert "secret" not in sentence("nosuch://me:secret@host/x", "SELECT 1")
    assert sentence("x.db", "SELECT 1").startswith("The pattern 'x.db' is no database's URL")
    assert sentence("sqlite://", "SELECT 1 AS a, 2 AS a") == (
        "The query of sqlite:// gives two columns one name; name them apart with AS."
    )
    assert sentence("sqlite://", "SELECT 1 AS a WHERE 1 = 0").startswith("There is not one row in")


@pytest.fixture(scope="module")
def bucket():
    """A bucket in a real S3 server on loopback, by boto3."""
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="trips")
        yield client
    server.stop()


def test_files_in_s3_are_read_by_span(tmp_path, bucket):
    pytest.importorskip("s3fs")
    rows = {1: "a,b\n1,x\n", 2: "a,b\n2,y\n", 10: "a,b\n3,z\n4,\n"}
    for span, content in rows.items():
        body = gzip.compress(content.encode())
        bucket.put_object(Bucket="trips", Key=f"span-{span}/x.csv.gz", Body=body)
    pattern = "s3://trips/span-{SPAN}/*.csv.gz"
    out = tmp_path / "out"
    generate_examples(out, pattern, splits={"all": 1}, window={"last": 2})
    assert read_table(out, "all").to_pydict() == {"a": [2, 3, 4], "b": ["y", "z", None]}
    manifest = read_manifest(out)
    assert manifest.spans == (2, 10)
    assert [f["path"] for f in manifest.source["files"]] == [
        "s3://trips/span-2/x.csv.gz",
        "s3://trips/span-10/x.csv.gz",
    ]
    assert not (out / "sources").exists()


def test_faults_of_remote_files_name_their_urls(tmp_path, bucket):
    pytest.importorskip("s3fs")
    bucket.put_object(Bucket="trips", Key="bad.csv", Body=b"a,b\n1\n")
    with pytest.raises(PenstockError, match=r"\(s3://trips/bad\.csv, line 2: 1 field, expected 2"):
        generate_examples(tmp_path / "out", "s3://trips/bad.csv")
    with pytest.raises(PenstockError, match="No file matches the pattern 's3://trips/none"):
        generate_examples(tmp_path / "out", "s3://trips/none-*.csv")
    with pytest.raises(PenstockError, match="nosuch://x cannot be reached"):
        generate_examples(tmp_path / "out", "nosuch://x")


def test_files_in_memory_stand_for_any_protocol_of_fsspec(tmp_path):
    import fsspec

    for name in ("one", "two"):
        with fsspec.open(f"memory://data/{name}.parquet", "wb") as stream:
            pq.write_table(pa.table({"a": np.arange(3)}), stream)
    patterns = {"train": "memory://data/one.parquet", "eval": "memory://data/tw?.parquet"}
    metadata = generate_examples(tmp_path / "out", "", patterns=patterns)
    assert metadata["rows"] == {"eval": 3, "train": 3}
