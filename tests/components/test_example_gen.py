import gzip
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from penstock.components.example_gen import executor
from penstock.components.example_gen.component import example_gen
from penstock.components.example_gen.executor import generate_examples
from penstock.data import csv_source
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError


@pytest.fixture
def trips():
    """3,000 taxi-like rows with missing values, quotes and line breaks."""
    draw = np.random.default_rng(0)
    rows = 3000
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "fare": np.round(draw.gamma(2, 5, rows), 2),
            "company": draw.choice(["Blue", 'The "A", Inc.', "two\nlines", "Zürich"], rows),
            "tips": draw.integers(0, 9, rows),
        }
    )
    frame.loc[::7, "fare"] = np.nan
    frame.loc[::11, "company"] = None
    return frame


def rows_of(folder, split):
    return read_table(folder, split).to_pandas()


def all_rows(folder):
    splits = read_manifest(folder).splits
    return pd.concat([rows_of(folder, split) for split in splits]).sort_values("id")


def assert_same_rows(found, expected):
    pd.testing.assert_frame_equal(
        found.sort_values("id").reset_index(drop=True),
        expected.sort_values("id").reset_index(drop=True),
        check_dtype=False,
    )


def test_every_row_of_a_csv_arrives_in_one_split(trips, tmp_path):
    trips.to_csv(tmp_path / "trips.csv", index=False)
    metadata = generate_examples(tmp_path / "out", "trips.csv", tmp_path)
    assert_same_rows(all_rows(tmp_path / "out"), pd.read_csv(tmp_path / "trips.csv"))
    manifest = read_manifest(tmp_path / "out")
    train, evaluation = manifest.rows("train"), manifest.rows("eval")
    assert train + evaluation == 3000
    assert abs(train / 3000 - 2 / 3) < 0.05
    assert metadata["summary"] == f"3,000 rows from 1 file: train {train:,}, eval {evaluation:,}"
    assert metadata["rows"] == {"train": train, "eval": evaluation}
    assert list(manifest.splits) == ["train", "eval"]


def test_csv_gzip_and_parquet_of_the_same_rows_give_the_same_examples(trips, tmp_path):
    trips.to_csv(tmp_path / "a.csv", index=False)
    trips.to_csv(tmp_path / "b.csv.gz", index=False)
    pq.write_table(
        pacsv.read_csv(
            tmp_path / "a.csv",
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(strings_can_be_null=True),
        ),
        tmp_path / "c.parquet",
        row_group_size=100,
    )
    digests = set()
    for name in ("a.csv", "b.csv.gz", "c.parquet"):
        generate_examples(tmp_path / name[0], name, tmp_path)
        digests.add(read_manifest(tmp_path / name[0]).content_digest)
        assert_same_rows(rows_of(tmp_path / name[0], "eval"), rows_of(tmp_path / "a", "eval"))
    assert len(digests) == 1


def test_the_manifest_tells_source_spans_and_versions(trips, tmp_path):
    for span, part in enumerate(np.array_split(trips, 3), 1):
        (tmp_path / f"span-0{span}").mkdir()
        part.to_csv(tmp_path / f"span-0{span}" / "v1.csv", index=False)
    metadata = generate_examples(
        tmp_path / "out", "span-{SPAN}/v{VERSION}.csv", tmp_path, first_span=2, last_span=3
    )
    manifest = read_manifest(tmp_path / "out")
    assert manifest.spans == (2, 3)
    assert metadata["spans"] == [2, 3]
    for span in (2, 3):
        spans = {"first_span": span, "last_span": span}
        generate_examples(tmp_path / f"{span}", "span-{SPAN}/v{VERSION}.csv", tmp_path, **spans)
    alone = {span: read_manifest(tmp_path / f"{span}") for span in (2, 3)}
    assert manifest.source == {
        "pattern": "span-{SPAN}/v{VERSION}.csv",
        "span_rows": {
            split: [[span, alone[span].rows(split)] for span in (2, 3)]
            for split in ("eval", "train")
        },
        "files": [
            {
                "path": f"span-0{span}/v1.csv",
                "span": span,
                "version": 1,
                "format": "csv",
                "rows": 1000,
                "bytes": (tmp_path / f"span-0{span}" / "v1.csv").stat().st_size,
            }
            for span in (2, 3)
        ],
    }
    assert_same_rows(all_rows(tmp_path / "out"), trips[1000:])


