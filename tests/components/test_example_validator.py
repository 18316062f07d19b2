import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv

from penstock.components.artifacts import Anomalies, Examples, Schema, Statistics, dsl
from penstock.components.example_validator.component import example_validator
from penstock.errors import PenstockError

from .conftest import write_examples
from .validating import statistics_of, validate

GOOD = pa.table(
    {
        "distance": [100, 200, 300, 400],
        "delay": [0.5, 1.5, 2.5, 3.5],
        "carrier": ["UA", "AA", "UA", "AA"],
        "late": [0, 1, 0, 1],
    }
)
SCHEMA = """
default_environment: "TRAINING"
default_environment: "SERVING"
feature {
  name: "distance" type: INT presence { min_fraction: 1 min_count: 1 }
  shape { dim { size: 1 } } int_domain { min: 100 max: 400 }
}
feature { name: "delay" type: FLOAT presence { min_count: 1 } float_domain { min: 0 max: 60 } }
feature {
  name: "carrier" type: BYTES presence { min_count: 1 }
  string_domain { name: "carrier" value: "UA" value: "AA" }
}
feature {
  name: "late" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } }
  not_in_environment: "SERVING"
}
"""
CLEAN = {"verdict": "pass", "rows": 4, "quarantined": 0, "anomalies": [], "comparisons": []}


def assign(**columns):
    """GOOD with other columns."""
    return pa.table({**{name: GOOD[name] for name in GOOD.column_names}, **columns})


def test_data_that_fits_the_schema_passes(tmp_path):
    done = validate(tmp_path, {"train": GOOD, "eval": GOOD.slice(0, 2)}, SCHEMA)
    assert done.sentence is None
    assert done.verdict == {
        "verdict": "pass",
        "environment": "",
        "spans": [],
        "source": [],
        "notes": ["Without examples, no rows are named and none counted."],
        "splits": {"eval": CLEAN | {"rows": 2}, "train": CLEAN},
    }
    assert done.metadata == {
        "summary": "4 features, no anomalies in eval, train",
        "verdict": "pass",
        "anomalies": 0,
        "quarantined": 0,
    }
    file = tmp_path / "anomalies" / "Split-train" / "anomalies.pbtxt"
    assert not tfdv.load_anomalies_text(str(file)).anomaly_info


def test_what_tfdv_found_is_kept_and_only_the_broken_split_fails(tmp_path):
    broken = assign(carrier=["UA", "AA", "ZZ", "UA"])
    done = validate(tmp_path, {"train": GOOD, "eval": broken}, SCHEMA)
    assert done.verdict["verdict"] == done.verdict["splits"]["eval"]["verdict"] == "fail"
    assert done.verdict["splits"]["train"] == CLEAN
    file = tmp_path / "anomalies" / "Split-eval" / "anomalies.pbtxt"
    assert list(tfdv.load_anomalies_text(str(file)).anomaly_info) == ["carrier"]
    assert done.sentence == (
        "The data did not pass validation: split 'eval', feature 'carrier': Examples contain "
        "values missing from the schema: ZZ (~25%) [ENUM_TYPE_UNEXPECTED_STRING_VALUES]; mend the "
        "data or the schema, or change the policy (everything found is in "
        f"{tmp_path}/anomalies/verdict.json)."
    )


def test_with_examples_the_sentence_names_share_and_first_rows(tmp_path):
    broken = assign(carrier=["UA", "ZZ", "ZZ", "UA"])
    done = validate(tmp_path, {"eval": broken}, SCHEMA, write_examples=write_examples)
    assert (
        "ZZ (~50%) [ENUM_TYPE_UNEXPECTED_STRING_VALUES], 2 rows (50.0%), first at "
        "Split-eval/part-00000.parquet, row 1; Split-eval/part-00000.parquet, row 2; mend"
    ) in done.sentence


def test_the_sentence_names_three_anomalies_and_counts_the_others(tmp_path):
    done = validate(tmp_path, {"train": pa.table({"x": [1]})}, SCHEMA)
    assert done.sentence.count("split 'train'") == 3
    assert "; and 2 more; mend the data" in done.sentence


@pytest.mark.parametrize("with_examples", [False, True])
def test_a_split_without_rows_stops_the_step(tmp_path, with_examples):
    writer = write_examples if with_examples else None
    splits = {"train": GOOD, "eval": GOOD.slice(0, 0)}
    done = validate(tmp_path, splits, SCHEMA, write_examples=writer)
    assert done.verdict["splits"]["eval"]["verdict"] == "fail"
    assert list(done.anomalies("eval")) == [(None, "SPLIT_EMPTY")]
    assert done.sentence.startswith(
        "The data did not pass validation: split 'eval': The split has no rows [SPLIT_EMPTY]; mend"
    )


def test_warn_in_place_of_fail_records_and_goes_on(tmp_path):
    splits = {"train": assign(gate=[1, 2, 3, 4]), "eval": GOOD.slice(0, 0), "test": GOOD}
    done = validate(tmp_path, splits, SCHEMA, "on_anomalies: warn")
    assert done.sentence is None
    assert {name: split["verdict"] for name, split in done.verdict["splits"].items()} == {
        "eval": "warn",
        "test": "pass",
        "train": "warn",
    }
    assert done.metadata == {
        "summary": (
            "5 features, 1 anomaly (warning) in eval: SPLIT_EMPTY; 1 anomaly (warning) in train: "
            "gate; no anomalies in test"
        ),
        "verdict": "warn",
        "anomalies": 2,
        "quarantined": 0,
    }


