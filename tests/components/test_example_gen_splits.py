import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.components.example_gen.executor import generate_examples
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError


def generate(folder, frame, **kwargs):
    """Write the frame, make examples of it, and return each split's rows."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "x.parquet")
    generate_examples(folder / "out", "x.parquet", folder, **kwargs)
    return splits_of(folder)


def splits_of(folder):
    manifest = read_manifest(folder / "out")
    return {split: read_table(folder / "out", split).to_pandas() for split in manifest.splits}


def leakage(folder):
    return read_manifest(folder / "out").leakage


def refusal(folder, frame, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate(folder, frame, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


@pytest.fixture
def visits():
    """2,000 visits of 100 customers over 50 days."""
    draw = np.random.default_rng(1)
    days = pd.Timestamp("2013-01-01") + pd.to_timedelta(draw.integers(0, 50, 2000), "D")
    return pd.DataFrame(
        {
            "id": np.arange(2000),
            "day": days.astype("datetime64[ns]"),
            "customer": draw.integers(0, 100, 2000),
            "label": draw.choice(["no", "yes", None], 2000, p=[0.93, 0.05, 0.02]),
        }
    )


ORDER = ["train", "eval", "test"]
THREE = {"train": 6, "eval": 2, "test": 2}


@pytest.mark.parametrize("kind", ["text", "timestamp", "date", "number"])
def test_cut_points_part_the_rows_by_time(tmp_path, visits, kind):
    cuts = {"number": [30.0, 40.0]}.get(kind, ["2013-01-31", "2013-02-10"])
    days = visits["day"]
    visits["when"] = {
        "text": days.dt.strftime("%Y-%m-%d"),
        "timestamp": days,
        "date": days.dt.date,
        "number": (days - days.min()).dt.days,
    }[kind]
    by_time = {"time": "when", "order": ORDER, "cuts": cuts}
    splits = generate(tmp_path, visits, splits=THREE, split_by=by_time)
    first, second = datetime.datetime(2013, 1, 31), datetime.datetime(2013, 2, 10)
    expected = {
        "train": days < first,
        "eval": (days >= first) & (days < second),
        "test": days >= second,
    }
    for split, chosen in expected.items():
        assert sorted(splits[split]["id"]) == sorted(visits["id"][chosen])


def test_shares_by_time_keep_the_order_and_equal_times_together(tmp_path, visits):
    splits = generate(tmp_path, visits, splits=THREE, split_by={"time": "day", "order": ORDER})
    assert splits["train"]["day"].max() < splits["eval"]["day"].min()
    assert splits["eval"]["day"].max() < splits["test"]["day"].min()
    # A day has about 40 of the 2,000 rows.
    for split, share in {"train": 0.6, "eval": 0.2, "test": 0.2}.items():
        assert abs(len(splits[split]) / 2000 - share) < 0.03
    cuts = read_manifest(tmp_path / "out").source["cuts"]
    assert cuts == {split: str(splits[split]["day"].min()) for split in ("eval", "test")}


def test_strata_have_the_same_shares_in_every_split(tmp_path, visits):
    splits = generate(tmp_path, visits, splits=THREE, split_by={"stratify": "label"})
    for label, rows in visits.fillna("none").groupby("label").size().items():
        for split, share in {"train": 0.6, "eval": 0.2, "test": 0.2}.items():
            found = (splits[split]["label"].fillna("none") == label).sum()
            assert abs(found - share * rows) <= 1, (label, split)
    assert sorted(pd.concat(splits.values())["id"]) == list(range(2000))


def test_a_column_may_name_the_split(tmp_path, visits):
    visits["part"] = np.where(visits["id"] % 3 == 0, "eval", "train")
    splits = generate(tmp_path, visits, split_by={"column": "part"})
    assert sorted(splits["eval"]["id"]) == list(range(0, 2000, 3))


def test_a_column_that_names_no_split_is_refused(tmp_path, visits):
    visits["part"] = np.where(visits["id"] == 7, "test", "train")
    assert refusal(tmp_path, visits, split_by={"column": "part"}) == (
        "Column 'part' of x.parquet has 'test', which is no split; there are eval, train, so "
        "correct it or add it to splits."
    )
    visits["part"] = np.where(visits["id"] == 7, None, "train")
    assert refusal(tmp_path, visits, split_by={"column": "part"}) == (
        "Column 'part' has a missing value in x.parquet, so that its row falls in no split; fill "
        "it in, or filter such rows."
    )


def test_folds_part_the_rows_evenly_and_keep_groups(tmp_path, visits):
    splits = generate(tmp_path, visits, split_by={"folds": 5.0})
    assert list(splits) == [f"fold-{n}" for n in range(5)]
    assert all(320 < len(rows) < 480 for rows in splits.values())
    splits = generate(tmp_path, visits, split_by={"folds": 11}, split_columns=["customer"])
    assert next(iter(splits)) == "fold-00"
    customers = [set(rows["customer"]) for rows in splits.values()]
    assert sum(map(len, customers)) == 100


def test_files_of_each_split_are_predefined_splits(tmp_path, visits):
    for split, rows in (("train", visits[:1500]), ("eval", visits[1500:])):
        for span in (1, 2):
            (tmp_path / split).mkdir(exist_ok=True)
            rows[span - 1 :: 2].to_csv(tmp_path / split / f"{span}.csv", index=False)
    patterns = {split: split + "/{SPAN}.csv" for split in ("train", "eval")}
    generate_examples(tmp_path / "out", "", tmp_path, patterns=patterns, window={"last": 2})
    splits = splits_of(tmp_path)
    assert sorted(splits["train"]["id"]) == list(range(1500))
    assert sorted(splits["eval"]["id"]) == list(range(1500, 2000))
    manifest = read_manifest(tmp_path / "out")
    assert manifest.source["patterns"] == patterns
    assert [(f["split"], f["span"]) for f in manifest.source["files"]] == [
        ("eval", 1),
        ("eval", 2),
        ("train", 1),
        ("train", 2),
    ]
    assert manifest.leakage == {"duplicate_rows": 0}


def test_groups_and_late_rows_are_counted(tmp_path, visits):
    visits["part"] = np.where(visits["id"] < 1500, "train", "eval")
    check = {"groups": ["customer"], "time": "day"}
    splits = generate(tmp_path, visits, leakage=check, split_by={"column": "part"})
    train, rest = splits["train"], splits["eval"]
    assert leakage(tmp_path) == {
        "duplicate_rows": 0,
        "duplicate_groups": len(set(train["customer"]) & set(rest["customer"])),
        "late_rows": int((train["day"] >= rest["day"].min()).sum()),
    }


def test_equal_rows_in_two_splits_are_counted(tmp_path):
    for name, numbers in (("train", [1, 1, 2, 3, 5]), ("eval", [1, 5, 7, 7])):
        pd.DataFrame({"n": numbers}).to_csv(tmp_path / f"{name}.csv", index=False)
    patterns = {"train": "train.csv", "eval": "eval.csv"}
    metadata = generate_examples(tmp_path / "out", "", tmp_path, patterns=patterns)
    # 1, 1 and 5 in train, 1 and 5 in eval.
    assert metadata["leakage"] == leakage(tmp_path) == {"duplicate_rows": 5}
    assert metadata["summary"].endswith("; 5 leaks between splits")
    with pytest.raises(PenstockError) as error:
        generate_examples(
            tmp_path / "no", "", tmp_path, patterns=patterns, leakage={"policy": "fail"}
        )
    assert str(error.value) == (
        "The splits leak into each other: 5 rows with an equal in another split; remove such rows, "
        'divide by group or time, or set the leakage policy to "count".'
    )
    assert not (tmp_path / "no").exists()
    skip = {"policy": "skip"}
    generate_examples(tmp_path / "out", "", tmp_path, patterns=patterns, leakage=skip)
    assert leakage(tmp_path) == {}


def test_a_time_split_has_no_late_rows_and_a_hash_split_has(tmp_path, visits):
    check = {"time": "day", "policy": "fail"}
    generate(
        tmp_path, visits, splits=THREE, split_by={"time": "day", "order": ORDER}, leakage=check
    )
    assert leakage(tmp_path) == {"duplicate_rows": 0, "late_rows": 0}
    visits["day"] = visits["day"].dt.strftime("%Y-%m-%d")
    other = tmp_path / "other"
    other.mkdir()
    sentence = refusal(other, visits, leakage=check)
    assert "training rows no earlier than the other splits begin" in sentence


def test_groups_of_a_split_by_group_do_not_leak(tmp_path, visits):
    check = {"groups": ["customer"], "policy": "fail"}
    generate(tmp_path, visits, split_columns=["customer"], leakage=check)
    assert leakage(tmp_path) == {"duplicate_rows": 0, "duplicate_groups": 0}
    assert "groups in several splits" in refusal_elsewhere(tmp_path, visits, leakage=check)


def refusal_elsewhere(tmp_path, frame, **kwargs):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return refusal(folder, frame, **kwargs)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"split_by": {"by": "day"}}, "split_by has the unknown key 'by'; give one of time,"),
        ({"split_by": {"order": ORDER}}, "split_by needs one kind of rule; give one of time,"),
        ({"split_by": {"folds": 1}}, "split_by gives folds as 1; expected a whole number from 2"),
        ({"split_by": {"stratify": ""}}, "split_by gives stratify as ''; expected the name of a"),
        (
            {"split_by": {"stratify": "label"}, "split_columns": ["id"]},
            "split_columns means nothing beside split_by stratify; leave one of the two out.",
        ),
        (
            {"split_by": {"stratify": "labels"}},
            "split_by's stratify names 'labels', which is no column of the data; there are id,",
        ),
        (
            {"split_by": {"time": "day"}},
            "split_by gives order as None; expected the splits eval, train, from the earliest",
        ),
        (
            {"split_by": {"time": "day", "order": ["train", "eval"], "cuts": []}},
            "split_by gives cuts as []; expected a list of 1, the first time of each split",
        ),
        (
            {"split_by": {"time": "day", "order": ["train", "eval"], "cuts": ["May"]}},
            "split_by's cuts ['May'] are no values of 'day', which is timestamp",
        ),
        (
            {"splits": THREE, "split_by": {"time": "id", "order": ORDER, "cuts": [9, 2]}},
            "split_by's cuts [9, 2] do not ascend; give them from early to late.",
        ),
        ({"leakage": {"on": 1}}, "leakage has the unknown key 'on'; known are policy, groups,"),
        ({"leakage": {"policy": "x"}}, "leakage gives policy as 'x'; expected count, fail, skip."),
        ({"leakage": {"groups": "id"}}, "leakage gives groups as 'id'; expected a list of"),
        ({"leakage": {"time": "x"}}, "leakage names 'x', which is no column of the data;"),
        (
            {"leakage": {"time": "day", "train": "fit"}},
            "leakage names the split 'fit' to train on; there are eval, train.",
        ),
        (
            {"patterns": {"train": "x.parquet"}},
            "Both pattern and patterns are given; give one:",
        ),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, visits, parameters, sentence):
    assert refusal(tmp_path, visits[:9], **parameters).startswith(sentence)


def test_neither_pattern_nor_patterns_is_refused(tmp_path):
    with pytest.raises(PenstockError, match="Neither pattern nor patterns is given"):
        generate_examples(tmp_path / "out", "")