def test_a_row_keeps_its_split_whatever_the_file_order_and_columns(trips, tmp_path):
    trips.to_csv(tmp_path / "whole.csv", index=False)
    generate_examples(tmp_path / "whole", "whole.csv", tmp_path)
    backwards = trips[::-1][["tips", "company", "id", "fare"]]
    for number, part in enumerate(np.array_split(backwards, 5)):
        part.to_csv(tmp_path / f"part-{number}.csv", index=False)
    generate_examples(tmp_path / "parts", "part-*.csv", tmp_path)
    for split in ("train", "eval"):
        expected = rows_of(tmp_path / "whole", split)
        assert_same_rows(rows_of(tmp_path / "parts", split)[list(expected)], expected)
    whole, parts = read_manifest(tmp_path / "whole"), read_manifest(tmp_path / "parts")
    assert whole.content_digest == parts.content_digest
    assert whole.schema_digest == parts.schema_digest


def test_the_content_digest_changes_with_any_cell_and_any_move_between_splits(trips, tmp_path):
    def digest(frame, **kwargs):
        frame.to_csv(tmp_path / "x.csv", index=False)
        return generate_examples(tmp_path / "out", "x.csv", tmp_path, **kwargs)["content_digest"]

    original = digest(trips)
    changed = trips.copy()
    changed.loc[17, "tips"] += 1
    others = [digest(changed), digest(trips[1:]), digest(trips, splits={"train": 3, "eval": 1})]
    assert original == digest(trips)
    assert len({original, *others}) == 4


def test_running_twice_gives_the_same_bytes(trips, tmp_path):
    trips.to_csv(tmp_path / "x.csv", index=False)
    contents = []
    for name in ("one", "two"):
        generate_examples(tmp_path / name, "x.csv", tmp_path)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        contents.append([(f.name, f.read_bytes()) for f in files])
    assert contents[0] == contents[1]


def test_equal_rows_fall_in_one_split(tmp_path):
    repeated = pd.DataFrame({"id": np.repeat(np.arange(50), 20), "word": "x"})
    repeated.sample(frac=1, random_state=0).to_csv(tmp_path / "x.csv", index=False)
    generate_examples(tmp_path / "out", "x.csv", tmp_path, splits={"train": 1, "eval": 1})
    train = set(rows_of(tmp_path / "out", "train")["id"])
    assert 0 < len(train) < 50
    assert train.isdisjoint(rows_of(tmp_path / "out", "eval")["id"])


def test_split_columns_keep_groups_together(trips, tmp_path):
    trips["passenger"] = trips["id"] // 30
    trips.to_csv(tmp_path / "x.csv", index=False)
    generate_examples(tmp_path / "out", "x.csv", tmp_path, split_columns=["passenger"])
    train = set(rows_of(tmp_path / "out", "train")["passenger"])
    assert train.isdisjoint(rows_of(tmp_path / "out", "eval")["passenger"])
    assert_same_rows(all_rows(tmp_path / "out"), pd.read_csv(tmp_path / "x.csv"))


def test_one_split_takes_all_rows(trips, tmp_path):
    trips.to_csv(tmp_path / "x.csv", index=False)
    generate_examples(tmp_path / "out", "x.csv", tmp_path, splits={"all": 0.1})
    assert read_manifest(tmp_path / "out").rows("all") == 3000


def write(folder, **files):
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.csv").write_bytes(data)


def table_of(folder, pattern="*.csv"):
    generate_examples(folder / "out", pattern, folder, splits={"all": 1})
    return read_table(folder / "out", "all")


def test_spellings_of_missing_are_those_of_pandas(tmp_path):
    write(tmp_path, x='a,b\n1,x\n,\nNA,NA\nNaN,"NULL"\n2,"a, b"\n')
    assert table_of(tmp_path).to_pydict() == {
        "a": [1, None, None, None, 2],
        "b": ["x", None, None, None, "a, b"],
    }


def test_dates_and_times_of_a_csv_stay_text(tmp_path):
    write(tmp_path, x="day,moment\n2013-01-01,2013-01-01T10:00:00Z\n")
    assert table_of(tmp_path).to_pydict() == {
        "day": ["2013-01-01"],
        "moment": ["2013-01-01T10:00:00Z"],
    }


