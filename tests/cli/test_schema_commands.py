"""`penstock schema` as a person meets it: words, files and exit codes."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.data.digest import digest_path

REVIEWED = """\
# Reviewed.
default_environment: "TRAINING"
default_environment: "SERVING"
feature { name: "distance" type: INT int_domain { min: 1 max: 10 } }
feature { name: "carrier" type: BYTES domain: "carrier" }
feature { name: "late" type: INT not_in_environment: "SERVING" }
string_domain {
  name: "carrier"
  value: "AA"
}
"""


@pytest.fixture
def here(tmp_path):
    (tmp_path / "reviewed.pbtxt").write_text(REVIEWED)
    return tmp_path


def penstock(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", "schema", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_infer_then_show_then_check(here):
    rows = {"distance": [1, 5, 9], "carrier": ["AA", "UA", "AA"], "late": [0, 1, 0]}
    pq.write_table(pa.table(rows), here / "flights.parquet")

    done = penstock(
        here, "infer", "flights.parquet", "--ranges", "--label", "late", "-o", "new.pbtxt"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "Wrote new.pbtxt.\n", "")
    shown = penstock(here, "show", "new.pbtxt")
    assert f"Digest: {digest_path(here / 'new.pbtxt')}" in shown.stdout
    described = json.loads(penstock(here, "show", "new.pbtxt", "--json").stdout)
    assert described["digest"] == digest_path(here / "new.pbtxt")
    distance, carrier, late = described["features"]
    assert (distance["domain"], distance["presence"]) == ("1 to 9", "required")
    assert (carrier["domain"], late["environments"]) == ("AA, UA", "TRAINING")
    checked = penstock(here, "check", "new.pbtxt", "--label", "late")
    assert (checked.returncode, checked.stdout) == (0, "new.pbtxt: no errors.\n")


def test_diff_with_data_is_a_patch_and_changes_nothing(here):
    (here / "new.csv").write_text("distance,carrier,late\n3,AA,0\n99,B6,1\n")

    done = penstock(here, "diff", "reviewed.pbtxt", "new.csv")

    assert (done.returncode, done.stderr) == (1, "")
    assert "proposed by new.csv (2 rows)" in done.stdout
    assert (here / "reviewed.pbtxt").read_text() == REVIEWED
    subprocess.run(["git", "init", "-q"], cwd=here, check=True)
    subprocess.run(["git", "apply", "-"], cwd=here, input=done.stdout, text=True, check=True)
    changed = REVIEWED.replace("max: 10", "max: 99").replace('"AA"\n', '"AA"\n  value: "B6"\n')
    assert (here / "reviewed.pbtxt").read_text() == changed
    again = penstock(here, "diff", "reviewed.pbtxt", "new.csv")
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "No differences between reviewed.pbtxt and new.csv.\n"


def test_diff_of_two_schemas(here):
    (here / "other.pbtxt").write_text(REVIEWED.replace("max: 10", "max: 20"))

    done = penstock(here, "diff", "reviewed.pbtxt", "other.pbtxt", "--json")

    assert done.returncode == 1
    described = json.loads(done.stdout)
    assert described["changes"] == [
        {"place": "distance", "kind": "changed", "what": "int_domain.max: 10 -> 20"}
    ]
    assert '+feature { name: "distance"' in described["diff"]


def test_merge_names_contradictions_until_each_is_decided(here):
    (here / "other.pbtxt").write_text(
        'feature { name: "distance" type: FLOAT int_domain { max: 20 } } feature { name: "new" }'
    )

    done = penstock(here, "merge", "reviewed.pbtxt", "other.pbtxt", "-o", "merged.pbtxt")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "distance.type: INT in the first, FLOAT in the second; undecided\n"
        "distance.int_domain.max: 10 in the first, 20 in the second; undecided\n"
        "penstock: 2 contradictions undecided, so nothing was written; decide each by --choose "
        "PLACE=RULE, or all by --rule.\n"
    )
    assert not (here / "merged.pbtxt").exists()
    choose = ("--rule", "wider", "--choose", "distance.type=first", "-o", "merged.pbtxt")
    done = penstock(here, "merge", "reviewed.pbtxt", "other.pbtxt", *choose)
    assert (done.returncode, done.stdout) == (0, "Wrote merged.pbtxt.\n")
    merged = (here / "merged.pbtxt").read_text()
    assert merged.startswith("# Reviewed.")
    assert "max: 20" in merged
    assert 'name: "new"' in merged


def test_check_names_errors_with_exit_code_1(here):
    (here / "bad.pbtxt").write_text('feature { name: "x" type: INT int_domain { min: 2 max: 1 } }')

    done = penstock(here, "check", "bad.pbtxt")

    assert done.returncode == 1
    assert done.stdout == (
        "error: x: int_domain has min 2 above max 1; swap or mend them. [min-above-max]\n"
        "bad.pbtxt: 1 error, 0 warnings.\n"
    )
    listed = json.loads(penstock(here, "check", "bad.pbtxt", "--json").stdout)
    assert [finding["rule"] for finding in listed] == ["min-above-max"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "none.pbtxt"), "There is no schema at none.pbtxt; give a file in text form"),
        (("check", "text.pbtxt"), "text.pbtxt is not a schema (line 1, column 1: "),
        (("infer", "none.csv"), "There is nothing at none.csv; give a schema"),
        (("infer", "reviewed.pbtxt"), "reviewed.pbtxt is taken for a schema, not for data"),
        (("infer", "empty"), "There are no statistics at empty"),
        (("diff", "reviewed.pbtxt", "none.pbtxt"), "There is nothing at none.pbtxt"),
        (("merge", "reviewed.pbtxt", "reviewed.pbtxt", "--choose", "x"), "write PLACE=RULE"),
    ],
)
def test_wrong_inputs_are_one_sentence_and_exit_code_2(here, arguments, sentence):
    (here / "text.pbtxt").write_text("hello: 1")
    (here / "empty").mkdir()

    done = penstock(here, *arguments)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
