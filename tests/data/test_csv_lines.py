"""The lines of CSV rows: those that Python's csv module tells, whatever the quotes and breaks."""

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.data import csv_lines, csv_ranges, csv_source
from penstock.data.csv_options import CsvOptions
from penstock.data.csv_source import csv_batches
from penstock.data.csv_source import csv_ranges as ranges_of

SCHEMA = pa.schema({"a": pa.string(), "b": pa.string()})


def told_by_csv(text, options, header=True):
    """The rows with the lines on which they begin."""
    stream = io.StringIO(text, newline="")
    for _ in range(options.skip_lines):
        stream.readline()
    reader = csv.reader(stream, delimiter=options.delimiter, quotechar=options.quote)
    found, begin = [], 1
    for row in reader:
        if row:
            found.append((row, begin + options.skip_lines))
        begin = reader.line_num + 1
    return found[int(header) :]


def good_and_bad(told):
    """The rows of two fields, and the lines of the others."""
    return [each for each in told if len(each[0]) == 2], [
        line for row, line in told if len(row) != 2
    ]


def told_by_us(file, options, block=csv_source.BLOCK_BYTES, size=csv_ranges.RANGE_BYTES):
    """The rows that csv_batches reads, in blocks and ranges of so many bytes, with their lines."""
    found, rejects = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "BLOCK_BYTES", block)
        patch.setattr(csv_lines, "BLOCK_BYTES", max(block // 3, 1))
        patch.setattr(csv_ranges, "RANGE_BYTES", size)
        for part in ranges_of(file, options):
            for batch, lines in csv_batches(file, SCHEMA, options, rejects.append, "x", part):
                rows = zip(*(batch.column(n).to_pylist() for n in ("a", "b")), strict=True)
                found += list(zip(map(list, rows), map(int, lines), strict=True))
    return found, rejects


# Fields whose quotes are where RFC 4180 has them, and breaks of all kinds within them.
fields = st.text(st.sampled_from('xy",\n\r é'), max_size=5)
blank = st.just(None)
rows = st.lists(st.one_of(st.tuples(fields, fields), blank), max_size=25)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=rows,
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    skip=st.integers(0, 2),
    last=st.booleans(),
    block=st.integers(60, 200),
    size=st.integers(1, 100),
)
@example(
    rows=[("x", "y\n"), None, ("", "")], end="\n", quoting=0, skip=0, last=True, block=60, size=1
)
def test_lines_are_those_of_the_csv_module(
    rows, end, quoting, skip, last, block, size, tmp_path_factory
):
    stream = io.StringIO(newline="")
    stream.write("# not csv" + end) if skip else None
    stream.write(end * max(skip - 1, 0))
    writer = csv.writer(stream, lineterminator=end, quoting=quoting)
    for row in [("a", "b"), *rows]:
        stream.write(end) if row is None else writer.writerow(row)
    text = stream.getvalue() if last else stream.getvalue().removesuffix(end)
    file = tmp_path_factory.getbasetemp() / "rows.csv"
    file.write_bytes(text.encode())
    options = CsvOptions(skip_lines=skip, nulls=("no such",))
    found, rejects = told_by_us(file, options, block, size)
    assert (found, [r.line for r in rejects]) == good_and_bad(told_by_csv(text, options))


# Any quotes at all: Arrow and the csv module take them alike.
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(
        st.tuples(*[st.text(st.sampled_from('x"" '), max_size=6)] * 2).map(",".join), max_size=12
    ),
    block=st.integers(60, 200),
)
@example(lines=['5" pipe,"x', 'y"'], block=60)
@example(lines=['"a""",x', 'a"",b', '"x"a"",b'], block=60)
def test_quotes_anywhere_are_taken_as_the_csv_module_does(lines, block, tmp_path_factory):
    text = "a,b\n" + "".join(f"{line}\n" for line in lines)
    file = tmp_path_factory.getbasetemp() / "quotes.csv"
    file.write_bytes(text.encode())
    options = CsvOptions(nulls=("no such",))
    found, rejects = told_by_us(file, options, block)
    expected = good_and_bad(told_by_csv(text, options))
    assert (found, [r.line for r in rejects]) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_lines_hold_through_many_blocks(tmp_path, end, ending, monkeypatch):
    # Given: a file that is regular for three blocks, and then has blank lines and breaks in quotes
    text = end.join(["a,b", *(f"{n},x" for n in range(3000))])
    text += end * 3 + end.join(f'"{n}{end}","{n}"' for n in range(3000)) + end * 2
    file = tmp_path / f"x.{ending}"
    write = gzip.open if ending.endswith("gz") else open
    with write(file, "wb") as stream:
        stream.write(text.encode())
    options = CsvOptions()
    # When
    found, rejects = told_by_us(file, options, block=7000)
    # Then
    assert not rejects
    assert found == told_by_csv(text, options)


def test_a_regular_file_is_not_read_again(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("a,b\n" + 'x,"y"\n' * 2000)
    monkeypatch.setattr(csv_lines.RecordLines, "take", lambda *_: pytest.fail("read again"))
    found, _ = told_by_us(tmp_path / "x.csv", CsvOptions(), block=1000)
    assert [line for _, line in found] == list(range(2, 2002))


@pytest.mark.parametrize("header", [True, False])
def test_lines_of_a_file_without_a_header(tmp_path, header):
    text = "\n\n" + ("" if not header else "a,b\n") + "1,2\n\n3,4"
    (tmp_path / "x.csv").write_text(text)
    options = CsvOptions(columns=None if header else ("a", "b"))
    found, _ = told_by_us(tmp_path / "x.csv", options)
    assert [line for _, line in found] == [3 + header, 5 + header]


def test_lines_go_on_after_malformed_rows(tmp_path):
    text = "a,b\n" + "".join(f'{n},"y\n"\n' if n % 5 else f"{n}\n\n" for n in range(500))
    (tmp_path / "x.csv").write_text(text)
    found, rejects = told_by_us(tmp_path / "x.csv", CsvOptions(), block=400)
    expected = told_by_csv(text, CsvOptions())
    assert [line for _, line in found] == [line for row, line in expected if len(row) == 2]
    assert [r.line for r in rejects] == [line for row, line in expected if len(row) == 1]
    assert np.all(np.diff([line for _, line in found]) > 0)
