"""The policy: what it changes, how its mistakes are told, and rules as SQL."""

import json
import re
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from penstock.components.example_validator.anomaly_types import ANOMALY_TYPES, SEVERITIES, table
from penstock.components.example_validator.policy import Policy, Ruling, parse_policy
from penstock.errors import PenstockError

from .conftest import write_examples
from .validating import validate

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "validation.md").read_text()
SHAPE = json.loads(
    resources.files("penstock.schemas").joinpath("data_policy.schema.json").read_text()
)


def test_empty_text_and_comments_are_the_default_policy():
    assert parse_policy("") == parse_policy("# nothing yet\n") == Policy()


def test_types_features_and_splits_choose_the_severity_and_the_last_exception_counts():
    policy = parse_policy(
        """
        severities: {INT_TYPE_BIG_INT: warn}
        overrides:
          - {features: ["dep_*"], severity: fail}
          - {types: ["INT_*"], splits: [eval], tolerate: 0.1}
          - {features: [dep_delay], types: [INT_TYPE_BIG_INT], severity: ignore}
        """
    )
    assert policy.ruling("INT_TYPE_BIG_INT", "air_time", "train") == Ruling("warn", 0)
    assert policy.ruling("INT_TYPE_BIG_INT", "dep_time", "train") == Ruling("fail", 0)
    assert policy.ruling("INT_TYPE_BIG_INT", "dep_time", "eval") == Ruling("fail", 0.1)
    assert policy.ruling("INT_TYPE_BIG_INT", "dep_delay", "eval") == Ruling("ignore", 0.1)
    assert policy.ruling("SCHEMA_NEW_COLUMN", "air_time", "train") == Ruling("fail", 0)
    assert policy.ruling("SEMANTIC_DOMAIN_UPDATE", "air_time", "train") == Ruling("warn", 0)
    assert policy.ruling("A_TYPE_OF_A_LATER_TFDV", None, "train") == Ruling("fail", 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "The data policy is not YAML (line 1, column 5): expected the node content"),
        ("[1]", "The data policy, line 1: [1] does not fit; give a mapping."),
        ("\nsampel_rows: 3", "line 2, sampel_rows: there is no such key; there are on_anomalies"),
        ("sampel_rows: 3", "(did you mean sample_rows?)"),
        ("on_anomalies: stop", "on_anomalies: 'stop' does not fit; give one of fail, warn."),
        (
            "severities:\n  SCHEMA_NEW_COLUMN: wran",
            "line 2, severities.SCHEMA_NEW_COLUMN: 'wran' does",
        ),
        ("severities: {NEW_COLUMN: warn}", "there is no anomaly type 'NEW_COLUMN'"),
        ("severities: {SCHEMA_NEW_COLUM: warn}", "(did you mean SCHEMA_NEW_COLUMN?)"),
        ("severities: {SPLIT_EMPTY: quarantine}", "SPLIT_EMPTY is not about single rows"),
        ("severities: {A: warn, A: fail}", "line 1, severities.A: the key is given twice"),
        ("overrides:\n - {features: [a]}", "line 2, overrides[0]: it changes nothing; give a sev"),
        (
            "overrides:\n - {types: [X*], severity: warn}",
            "overrides[0].types[0]: no anomaly type fits",
        ),
        (
            "overrides:\n - features: a\n   tolerate: 1",
            "line 2, overrides[0].features: 'a' does not",
        ),
        ("overrides:\n - tolerate: 2", "2 does not fit; give a number at least 0 and at most 1."),
        ("row_rules:\n - name: a", "line 2, row_rules[0]: sql is missing; add sql."),
        ("row_rules: [{name: a b, sql: x}]", "'a b' does not fit; give letters, digits, - and _"),
        (
            "row_rules: [{name: a, sql: x}, {name: a, sql: y}]",
            "row_rules[1].name: 'a' is the name of",
        ),
        (
            "statistics_rules: [{name: a, sql: x, severity: quarantine}]",
            "give one of ignore, warn, fail",
        ),
        ("drift_rules: [{measure: psy}]", "drift_rules[0]: There is no drift measure 'psy'"),
        ("a: &a [*a]", "The data policy holds itself by an alias; write it out."),
        ("sample_rows: 1.5", "sample_rows: 1.5 does not fit; give a whole number."),
        (
            "x: !!python/object/apply:os.system [ls]",
            "is not YAML (line 1, column 4): could not det",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(text, sentence):
    with pytest.raises(PenstockError, match=re.escape(sentence)):
        parse_policy(text)


def test_the_json_schema_and_the_table_know_the_same_severities():
    assert set(SHAPE["$defs"]["severity"]["enum"]) == set(SEVERITIES)
    assert {kind.severity for kind in ANOMALY_TYPES.values()} <= set(SEVERITIES)


def test_the_document_shows_the_table_of_types_as_it_is():
    _, _, shown = DOCUMENT.partition("<!-- the table of anomaly_types.py -->\n")
    assert shown == table()


def test_the_document_shows_a_policy_that_parses_and_every_key():
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)
    parse_policy(text)
    assert set(yaml.safe_load(text)) == set(SHAPE["properties"])


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        ("row_rules: [{name: a, sql: x > 1}]", "row_rules"),
        ("severities: {INT_TYPE_BIG_INT: quarantine}", "severity quarantine"),
        ("overrides: [{tolerate: 0.1}]", "tolerate"),
    ],
)
def test_what_needs_rows_is_refused_without_examples(tmp_path, policy, key):
    done = validate(tmp_path, {"all": NUMBERS}, SCHEMA, policy)
    assert done.sentence == (
        f"The data policy has {key}, which needs the rows; give the step the examples too."
    )
    assert done.verdict is None


