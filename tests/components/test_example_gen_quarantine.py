import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.components.example_gen.executor import generate_examples
from penstock.data import csv_faults, csv_source
from penstock.data import quarantine as quarantine_module
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError


def write(folder, **files):
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.csv").write_bytes(data)


def generate(folder, pattern="*.csv", **kwargs):
    generate_examples(folder / "out", pattern, folder, splits={"all": 1}, **kwargs)
    return read_table(folder / "out", "all")


def quarantined(folder):
    rows = pq.read_table(folder / "out" / "quarantine").to_pylist()
    return [(r["file"].removeprefix(f"{folder}/"), r["line"], r["reason"], r["text"]) for r in rows]


def refusal(folder, pattern="*.csv", **kwargs):
    with pytest.raises(PenstockError) as error:
        generate_examples(folder / "out", pattern, folder, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


def test_malformed_rows_lie_beside_the_examples_with_file_line_and_reason(tmp_path):
    write(
        tmp_path,
        x=b'a,b\n1,"two\nlines"\n2\n\n3,y,z\n4,caf\xe9\n5,"last, one"\n',
        y="a,b\n6,x\nseven\n",
    )
    table = generate(tmp_path, max_quarantined_share=0.6)
    assert table.to_pydict() == {"a": [1, 5, 6], "b": ["two\nlines", "last, one", "x"]}
    assert quarantined(tmp_path) == [
        ("x.csv", 4, "1 field, expected 2", b"2"),
        ("x.csv", 6, "3 fields, expected 2", b"3,y,z"),
        ("x.csv", 7, "not UTF-8 (byte 0xe9 at position 6)", b"4,caf\xe9"),
        ("y.csv", 3, "1 field, expected 2", b"seven"),
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.accounts == {"in": 7, "out": 3, "quarantined": 4, "filtered": 0}
    assert [file["rows"] for file in manifest.source["files"]] == [5, 2]


def test_without_malformed_rows_there_is_no_quarantine(tmp_path):
    write(tmp_path, x="a,b\n1,2\n")
    generate(tmp_path, max_quarantined_share=0.5)
    assert not (tmp_path / "out" / "quarantine").exists()


def test_malformed_rows_are_an_error_that_counts_them_and_shows_the_first(tmp_path):
    write(tmp_path, x="a,b\n1,2\n2\n3,3,3\n4\n5\n", y="a,b\n" + "1,2\n" * 95)
    assert refusal(tmp_path) == (
        "4 of 100 rows cannot be read, more than the share of 0 that max_quarantined_share allows "
        "(x.csv, line 3: 1 field, expected 2; x.csv, line 4: 3 fields, expected 2; x.csv, line 5: "
        "1 field, expected 2 and so on); mend the rows, or allow a larger share to go to "
        "quarantine."
    )
    assert refusal(tmp_path, max_quarantined_share=0.039).startswith("4 of 100 rows")
    assert len(generate(tmp_path, max_quarantined_share=0.04)) == 96


def test_a_file_of_malformed_rows_is_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine_module, "ENOUGH_ROWS", 5)
    write(tmp_path, x="a,b\n1,2\n" + "3\n" * 100)
    assert refusal(tmp_path).startswith("At least 5 rows cannot be read")
    generate(tmp_path, max_quarantined_share=0.999)
    assert len(quarantined(tmp_path)) == 100


def test_only_malformed_rows_are_no_examples(tmp_path):
    write(tmp_path, x="a,b\n1\n")
    assert refusal(tmp_path, max_quarantined_share=1) == (
        "There is not one good row in x.csv; give files with at least one row of data."
    )


@pytest.mark.parametrize("share", [-0.1, 1.1, True, "1"])
def test_a_share_is_a_number_from_0_to_1(tmp_path, share):
    write(tmp_path, x="a,b\n1,2\n")
    assert refusal(tmp_path, max_quarantined_share=share) == (
        f"max_quarantined_share is {share!r}; give a share from 0 to 1, such as 0.001."
    )


def test_a_value_that_does_not_convert_far_below_is_named_by_line_and_column(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 1 << 16)
    write(tmp_path, x="a,b\n" + "1,2\n" * 100_000 + "3,four\n4,5\n")
    assert "x.csv, line 100002: column 'b' has 'four', expected int64" in refusal(tmp_path)
    table = generate(tmp_path, max_quarantined_share=0.01)
    assert len(table) == 100_001
    assert table["b"][-1].as_py() == 5


def test_compressed_files_are_read_record_by_record_too(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n3\n"))
    assert generate(tmp_path, "*.gz", max_quarantined_share=0.5).to_pydict() == {"a": [1], "b": [2]}


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_good_and_malformed_rows_part_exactly(tmp_path_factory, data):
    good = st.builds(lambda n, t: (f'{n},"{t}"', n), st.integers(0, 9), st.sampled_from("xy\nz,é"))
    bad = st.sampled_from(["1", "1,2,3", "x,y", "\udce9,1"]).map(lambda text: (text, None))
    rows = [('5,"five"', 5), *data.draw(st.lists(st.one_of(good, good, bad), max_size=30))]
    folder = tmp_path_factory.mktemp("rows")
    content = "a,b\n" + "".join(text + "\n" for text, _ in rows)
    write(folder, x=content.encode("utf-8", "surrogateescape"))
    schema = folder / "schema"
    schema.mkdir()
    (schema / "schema.pbtxt").write_text('feature { name: "a" type: INT }')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "BLOCK_BYTES", data.draw(st.sampled_from([64, 1 << 20])))
        patch.setattr(csv_faults, "GROUP_RECORDS", data.draw(st.sampled_from([3, 1000])))
        table = generate(folder, max_quarantined_share=1.0, schema_path=schema)
    assert table["a"].to_pylist() == [number for _, number in rows if number is not None]
    expected = [text for text, number in rows if number is None]
    found = [text for *_, text in quarantined(folder)] if expected else []
    assert found == [text.encode("utf-8", "surrogateescape") for text in expected]


@pytest.fixture
def schema_of(tmp_path):
    def write_schema(text):
        folder = tmp_path / "schema"
        folder.mkdir(exist_ok=True)
        (folder / "schema.pbtxt").write_text(text)
        return folder

    return write_schema


def test_a_schema_declares_types(tmp_path, schema_of):
    schema = schema_of(
        'feature { name: "zip" type: BYTES } feature { name: "x" type: FLOAT } '
        'feature { name: "elsewhere" type: INT }'
    )
    write(tmp_path, one="zip,x,n\n01234,1,1\n", two="zip,x,n\nA-1,2.5,2\n")
    table = generate(tmp_path, schema_path=schema)
    assert table.schema == pa.schema({"zip": pa.string(), "x": pa.float64(), "n": pa.int64()})
    assert table.to_pydict() == {"zip": ["01234", "A-1"], "x": [1.0, 2.5], "n": [1, 2]}


def test_a_value_against_its_declared_type_is_malformed(tmp_path, schema_of):
    schema = schema_of('feature { name: "n" type: INT }')
    write(tmp_path, x="n\n1\n2.5\nNA\n3\n")
    assert "x.csv, line 3: column 'n' has '2.5', expected int64" in refusal(
        tmp_path, schema_path=schema
    )
    table = generate(tmp_path, schema_path=schema, max_quarantined_share=0.5)
    assert table["n"].to_pylist() == [1, None, 3]


def test_parquet_against_its_declared_type_names_file_row_and_column(tmp_path, schema_of):
    schema = schema_of('feature { name: "n" type: INT } feature { name: "s" type: BYTES }')
    values = np.arange(1000.0)
    values[777] += 0.5
    pq.write_table(pa.table({"n": values}), tmp_path / "x.parquet")
    assert refusal(tmp_path, "*.parquet", schema_path=schema).startswith(
        "x.parquet, row 778, has 777.5 in column 'n', which is double, expected int64;"
    )
    pq.write_table(pa.table({"s": [None, 5]}), tmp_path / "x.parquet")
    assert refusal(tmp_path, "*.parquet", schema_path=schema).startswith(
        "x.parquet, row 2, has 5 in column 's', which is int64, expected string;"
    )


def test_parquet_that_fits_the_declared_types_takes_them(tmp_path, schema_of):
    schema = schema_of(
        'feature { name: "n" type: INT } feature { name: "f" type: FLOAT } '
        'feature { name: "l" type: FLOAT } feature { name: "b" type: INT }'
    )
    columns = {"n": [1.0, None], "f": [1, 2], "l": [[1], []], "b": [True, None]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    table = generate(tmp_path, "*.parquet", schema_path=schema)
    assert table.schema.field("n").type == pa.int64()
    assert table.schema.field("l").type.value_type == pa.float64()
    assert table.schema.field("b").type == pa.bool_()
    assert table.to_pydict() == {
        "n": [1, None],
        "f": [1.0, 2.0],
        "l": [[1.0], []],
        "b": [True, None],
    }


def test_whole_numbers_beyond_64_bits_are_an_error_not_a_float(tmp_path, schema_of):
    write(tmp_path, x="id,f\n1,1e300\n18446744073709551616,2\n,3\n")
    assert refusal(tmp_path) == (
        "Column 'id' of x.csv holds 18446744073709551616, a whole number beyond 64 bits, which a "
        "float would round; declare the column in a schema, as BYTES to keep its digits or as "
        "FLOAT."
    )
    texts = generate(tmp_path, schema_path=schema_of('feature { name: "id" type: BYTES }'))
    assert texts["id"].to_pylist() == ["1", "18446744073709551616", None]
    floats = generate(tmp_path, schema_path=schema_of('feature { name: "id" type: FLOAT }'))
    assert floats["id"].to_pylist() == [1.0, 2.0**64, None]


def test_whole_numbers_beyond_64_bits_far_below_are_malformed(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 100)
    write(tmp_path, x="id\n" + "1\n" * 100 + "9223372036854775808\n")
    assert "x.csv, line 102: column 'id' has '9223372036854775808', expected int64" in refusal(
        tmp_path
    )


def test_csv_options_say_how_files_are_written(tmp_path):
    write(tmp_path, x="made by hand\n1;'a;b';-\n-;c;2013-05-01\n")
    options = {
        "columns": ["n", "text", "day"],
        "delimiter": ";",
        "quote": "'",
        "nulls": ["-"],
        "dates": True,
        "skip_lines": 1.0,
    }
    table = generate(tmp_path, csv=options)
    assert table.schema.field("day").type == pa.date32()
    assert table.to_pandas().astype(object).where(lambda f: f.notna(), None).values.tolist() == [
        [1, "a;b", None],
        [None, "c", pd.Timestamp("2013-05-01").date()],
    ]
    with (tmp_path / "x.csv").open("a") as stream:
        stream.write("3;d\n")
    generate(tmp_path, csv=options, max_quarantined_share=0.5)
    assert quarantined(tmp_path) == [("x.csv", 4, "2 fields, expected 3", b"3;d")]


def test_quotes_may_mean_nothing(tmp_path):
    write(tmp_path, x='a,b\n5",6"\n"x,y\n')
    assert generate(tmp_path, csv={"quote": ""}).to_pydict() == {
        "a": ['5"', '"x'],
        "b": ['6"', "y"],
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sep": ";"}, "csv has the unknown key 'sep'; known are columns, delimiter, quote,"),
        ({"delimiter": "||"}, "csv gives delimiter as '||'; expected one character, such as ';'."),
        ({"delimiter": "é"}, "csv gives delimiter as 'é'; expected one character"),
        ({"columns": []}, "csv gives columns as []; expected a list of column names."),
        ({"skip_lines": 1.5}, "csv gives skip_lines as 1.5; expected a whole number from 0 on."),
        ({"dates": "yes"}, "csv gives dates as 'yes'; expected true or false."),
    ],
)
def test_wrong_csv_options_are_refused(tmp_path, options, sentence):
    write(tmp_path, x="a\n1\n")
    assert refusal(tmp_path, csv=options).startswith(sentence)


def test_the_manifest_accounts_for_all_rows(tmp_path):
    write(tmp_path, x="a,b\n1,2\n2\n")
    generate(tmp_path, max_quarantined_share=0.5)
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert content["accounts"] == {"in": 2, "out": 1, "quarantined": 1, "filtered": 0}