def test_byte_order_mark_and_windows_line_ends_are_understood(tmp_path):
    write(tmp_path, x=b"\xef\xbb\xbfa,b\r\n1,x\r\n")
    assert table_of(tmp_path).to_pydict() == {"a": [1], "b": ["x"]}


def test_types_are_unified_across_files(tmp_path):
    write(tmp_path, one="a,b,c\n1,,x\n", two="c,b,a\ny,2.5,1.5\n")
    table = table_of(tmp_path)
    assert table.schema == pa.schema({"a": pa.float64(), "b": pa.float64(), "c": pa.string()})
    assert table.to_pydict() == {"a": [1.0, 1.5], "b": [None, 2.5], "c": ["x", "y"]}


def test_a_column_without_a_value_anywhere_is_kept(tmp_path):
    write(tmp_path, x="a,b\n1,\n2,\n")
    table = table_of(tmp_path)
    assert table.to_pydict() == {"a": [1, 2], "b": [None, None]}


def test_a_column_whose_first_value_comes_late_gets_its_type(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 64)
    write(tmp_path, x="a,b,c\n" + "1,,\n" * 100 + "2,2.5,\n")
    table = table_of(tmp_path)
    assert table.schema.types == [pa.int64(), pa.float64(), pa.null()]
    assert sorted(table["b"].to_pylist(), key=str) == [2.5] + [None] * 100


def test_a_file_with_a_header_only_adds_no_rows_beside_others(tmp_path):
    write(tmp_path, one="a,b\n", two="a,b\n1,x\n")
    assert table_of(tmp_path).to_pydict() == {"a": [1], "b": ["x"]}


def test_parquet_types_become_plain_ones(tmp_path):
    pq.write_table(
        pa.table(
            {
                "category": pa.array(["x", "y", None]).dictionary_encode(),
                "large": pa.array(["x", None, "z"], pa.large_string()),
                "list": pa.array([[1], [], None], pa.large_list(pa.int32())),
                "moment": pa.array([0, 1, None], pa.timestamp("ms")),
                "day": pa.array([0, 1, None], pa.date32()),
                "flag": pa.array([True, None, False]),
            }
        ),
        tmp_path / "x.parquet",
    )
    table = table_of(tmp_path, "*.parquet")
    assert table.schema.types == [
        pa.string(),
        pa.string(),
        pa.list_(pa.int32()),
        pa.timestamp("ms"),
        pa.date32(),
        pa.bool_(),
    ]
    assert table["list"].to_pylist() == [[1], [], None]
    assert table["category"].to_pylist() == ["x", "y", None]


def refusal(folder, pattern="*.csv", **kwargs):
    """The sentence, after checking that nothing was written."""
    with pytest.raises(PenstockError) as error:
        generate_examples(folder / "out", pattern, folder, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path, "flights.csv") == (
        f"No file matches the pattern 'flights.csv' in {tmp_path}; check the path."
    )


def test_files_that_disagree_on_a_type_are_both_named(tmp_path):
    write(tmp_path, one="a,b\n1,2\n", two="a,b\n1,x\n")
    assert refusal(tmp_path) == (
        "Column 'b' is int64 in one.csv and string in two.csv; write it in one type throughout, "
        "or declare it in a schema."
    )


def test_files_that_disagree_on_columns_are_both_named(tmp_path):
    write(tmp_path, one="a,b\n1,2\n", two="a,c,d\n1,2,3\n")
    assert refusal(tmp_path) == (
        "two.csv lacks 'b' and has 'c', 'd' besides, compared with one.csv; give all files the "
        "same columns."
    )


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    write(tmp_path, x=content)
    assert refusal(tmp_path) == (
        "x.csv is empty; a CSV file needs a first line with the columns' names."
    )


def test_files_without_a_single_row_are_refused(tmp_path):
    write(tmp_path, x="a,b\n")
    assert refusal(tmp_path) == (
        "There is not one row in x.csv; give files with at least one row of data."
    )


def test_column_names_must_be_there_and_differ(tmp_path):
    write(tmp_path, x="a,b,a\n1,2,3\n")
    assert refusal(tmp_path) == ("x.csv has two columns named 'a'; give each column its own name.")
    write(tmp_path, x=",b\n1,2\n")
    assert refusal(tmp_path) == (
        "Column 1 of x.csv has no name; name every column in the first line."
    )


