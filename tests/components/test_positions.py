"""Every row of Examples knows the file and line that it came from, by whichever way it came."""

import csv
import gzip
import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.components.example_gen.executor import generate_examples
from penstock.data.examples import iter_batches, read_manifest, read_table, shard_paths
from penstock.data.positions import SourcePlaces, positions_file

ROWS = 700


def places_of(folder):
    """For every row of Examples its number, which is its content, with its file and line."""
    found = {}
    for split in read_manifest(folder).splits:
        places = SourcePlaces(folder, split)
        for shard, file in enumerate(shard_paths(folder, split)):
            numbers = pq.read_table(file, columns=["n"])["n"].to_pylist()
            told = places.find(np.full(len(numbers), shard), np.arange(len(numbers)))
            for number, place in zip(numbers, told.to_pylist(), strict=True):
                found[int(number)] = (place["file"], place["line"])
        places.close()
    return found


def write_csv(file, numbers, end="\n"):
    """Write rows, some of which take two lines or follow a blank one; return each one's line."""
    opener = gzip.open if file.suffix == ".gz" else open
    file.parent.mkdir(exist_ok=True)
    with opener(file, "wt", newline="") as stream:
        writer = csv.writer(stream, lineterminator=end)
        writer.writerow(("n", "text"))
        for number in numbers:
            if number % 11 == 0:
                stream.write(end)
            writer.writerow((number, f"a{end}b" if number % 7 == 0 else "plain"))
    lines = {}
    with opener(file, "rt", newline="") as stream:
        reader = csv.reader(stream)
        begin = 1
        for row in reader:
            if row and begin > 1:
                lines[int(row[0])] = begin
            begin = reader.line_num + 1
    return lines


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same name in two folders, one file compressed, one with two bytes at a line's end."""
    folder = tmp_path_factory.mktemp("sources")
    expected = {}
    for place, (name, end) in enumerate(
        (("a/x.csv", "\n"), ("b/x.csv", "\r\n"), ("c/x.csv.gz", "\n"))
    ):
        numbers = range(place * ROWS, (place + 1) * ROWS)
        lines = write_csv(folder / name, numbers, end)
        expected |= {number: (name, line) for number, line in lines.items()}
    assert len(expected) == 3 * ROWS
    return folder, expected


WAYS = {
    "as it comes": {},
    "shuffled": {"shuffle_seed": 1, "shards": {"rows": 300}},
    "filtered": {"filter": "n > 150 and text == 'plain'"},
    "sampled, some columns": {"sample_rate": 0.4, "columns": ["text", "n"]},
    "in strata": {"split_by": {"stratify": "text"}},
    "by time": {"split_by": {"time": "n", "order": ["train", "eval"]}},
    "on Beam": {"beam_pipeline_args": []},
    "on Beam, shuffled": {"beam_pipeline_args": [], "shuffle_seed": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_lines_are_those_of_the_csv_module(sources, tmp_path, way):
    folder, expected = sources
    generate_examples(tmp_path / "out", "*/x.csv*", folder, **WAYS[way])
    found = places_of(tmp_path / "out")
    rows = sum(read_manifest(tmp_path / "out").rows(split) for split in ("train", "eval"))
    assert len(found) == rows > ROWS / 2
    assert found == {number: expected[number] for number in found}


@pytest.mark.parametrize("beam", [None, []])
def test_byte_ranges_and_malformed_rows_keep_the_lines(tmp_path, monkeypatch, beam):
    monkeypatch.setattr("penstock.data.csv_ranges.RANGE_BYTES", 900)
    expected = write_csv(tmp_path / "x.csv", range(ROWS))
    bad = "1,2,3\n" * 4
    text = (tmp_path / "x.csv").read_text()
    (tmp_path / "x.csv").write_text(text.replace("\n300,", f"\n{bad}300,"))
    generate_examples(
        tmp_path / "out",
        str(tmp_path / "x.csv"),
        max_quarantined_share=0.1,
        beam_pipeline_args=beam,
    )
    found = places_of(tmp_path / "out")
    assert {number: line for number, (_, line) in found.items()} == {
        number: line + 4 * (number >= 300) for number, line in expected.items()
    }
    rejected = pq.read_table(tmp_path / "out" / "quarantine")["line"].to_pylist()
    assert rejected == [expected[300] + place for place in range(4)]


def test_json_lines_count_blank_and_malformed_lines(tmp_path):
    lines = [json.dumps({"n": n}) if n % 5 else ("" if n % 2 else "{") for n in range(60)]
    lines[31] = json.dumps({"n": 31, "more": 1})
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    generate_examples(tmp_path / "out", str(tmp_path / "x.jsonl"), max_quarantined_share=0.5)
    expected = {json.loads(text)["n"]: n for n, text in enumerate(lines, 1) if len(text) > 1}
    assert {n: line for n, (_, line) in places_of(tmp_path / "out").items()} == expected


def test_parquet_rows_count_through_row_groups_that_are_left_out(tmp_path):
    pq.write_table(pa.table({"n": range(1000)}), tmp_path / "x.parquet", row_group_size=100)
    generate_examples(tmp_path / "out", str(tmp_path / "x.parquet"), filter="n < 150 or n >= 730")
    found = places_of(tmp_path / "out")
    assert set(found) == {*range(150), *range(730, 1000)}
    assert all(line == number + 1 for number, (_, line) in found.items())


def test_rows_of_an_answer_are_numbered(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (n INTEGER)")
        database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(50)])
    url = f"sqlite:///{tmp_path}/x.db"
    generate_examples(tmp_path / "out", url, query="SELECT n FROM t ORDER BY n DESC")
    found = places_of(tmp_path / "out")
    assert {n: line for n, (_, line) in found.items()} == {n: 50 - n for n in range(50)}


def test_who_reads_the_rows_sees_no_positions(sources, tmp_path):
    folder, _ = sources
    generate_examples(tmp_path / "out", "a/x.csv", folder)
    assert positions_file(shard_paths(tmp_path / "out", "train")[0]).is_file()
    rows = read_manifest(tmp_path / "out").rows("train")
    assert read_table(tmp_path / "out", "train").column_names == ["n", "text"]
    assert {batch.num_columns for batch in iter_batches(tmp_path / "out", "train")} == {2}
    assert len(pq.read_table(tmp_path / "out" / "Split-train")) == rows


def test_the_digest_does_not_depend_on_where_rows_stood(tmp_path):
    digests = []
    for name, between in (("a.csv", "\n"), ("b.csv", "\n\n")):
        (tmp_path / name).write_text("n" + between + between.join(map(str, range(90))))
        generate_examples(tmp_path / name[0], str(tmp_path / name))
        digests.append(read_manifest(tmp_path / name[0]).content_digest)
    assert places_of(tmp_path / "a") != places_of(tmp_path / "b")
    assert digests[0] == digests[1]