NUMBERS = pa.table({"x": [1, 2, 3, None], "s": ["a", "b", "c", "d"]})
SCHEMA = 'feature { name: "x" type: INT } feature { name: "s" type: BYTES }'


def by_rows(tmp_path, sql, **more):
    policy = "row_rules:\n - name: mine\n   sql: |\n     " + sql.replace("\n", "\n     ")
    return validate(
        tmp_path, {"all": NUMBERS}, SCHEMA, policy, write_examples=write_examples, **more
    )


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("x < 3", [2]),
        ("x < 3 -- a comment", [2]),
        ("x IS NOT NULL AND x < 3", [2, 3]),
        ("count(*) OVER (PARTITION BY x % 2) = 1", [0, 2]),
        ("x <= (SELECT avg(x) FROM examples)", [2]),
        ("s NOT LIKE 'b%'", [1]),
        ("true", []),
    ],
)
def test_a_row_breaks_a_rule_where_it_is_false(tmp_path, sql, rows):
    done = by_rows(tmp_path, sql)
    if not rows:
        assert done.verdict["verdict"] == "pass"
        return
    anomaly = done.anomalies("all")[None, "mine"]
    assert (anomaly["type"], anomaly["offending"]) == ("ROW_RULE", len(rows))
    assert [row["row"] for row in done.rows("offending_rows.parquet", "all")] == rows


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("x >", "syntax error"),
        ("x", "its value is BIGINT, not true or false"),
        ("y > 1", 'Referenced column "y" not found'),
        ("avg(x) > 1", "GROUP BY"),
        ("true) FROM examples --", "syntax error"),
        ("x > 1; DROP VIEW examples", "syntax error"),
        ("true), (false", "it is more than one expression"),
        ("true) FROM (SELECT 1", "it is more than one expression"),
        (
            "(SELECT count(*) FROM read_csv('/etc/passwd')) = 0",
            "file system operations are disabled",
        ),
        ("(SELECT count(*) FROM read_text('{secret}')) = 0", "file system operations are disabled"),
        ("(SELECT count(*) FROM 'https://example.org/x.csv') = 0", "disabled"),
        ("getenv('HOME') = ''", "does not exist"),
    ],
)
def test_sql_that_is_no_rule_or_reaches_out_is_refused(tmp_path, sql, reason):
    (tmp_path / "secret.txt").write_text("secret")
    done = by_rows(tmp_path / "work", sql.format(secret=tmp_path / "secret.txt"))
    assert done.sentence.startswith("The rule 'mine' of the data policy, ")
    assert reason in done.sentence
    assert done.sentence.count("\n") == 0
    assert done.verdict is None


def test_a_rule_that_some_row_breaks_down_on_is_named(tmp_path):
    done = by_rows(tmp_path, "CAST(s AS INTEGER) > 0")
    assert done.sentence == (
        "The rule 'mine' cannot be computed for every row (Could not convert string 'a' to INT32 "
        "when casting from source column s); mend it, such as with try_cast in place of a cast."
    )


def test_a_rule_is_for_the_splits_it_names(tmp_path):
    policy = "row_rules: [{name: mine, sql: x < 0, splits: ['tr*'], description: Below zero}]"
    splits = {"train": NUMBERS, "eval": NUMBERS}
    done = validate(tmp_path, splits, SCHEMA, policy, write_examples=write_examples)
    assert list(done.anomalies("train")) == [(None, "mine")]
    assert list(done.anomalies("eval")) == []
    assert (
        "split 'train': Below zero [mine], 3 rows (75.0%), first at "
        "Split-train/part-00000.parquet, row 0; Split-train/part-00000.parquet, row 1; Split-train/"
        in done.sentence
    )


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ('missing = 0 OR "rows" > 4', ["x"]),
        ("mean > 5", ["x"]),
        ('"distinct" <> 4', ["s"]),
        ("mean >= (SELECT p.mean FROM previous p WHERE p.feature = statistics.feature)", ["x"]),
        ("(SELECT count(*) FROM serving) = 0", []),
    ],
)
def test_a_statistics_rule_names_the_features_that_break_it(tmp_path, sql, broken):
    policy = f"statistics_rules: [{{name: mine, sql: {json.dumps(sql)}}}]\ndrift_rules: []"
    previous = {"all": pa.table({"x": [9, 9], "s": ["a", "b"]})}
    done = validate(tmp_path, {"all": NUMBERS}, SCHEMA, policy, previous=previous)
    assert list(done.anomalies("all")) == [(feature, "mine") for feature in broken]


def test_a_statistics_rule_is_for_the_features_it_names(tmp_path):
    policy = "statistics_rules: [{name: mine, sql: 'false', features: ['s*'], severity: warn}]"
    done = validate(tmp_path, {"all": NUMBERS}, SCHEMA, policy)
    assert list(done.anomalies("all")) == [("s", "mine")]
    assert done.metadata["verdict"] == "warn"


def test_a_statistics_rule_that_is_none_is_refused(tmp_path):
    policy = "statistics_rules: [{name: mine, sql: nothing > 1}]"
    done = validate(tmp_path, {"all": NUMBERS}, SCHEMA, policy)
    assert done.sentence.startswith("The rule 'mine' of the data policy, nothing > 1, is no SQL")