def test_a_header_that_is_not_utf8_is_refused(tmp_path):
    write(tmp_path, x=b"caf\xe9,b\n1,2\n")
    assert refusal(tmp_path).startswith("x.csv, line 1, is not UTF-8 (byte 0xe9 at position 4)")


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 1 << 20)
    write(tmp_path, x='a,b\n1,"never closed\n' + "1,2\n" * 600_000)
    assert refusal(tmp_path) == (
        "x.csv has a line longer than 1 MiB, which is more than Penstock reads at once; look for a "
        "quote that is never closed, or split the line."
    )


def test_a_truncated_gzip_is_refused(tmp_path):
    content = gzip.compress(b"a,b\n" + bytes(str(list(range(9999))), "ascii"))
    (tmp_path / "x.csv.gz").write_bytes(content[:-50])
    assert re.fullmatch(
        r"x\.csv\.gz cannot be read \(.+\); if it is compressed, check that it is whole and that "
        r"its ending says how\.",
        refusal(tmp_path, "*.gz"),
    )


def test_what_is_not_parquet_is_refused(tmp_path, trips):
    pq.write_table(pa.table({"a": range(1000)}), tmp_path / "x.parquet")
    content = (tmp_path / "x.parquet").read_bytes()
    for broken in (b"", b"not parquet at all", content[: len(content) // 2]):
        (tmp_path / "x.parquet").write_bytes(broken)
        assert refusal(tmp_path, "*.parquet").startswith("x.parquet is not readable as Parquet (")


def test_a_type_that_examples_do_not_hold_is_refused_by_name(tmp_path):
    kind = pa.struct([("b", pa.time32("s"))])
    pq.write_table(pa.table({"a": pa.array([{"b": 1}], kind)}), tmp_path / "x.parquet")
    assert refusal(tmp_path, "*.parquet") == (
        "Column 'a.b' of x.parquet has type time32[ms], which Examples do not hold; make it a "
        "boolean, number, date, timestamp, string, binary, or a list or struct of these."
    )


def test_parameters_are_checked_before_anything_is_read(tmp_path):
    write(tmp_path, x="a,b\n1,2\n")
    (tmp_path / "x.dat").write_text("a,b\n1,2\n")
    assert refusal(tmp_path, splits={"train": -1}) == (
        "The weight of split 'train' is -1; give a number above 0, such as 2.0."
    )
    assert refusal(tmp_path, split_columns=["c"]) == (
        "split_columns names 'c', which is no column of the data; there are a, b."
    )
    assert refusal(tmp_path, split_columns=[]) == (
        "split_columns is an empty list; name at least one column, or leave it out."
    )
    assert refusal(tmp_path, file_format="xml") == (
        "The file format 'xml' is unknown; use auto, csv, parquet, jsonl, tfrecord or avro."
    )
    assert refusal(tmp_path, "x.dat") == (
        "The ending of x.dat tells no format (known are .csv, .csv.gz, .csv.bz2, .csv.zst, "
        ".parquet, .jsonl, .jsonl.gz, .jsonl.bz2, .jsonl.zst, .ndjson, .ndjson.gz, .tfrecord, "
        ".tfrecord.gz, .tfrecord.zlib, .tfrecords, .tfrecords.gz, .tfrecords.zlib, .avro); set "
        "file_format to csv, parquet, jsonl, tfrecord or avro."
    )


def test_the_format_can_be_said_instead_of_told_by_the_ending(tmp_path):
    (tmp_path / "x.dat").write_text("a,b\n1,2\n")
    generate_examples(tmp_path / "out", "x.dat", tmp_path, file_format="csv", splits={"all": 1})
    assert read_table(tmp_path / "out", "all").to_pydict() == {"a": [1], "b": [2]}


def test_the_component_passes_its_parameters_on(trips, tmp_path, monkeypatch):
    from penstock.components.artifacts import Examples

    trips.to_csv(tmp_path / "x.csv", index=False)
    examples = Examples(uri=str(tmp_path / "out"))
    monkeypatch.chdir(tmp_path)
    example_gen.python_func(
        examples=examples, pattern="x.csv", splits={"a": 1.0}, split_columns=["id"]
    )
    assert examples.metadata["summary"] == "3,000 rows from 1 file: a 3,000"
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["format"] == 1
    assert example_gen.component_spec.inputs["splits"].default == executor.DEFAULT_SPLITS
