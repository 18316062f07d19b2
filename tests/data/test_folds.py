"""Folds: nothing that is scored on was learned from, and no copy is made for it."""

import datetime
import itertools
import os
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.data.examples import (
    Column,
    Manifest,
    Shard,
    read_manifest,
    read_table,
    shard_paths,
    split_folder,
    write_manifest,
)
from penstock.data.fold_rule import FoldRule, fold_rule
from penstock.data.folds import write_folds
from penstock.data.tf_dataset import tf_dataset
from penstock.errors import PenstockError


def rows(count: int, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    day = random.integers(0, 40, count)
    return pa.table(
        {
            "row": pa.array(np.arange(count)),
            "day": pa.array([datetime.date(2013, 1, 1) + datetime.timedelta(int(d)) for d in day]),
            "tick": pa.array(day),
            "customer": pa.array(random.zipf(1.6, count) % 50),
            "shop": pa.array(random.choice(["a", "b", None], count)),
            "late": pa.array((random.random(count) < 0.13).astype(int)),
        }
    )


def write(folder, table: pa.Table, shards: int = 1, source: dict | None = None):
    place = folder / split_folder("train")
    place.mkdir(parents=True)
    cuts = [round(i * len(table) / shards) for i in range(shards + 1)]
    listed = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        file = place / f"part-{number:05d}.parquet"
        pq.write_table(table.slice(start, end - start), file)
        listed.append(Shard(file.name, end - start, file.stat().st_size))
    columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
    digest = "sha256:" + "0" * 64
    splits = {"train": tuple(listed)}
    write_manifest(folder, Manifest(columns, digest, digest, (), source or {}, splits))
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return write(tmp_path_factory.mktemp("given") / "examples", rows(2000), shards=3)


RULES = [
    FoldRule("time", 4, ("day",)),
    FoldRule("time", 3, ("tick",), gap=3),
    FoldRule("kfold", 5),
    FoldRule("group", 4, ("customer", "shop")),
    FoldRule("stratified", 5, ("late",)),
]


@pytest.fixture(params=RULES, ids=lambda rule: rule.kind + "-gap" * bool(rule.gap))
def rule(request):
    return request.param


def test_no_row_is_on_both_sides_and_none_appears_twice(examples, rule, tmp_path):
    for fold in write_folds(examples, tmp_path / "folds", "train", rule):
        sides = [read_table(tmp_path / "folds", split) for split in (fold.train, fold.eval)]
        seen = Counter(itertools.chain(*(side["row"].to_pylist() for side in sides)))
        assert set(seen.values()) == {1}
        assert [len(side) for side in sides] == [fold.train_rows, fold.eval_rows]
        assert all(side.schema == read_table(examples, "train").schema for side in sides)


def test_every_row_is_scored_once_unless_time_goes_by(examples, rule, tmp_path):
    folds = write_folds(examples, tmp_path / "folds", "train", rule)
    scored = Counter(
        row for f in folds for row in read_table(tmp_path / "folds", f.eval)["row"].to_pylist()
    )
    assert set(scored.values()) == {1}
    if rule.kind == "time":
        first = set(read_table(tmp_path / "folds", folds[0].train)["row"].to_pylist())
        assert not first & set(scored)
    else:
        assert len(scored) == 2000
        assert all(f.train_rows + f.eval_rows == 2000 for f in folds)


def test_no_training_row_is_as_late_as_the_validation_begins(examples, tmp_path):
    folds = write_folds(examples, tmp_path / "folds", "train", FoldRule("time", 4, ("day",)))
    everything = read_table(examples, "train")
    for fold in folds:
        train = read_table(tmp_path / "folds", fold.train)
        scored = read_table(tmp_path / "folds", fold.eval)
        begins = pc.min(scored["day"])
        assert pc.max(train["day"]).as_py() < begins.as_py()
        assert fold.begins == str(begins)
        # All of the past is learned from.
        past = everything.filter(pc.less(everything["day"], begins))
        assert set(train["row"].to_pylist()) == set(past["row"].to_pylist())
    sizes = [folds[0].train_rows, *(fold.eval_rows for fold in folds)]
    assert max(sizes) - min(sizes) < 150  # blocks of about 400 rows, 50 a day


def units(table: pa.Table, kind: str):
    """The column `when` in another type of time, and what a day is in its unit."""
    days = table["tick"].to_numpy()
    if kind == "date":
        return table["day"], 1
    if kind == "number":
        return pa.array(days * 10.0), 10.0
    return pa.array((days * 86_400 * {"s": 1, "ns": 10**9}[kind]), pa.timestamp(kind)), 86_400


@pytest.mark.parametrize("kind", ["date", "number", "s", "ns"])
def test_a_gap_keeps_training_rows_away_from_the_validation(kind, tmp_path):
    table = rows(900)
    when, day = units(table, kind)
    examples = write(tmp_path / "examples", table.append_column("when", when))
    rule = FoldRule("time", 3, ("when",), gap=2.5 * day)
    for fold in write_folds(examples, tmp_path / "folds", "train", rule):
        train = read_table(tmp_path / "folds", fold.train)
        begins = pc.min(read_table(tmp_path / "folds", fold.eval)["tick"]).as_py()
        wanted = table.filter(pc.less(table["tick"], begins - 2.5))["row"].to_pylist()
        assert sorted(train["row"].to_pylist()) == wanted


def test_no_group_is_on_both_sides_and_parts_are_even(examples, tmp_path):
    rule = FoldRule("group", 4, ("customer", "shop"))
    for fold in write_folds(examples, tmp_path / "folds", "train", rule):
        groups = [
            set(zip(*(side[name].to_pylist() for name in ("customer", "shop")), strict=True))
            for side in (read_table(tmp_path / "folds", s) for s in (fold.train, fold.eval))
        ]
        assert not groups[0] & groups[1]
        assert abs(fold.eval_rows - 500) < 50


def test_strata_keep_their_shares_in_every_fold(examples, tmp_path):
    late = pc.sum(read_table(examples, "train")["late"]).as_py()
    for fold in write_folds(
        examples, tmp_path / "f", "train", FoldRule("stratified", 5, ("late",))
    ):
        found = pc.sum(read_table(tmp_path / "f", fold.eval)["late"]).as_py()
        assert abs(found - late / 5) <= 1
        assert abs(fold.eval_rows - 400) <= 2


def test_equal_rows_are_never_on_both_sides_of_kfold(tmp_path):
    table = rows(60).drop(["row"])
    examples = write(tmp_path / "examples", pa.concat_tables([table] * 5))
    for fold in write_folds(examples, tmp_path / "folds", "train", FoldRule("kfold", 3)):
        sides = [read_table(tmp_path / "folds", s).to_pylist() for s in (fold.train, fold.eval)]
        train, scored = ({tuple(row.values()) for row in side} for side in sides)
        assert not train & scored


def test_shards_do_not_decide_folds(examples, rule, tmp_path):
    other = write(tmp_path / "other", rows(2000), shards=7)
    for number, folder in enumerate((examples, other)):
        write_folds(folder, tmp_path / f"{number}", "train", rule)
    for fold in write_folds(other, tmp_path / "again", "train", rule):
        tables = [
            read_table(tmp_path / where, fold.eval)["row"].to_pylist() for where in ("0", "1")
        ]
        assert sorted(tables[0]) == sorted(tables[1])


def test_folds_of_a_split_by_hash_are_even(tmp_path):
    """The split was drawn by the same hash of the row, which must not decide its folds."""
    from penstock.components.example_gen.executor import generate_examples

    pq.write_table(rows(3000), tmp_path / "rows.parquet")
    generate_examples(tmp_path / "examples", "rows.parquet", tmp_path)
    generate_examples(
        tmp_path / "grouped", "rows.parquet", tmp_path, split_columns=["customer", "shop"]
    )
    for folder, rule in (("examples", RULES[2]), ("grouped", RULES[3])):
        folds = write_folds(tmp_path / folder, tmp_path / "folds", "train", rule)
        total = read_manifest(tmp_path / folder).rows("train")
        assert all(abs(f.eval_rows - total / rule.folds) < 0.1 * total for f in folds)


def test_spans_are_the_time_when_no_column_is(tmp_path):
    from penstock.components.example_gen.executor import generate_examples

    for span in range(1, 6):
        table = rows(200, span).select(["row", "late"])
        table = table.append_column("which", pa.array([span] * 200))
        pq.write_table(table, tmp_path / f"span-{span}.parquet")
    generate_examples(
        tmp_path / "examples", "span-{SPAN}.parquet", tmp_path, first_span=1, last_span=5
    )
    rule = fold_rule(read_manifest(tmp_path / "examples"), "train", folds=2, gap=1)
    assert rule.columns == () and "in order of the spans" in rule.describe()
    folds = write_folds(tmp_path / "examples", tmp_path / "folds", "train", rule)
    spans = [
        [sorted(set(read_table(tmp_path / "folds", s)["which"].to_pylist())) for s in sides]
        for sides in ((fold.train, fold.eval) for fold in folds)
    ]
    for train, scored in spans:
        assert max(train) + 1 < min(scored)
    assert spans[-1][1][-1] == 5


def test_the_rows_lie_on_disk_once(examples, rule, tmp_path):
    folds = write_folds(examples, tmp_path / "folds", "train", rule)
    files = [p for p in (tmp_path / "folds").rglob("*.parquet") if not p.is_symlink()]
    assert sum(pq.read_metadata(file).num_rows for file in files) == 2000
    assert all(os.path.islink(p) for p in shard_paths(tmp_path / "folds", folds[0].train))


def test_readers_take_a_fold_as_any_split(examples, tmp_path):
    folds = write_folds(examples, tmp_path / "folds", "train", FoldRule("kfold", 2))
    (tmp_path / "folds").rename(tmp_path / "moved")
    batches = tf_dataset(tmp_path / "moved", folds[1].train, ["tick"], 64, label="late")
    assert sum(len(label) for _, label in batches) == folds[1].train_rows


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.integers(-3, 6), min_size=1, max_size=40),
    folds=st.integers(1, 5),
    gap=st.sampled_from([0, 0.5, 1, 4]),
)
def test_time_never_leaks_or_is_refused(tmp_path_factory, ticks, folds, gap):
    folder = tmp_path_factory.mktemp("law")
    table = pa.table({"tick": pa.array(ticks, pa.int64()), "row": pa.array(range(len(ticks)))})
    examples = write(folder / "examples", table)
    try:
        found = write_folds(
            examples, folder / "folds", "train", FoldRule("time", folds, ("tick",), gap)
        )
    except PenstockError:
        assert len(set(ticks)) <= folds or gap
        assert not (folder / "folds").exists()
        return
    assert len(found) == folds
    for fold in found:
        train = read_table(folder / "folds", fold.train)["tick"].to_pylist()
        scored = read_table(folder / "folds", fold.eval)["tick"].to_pylist()
        assert max(train) < min(scored) - gap


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kind": "leave-one-out"}, "expected one of time, kfold, group, stratified"),
        ({"folds": 0}, "folds is 0; expected a whole number from 1"),
        ({"kind": "kfold", "folds": 1}, "from 2 on"),
        ({"gap": -1}, "gap is -1"),
        ({"kind": "kfold", "gap": 1}, "belongs to time alone"),
        ({"kind": "group"}, "needs group_columns"),
        ({"kind": "stratified"}, "needs stratify_column"),
        ({"time_column": "hour"}, "time_column names 'hour', which is no column"),
    ],
)
def test_a_wrong_rule_is_one_sentence(examples, settings, sentence):
    with pytest.raises(PenstockError, match=sentence):
        fold_rule(read_manifest(examples), "train", **settings)


