"""Byte ranges of CSV files: whatever their size, the same rows and the same rejects."""

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.components.example_gen.executor import generate_examples
from penstock.data import csv_ranges as ranges_module
from penstock.data.csv_options import CsvOptions
from penstock.data.csv_ranges import ByteRange, byte_ranges
from penstock.data.csv_source import csv_batches, csv_ranges
from penstock.data.examples import read_manifest, read_table

SCHEMA = pa.schema({"a": pa.string(), "b": pa.int64()})
texts = st.text(st.sampled_from('x",;\n\r é'), max_size=6)
good = st.tuples(texts, st.integers(-9, 9).map(str))
# Too many fields, too few, and a word for a number.
bad = st.sampled_from([("x", "1", "2"), ("y",), ("z", "word"), ("line\nbreak", "", "")])
records = st.lists(st.one_of(good, good, bad, st.just(())), max_size=30)


def written(rows, end, quoting, bom):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=end, quoting=quoting)
    writer.writerow(("a", "b"))
    for row in rows:
        if row:
            writer.writerow(row)
        else:
            # A blank line.
            stream.write(end)
    return (b"\xef\xbb\xbf" if bom else b"") + stream.getvalue().encode()


def read(file, options, size, block):
    """The rows and the rejects of a file in ranges of so many bytes, and the ranges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges_module, "RANGE_BYTES", size)
        patch.setattr(ranges_module, "BLOCK_BYTES", block)
        rejects, rows = [], []
        parts = csv_ranges(file, options)
        for part in parts:
            for batch, _ in csv_batches(file, SCHEMA, options, rejects.append, "x.csv", part):
                rows += batch.to_pylist()
    return rows, rejects, parts


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=records,
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    bom=st.booleans(),
    size=st.integers(1, 80),
    block=st.integers(1, 40),
)
@example(
    rows=[("\n", "1"), ('"', "2")],
    end="\n",
    quoting=csv.QUOTE_MINIMAL,
    bom=False,
    size=1,
    block=1,
)
@example(rows=[('a"\n"b', "1")] * 9, end="\r\n", quoting=csv.QUOTE_ALL, bom=True, size=3, block=2)
def test_ranges_of_any_size_give_the_same_rows_and_rejects(
    rows, end, quoting, bom, size, block, tmp_path_factory
):
    file = tmp_path_factory.getbasetemp() / "ranges.csv"
    file.write_bytes(written(rows, end, quoting, bom))
    expected = read(file, CsvOptions(), 1 << 30, 1 << 20)
    assert expected[2] == [None]
    found = read(file, CsvOptions(), size, block)
    assert found[:2] == expected[:2]


def test_a_range_begins_where_a_record_does(tmp_path, monkeypatch):
    rows = [(f'{n}, "quoted"\nand broken' if n % 3 else "", str(n)) for n in range(500)]
    file = tmp_path / "x.csv"
    file.write_bytes(written(rows, "\n", csv.QUOTE_MINIMAL, False))
    _, _, parts = read(file, CsvOptions(), 1000, 300)
    assert len(parts) > 10
    content = file.read_bytes()
    assert parts[0].start == 0 and parts[-1].end == len(content)
    found = []
    for before, part in zip([None, *parts], parts, strict=False):
        assert before is None or before.end == part.start
        assert part.end - part.start < 1100 or part is parts[-1]
        text = content[part.start : part.end].decode()
        found += list(csv.reader(io.StringIO(text, newline="")))
    assert [tuple(row) for row in found] == [("a", "b"), *rows]


@pytest.mark.parametrize(
    "line", [b'5" pipe,1', b'"a"b,1', b' "a",1', b'a,"1" ', b'"never closed,1']
)
def test_a_file_with_irregular_quotes_stays_whole(tmp_path, monkeypatch, line):
    monkeypatch.setattr(ranges_module, "RANGE_BYTES", 10)
    file = tmp_path / "x.csv"
    rows = b"a,b\n" + b"x,1\n" * 20
    file.write_bytes(rows)
    assert len(byte_ranges(file, CsvOptions())) > 3
    # Without quotes a quote is a letter.
    file.write_bytes(rows + line + b"\n" + b"x,1\n" * 20)
    assert len(byte_ranges(file, CsvOptions(quote=""))) > 7
    if b"never" in line:
        return
    for block in range(1, 10):
        monkeypatch.setattr(ranges_module, "BLOCK_BYTES", block)
        assert byte_ranges(file, CsvOptions()) == [ByteRange(0, file.stat().st_size)]


def test_options_hold_in_every_range(tmp_path):
    text = '#"\n# more\n' + "".join(f"'w;\n{n}';{n}\n\n" for n in range(50)) + "x;y\n"
    (tmp_path / "x.csv").write_text(text)
    options = CsvOptions(columns=("a", "b"), delimiter=";", quote="'", skip_lines=2)
    rows, rejects, parts = read(tmp_path / "x.csv", options, 40, 16)
    assert len(parts) > 5
    assert rows == [{"a": f"w;\n{n}", "b": n} for n in range(50)]
    assert [(r.line, r.text) for r in rejects] == [(2 + 50 * 3 + 1, b"x;y")]


@given(
    texts=st.lists(st.text(st.sampled_from("x\r\n"), max_size=9), min_size=1, max_size=9),
    block=st.integers(1, 9),
)
def test_ranges_know_their_first_line_as_python_counts_lines(texts, block, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "lines.csv"
    data = "a\n" + "\n".join(texts) + "\n"
    file.write_bytes(data.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges_module, "BLOCK_BYTES", block)
        patch.setattr(ranges_module, "RANGE_BYTES", 3)
        parts = byte_ranges(file, CsvOptions())
    for part in parts:
        before = io.StringIO(data[: part.start], newline="").readlines()
        assert part.first_line == 1 + len(before)


@pytest.mark.parametrize("beam", [None, []])
def test_examples_do_not_depend_on_the_ranges(tmp_path, monkeypatch, beam):
    rows = [(f'w"{n % 13}"\n', str(n)) for n in range(900)]
    rows[100], rows[700], rows[701] = ("x",), ("x\ny", "1", "2"), ("z", "word")
    (tmp_path / "x.csv").write_bytes(written(rows, "\n", csv.QUOTE_MINIMAL, False))
    options = {"max_quarantined_share": 0.1, "beam_pipeline_args": beam}
    # The first block of a file tells its types; later ones are held to them.
    schema = tmp_path / "schema"
    schema.mkdir()
    (schema / "schema.pbtxt").write_text(
        'feature { name: "a" type: BYTES } feature { name: "b" type: INT }'
    )

    def generate(name, size):
        monkeypatch.setattr(ranges_module, "RANGE_BYTES", size)
        generate_examples(
            tmp_path / name, "x.csv", tmp_path, schema_path=schema, shuffle_seed=1, **options
        )
        quarantine = sorted((tmp_path / name / "quarantine").iterdir())
        rejects = [row for file in quarantine for row in pq.read_table(file).to_pylist()]
        return read_manifest(tmp_path / name), read_table(tmp_path / name, "train"), rejects

    manifest, train, rejects = generate("whole", 1 << 30)
    found, other, others = generate("ranges", 2000)
    assert found.content_digest == manifest.content_digest
    assert (
        found.accounts
        == manifest.accounts
        == {"in": 900, "out": 897, "quarantined": 3, "filtered": 0}
    )
    assert other == train
    assert others == rejects
    assert [row["line"] for row in rejects] == [2 + 2 * 100, 2 + 2 * 699 + 1, 2 + 2 * 700 + 1]