def test_a_feature_may_be_absent_in_an_environment_alone(tmp_path):
    serving = GOOD.drop(["late"])
    done = validate(tmp_path / "1", {"all": serving}, SCHEMA, environment="SERVING")
    assert (done.verdict["verdict"], done.sentence) == ("pass", None)
    done = validate(tmp_path / "2", {"all": serving}, SCHEMA, environment="TRAINING")
    assert list(done.anomalies("all")) == [("late", "SCHEMA_MISSING_COLUMN")]


def test_an_unknown_environment_is_refused_beside_the_known(tmp_path):
    done = validate(tmp_path, {"train": GOOD}, SCHEMA, environment="PROD")
    assert done.verdict is None
    assert done.sentence == (
        "The schema has no environment 'PROD' (it has SERVING, TRAINING); use one of these or add "
        "it to the schema's default_environment."
    )


def test_an_environment_that_only_a_feature_names_is_refused(tmp_path):
    schema = 'feature { name: "x" type: INT in_environment: "DEV" }'
    done = validate(tmp_path, {"train": pa.table({"x": [1]})}, schema, environment="DEV")
    assert done.sentence.startswith("The schema has no environment 'DEV' (it has none)")


def test_splits_that_the_other_side_lacks_are_refused(tmp_path):
    both = {"train": GOOD, "eval": GOOD}
    done = validate(tmp_path, {"test": GOOD}, SCHEMA, previous=both)
    assert done.sentence == (
        "The previous statistics have no split 'test' to compare with (they have eval, train); "
        "give statistics of the same splits, or of a single one."
    )


def test_an_anomaly_says_since_when_it_has_been_there(tmp_path):
    # Given: three validations in a row; the column is new in the second
    first = validate(tmp_path / "1", {"all": GOOD}, SCHEMA, write_examples=write_examples)
    new = {"all": assign(gate=[1, 2, 3, 4])}
    warn = "on_anomalies: warn"
    validate(tmp_path / "2", new, SCHEMA, warn, write_examples=write_examples, before=first.folder)
    # When
    third = validate(
        tmp_path / "3", new, SCHEMA, warn, write_examples=write_examples, before=tmp_path / "2"
    )
    # Then: conftest's examples are of the spans 1 and 2
    anomaly = third.anomalies("all")["gate", "SCHEMA_NEW_COLUMN"]
    assert (anomaly["times"], anomaly["since_span"]) == (2, 2)
    assert "For 2 verdicts in a row, since span 2." in (tmp_path / "3" / "report.html").read_text()


def test_previous_anomalies_that_are_none_are_refused(tmp_path):
    (tmp_path / "before" / "anomalies").mkdir(parents=True)
    (tmp_path / "before" / "anomalies" / "verdict.json").write_text("{}")
    done = validate(tmp_path / "now", {"all": GOOD}, SCHEMA, before=tmp_path / "before")
    assert done.sentence.startswith("There is no verdict of example_validator at ")
    assert done.verdict is None


@pytest.fixture
def inputs(tmp_path):
    """Artifacts of data with a new column, as the component takes them."""
    table = assign(gate=[1, 2, 3, 4])
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    file = tmp_path / "statistics" / "Split-train" / "stats.binpb"
    file.write_bytes(statistics_of(table).SerializeToString())
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    write_examples(tmp_path / "examples", {"train": table})
    return {
        "statistics": Statistics(uri=str(tmp_path / "statistics")),
        "schema": Schema(uri=str(tmp_path)),
        "examples": Examples(uri=str(tmp_path / "examples")),
        "anomalies": Anomalies(uri=str(tmp_path / "anomalies")),
        "cleaned_examples": Examples(uri=str(tmp_path / "cleaned")),
        "report": dsl.HTML(uri=str(tmp_path / "report.html")),
        "findings": dsl.Markdown(uri=str(tmp_path / "findings.md")),
    }


def test_the_component_writes_all_it_found_and_then_fails(inputs, tmp_path):
    with pytest.raises(PenstockError, match="feature 'gate': New column"):
        example_validator.python_func(**inputs)
    assert (tmp_path / "anomalies" / "verdict.json").is_file()
    assert "The data failed" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "findings.md").read_text().startswith("## The data failed")
    # The examples are for a pipeline that goes on.
    assert not (tmp_path / "cleaned").exists()


def test_the_component_takes_the_policy_as_text(inputs):
    policy = "severities: { SCHEMA_NEW_COLUMN: warn }"
    example_validator.python_func(**inputs, policy=policy)
    assert inputs["anomalies"].metadata["verdict"] == "warn"
    assert inputs["cleaned_examples"].metadata["quarantined"] == 0


def test_without_examples_the_cleaned_examples_are_an_empty_folder(inputs, tmp_path):
    del inputs["examples"]
    example_validator.python_func(**inputs, policy="on_anomalies: warn")
    assert list((tmp_path / "cleaned").iterdir()) == []