def test_time_is_the_only_column_of_dates(examples, tmp_path):
    table = rows(50)
    one = write(tmp_path / "one", table)
    assert fold_rule(read_manifest(one), "train").columns == ("day",)
    two = write(tmp_path / "two", table.append_column("sent", table["day"]))
    with pytest.raises(PenstockError, match="day, sent are all dates or timestamps; name the one"):
        fold_rule(read_manifest(two), "train")
    none = write(tmp_path / "none", table.drop(["day"]))
    with pytest.raises(PenstockError, match="no column is a date or a timestamp, and the rows"):
        fold_rule(read_manifest(none), "train")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (FoldRule("time", 40, ("tick",)), "need 41 times or more, and there are 40 distinct"),
        (FoldRule("time", 1, ("shop",)), "'shop' has a missing value in split 'train'"),
        (FoldRule("time", 2, ("tick",), gap=100), "fold 0 has 0 training and"),
        (FoldRule("time", 1, ("word",), gap=1), "'word' is string; declare it as a date"),
        (FoldRule("time", 1, ("part",)), "'part' has NaN as a time"),
        (FoldRule("group", 4, ("shop",)), "need as many groups, and shop tell 3"),
        (FoldRule("stratified", 2, ("row",)), "'row' has 2,000 values in 2,000 rows"),
        (FoldRule("kfold", 5), "fold 0 has 3 training and 0 evaluation rows of the 3"),
    ],
)
def test_what_cannot_be_folded_is_refused(rule, sentence, tmp_path):
    table = rows(2000).append_column("word", pa.array(["a", "b"] * 1000))
    table = table.append_column("part", pa.array([1.0, float("nan")] * 1000))
    examples = write(tmp_path / "examples", table[:3] if rule.kind == "kfold" else table)
    with pytest.raises(PenstockError, match=sentence):
        write_folds(examples, tmp_path / "folds", "train", rule)
    assert not (tmp_path / "folds").exists()
