import json

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

from penstock.components.artifacts import Anomalies, Schema, Statistics
from penstock.components.example_validator.component import example_validator
from penstock.components.example_validator.executor import validate_examples
from penstock.errors import PenstockError

GOOD = pd.DataFrame(
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


@pytest.fixture
def validate(tmp_path):
    """Validates frames, one a split, and returns what was written and what was raised."""

    def run(*, schema=SCHEMA, on_anomalies="fail", environment="", **splits):
        for split, frame in splits.items():
            if len(frame):
                statistics = tfdv.generate_statistics_from_dataframe(frame)
            else:
                statistics = statistics_pb2.DatasetFeatureStatisticsList()
                statistics.datasets.add()
            statistics.datasets[0].name = split
            folder = tmp_path / "statistics" / f"Split-{split}"
            folder.mkdir(parents=True)
            (folder / "stats.binpb").write_bytes(statistics.SerializeToString())
        (tmp_path / "schema").mkdir()
        (tmp_path / "schema" / "schema.pbtxt").write_text(schema)
        metadata, sentence = None, None
        try:
            metadata = validate_examples(
                tmp_path / "statistics",
                tmp_path / "schema",
                tmp_path / "out",
                on_anomalies,
                environment,
            )
        except PenstockError as error:
            sentence = str(error)
        written = tmp_path / "out" / "verdict.json"
        verdict = json.loads(written.read_text()) if written.is_file() else None
        return verdict, metadata, sentence

    return run


def test_data_that_fits_the_schema_passes(validate, tmp_path):
    verdict, metadata, sentence = validate(train=GOOD, eval=GOOD[:2])
    assert sentence is None
    assert verdict == {
        "verdict": "pass",
        "splits": {
            "eval": {"verdict": "pass", "rows": 2, "anomalies": []},
            "train": {"verdict": "pass", "rows": 4, "anomalies": []},
        },
    }
    assert metadata == {
        "summary": "4 features, no anomalies in eval, train",
        "verdict": "pass",
        "anomalies": 0,
    }
    file = tmp_path / "out" / "Split-train" / "anomalies.pbtxt"
    assert not tfdv.load_anomalies_text(str(file)).anomaly_info


@pytest.mark.parametrize(
    ("broken", "feature", "kind"),
    [
        (GOOD.drop(columns="carrier"), "carrier", "SCHEMA_MISSING_COLUMN"),
        (GOOD.assign(gate=1), "gate", "SCHEMA_NEW_COLUMN"),
        (
            GOOD.assign(carrier=["UA", "AA", "ZZ", "UA"]),
            "carrier",
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
        ),
        (GOOD.assign(distance=[99, 200, 300, 400]), "distance", "INT_TYPE_SMALL_INT"),
        (GOOD.assign(distance=[100, 200, 300, 401]), "distance", "INT_TYPE_BIG_INT"),
        (GOOD.assign(delay=[-0.5, 1, 2, 3]), "delay", "FLOAT_TYPE_SMALL_FLOAT"),
        (GOOD.assign(delay=[60.5, 1, 2, 3]), "delay", "FLOAT_TYPE_BIG_FLOAT"),
        (GOOD.assign(distance=["a", "b", "c", "d"]), "distance", "UNEXPECTED_DATA_TYPE"),
        (GOOD.assign(distance=[100.5, 200, 300, 400]), "distance", "UNEXPECTED_DATA_TYPE"),
        (GOOD.assign(carrier=None), "carrier", "FEATURE_TYPE_NOT_PRESENT"),
    ],
)
def test_each_way_to_break_the_schema_stops_the_step(validate, tmp_path, broken, feature, kind):
    verdict, _, sentence = validate(train=GOOD, eval=broken)
    assert verdict["verdict"] == verdict["splits"]["eval"]["verdict"] == "fail"
    assert verdict["splits"]["train"] == {"verdict": "pass", "rows": 4, "anomalies": []}
    found = verdict["splits"]["eval"]["anomalies"]
    assert (feature, kind, "ERROR") in [(a["feature"], a["type"], a["severity"]) for a in found]
    assert {a["feature"] for a in found} == {feature}
    assert f"split 'eval', feature '{feature}': " in sentence
    file = tmp_path / "out" / "Split-eval" / "anomalies.pbtxt"
    assert list(tfdv.load_anomalies_text(str(file)).anomaly_info) == [feature]


def test_the_sentence_names_split_feature_finding_and_remedy(validate, tmp_path):
    _, _, sentence = validate(train=GOOD, eval=GOOD.assign(carrier=["UA", "AA", "ZZ", "UA"]))
    assert sentence == (
        "The data did not pass validation: split 'eval', feature 'carrier': Examples contain "
        "values missing from the schema: ZZ (~25%); mend the data or the schema, or set "
        f'on_anomalies to "warn" (everything found is in {tmp_path}/out/verdict.json).'
    )


def test_the_sentence_names_three_anomalies_and_counts_the_others(validate):
    _, _, sentence = validate(train=pd.DataFrame({"x": [1]}))
    assert sentence.count("split 'train'") == 3
    assert "; and 2 more; mend the data" in sentence


def test_a_missing_value_of_a_required_feature_is_found(validate):
    schema = SCHEMA.replace(
        'name: "carrier" type: BYTES presence { min_count: 1 }',
        'name: "carrier" type: BYTES presence { min_fraction: 1 }',
    )
    verdict, _, sentence = validate(
        schema=schema, train=GOOD.assign(carrier=["UA", None, "AA", "UA"])
    )
    (anomaly,) = verdict["splits"]["train"]["anomalies"]
    assert anomaly["type"] == "FEATURE_TYPE_LOW_FRACTION_PRESENT"
    assert "actual = 0.750000" in sentence


def test_a_split_without_rows_stops_the_step(validate):
    verdict, _, sentence = validate(train=GOOD, eval=GOOD[:0])
    assert verdict["splits"]["eval"] == {
        "verdict": "fail",
        "rows": 0,
        "anomalies": [
            {
                "feature": None,
                "type": "SPLIT_EMPTY",
                "severity": "ERROR",
                "short": "Split without rows",
                "description": "The split has no rows.",
            }
        ],
    }
    assert sentence.startswith(
        "The data did not pass validation: split 'eval': The split has no rows; mend the data"
    )


def test_a_constraint_on_the_whole_split_is_heeded(validate):
    schema = SCHEMA + "dataset_constraints { min_examples_count: 10 }"
    verdict, _, sentence = validate(schema=schema, train=GOOD)
    (anomaly,) = verdict["splits"]["train"]["anomalies"]
    assert (anomaly["feature"], anomaly["type"]) == (None, "DATASET_LOW_NUM_EXAMPLES")
    assert "split 'train': The dataset has 4 examples, which is fewer than expected;" in sentence


def test_warn_records_and_goes_on(validate):
    verdict, metadata, sentence = validate(
        on_anomalies="warn", train=GOOD.assign(gate=1), eval=GOOD[:0], test=GOOD
    )
    assert sentence is None
    assert verdict["verdict"] == "warn"
    assert {split: v["verdict"] for split, v in verdict["splits"].items()} == {
        "eval": "warn",
        "test": "pass",
        "train": "warn",
    }
    assert metadata == {
        "summary": (
            "5 features, 1 anomaly in eval (Split without rows); 1 anomaly in train (gate); "
            "no anomalies in test"
        ),
        "verdict": "warn",
        "anomalies": 2,
    }


def test_a_feature_may_be_absent_in_an_environment(validate):
    serving = GOOD.drop(columns="late")
    verdict, _, sentence = validate(environment="SERVING", serving=serving)
    assert (verdict["verdict"], sentence) == ("pass", None)


def test_the_same_feature_may_not_be_absent_in_the_other_environment(validate):
    verdict, _, _ = validate(environment="TRAINING", train=GOOD.drop(columns="late"))
    (anomaly,) = verdict["splits"]["train"]["anomalies"]
    assert (anomaly["feature"], anomaly["type"]) == ("late", "SCHEMA_MISSING_COLUMN")


def test_wrong_parameters_are_refused_before_anything_is_written(validate, tmp_path):
    verdict, _, sentence = validate(on_anomalies="ignore", train=GOOD)
    assert verdict is None
    assert sentence == (
        "on_anomalies is 'ignore'; use 'fail' to stop the pipeline or 'warn' to go on."
    )


def test_an_unknown_environment_is_refused_beside_the_known(validate):
    verdict, _, sentence = validate(environment="PROD", train=GOOD)
    assert verdict is None
    assert sentence == (
        "The schema has no environment 'PROD' (it has SERVING, TRAINING); use one of these or add "
        "it to the schema's default_environment."
    )


def test_a_schema_that_is_none_is_refused(validate, tmp_path):
    verdict, _, sentence = validate(schema="feature {", train=GOOD)
    assert verdict is None
    assert sentence.startswith(f"{tmp_path}/schema/schema.pbtxt is not a schema (line 1, column")


def test_the_component_writes_its_output_and_then_fails(tmp_path):
    statistics = tfdv.generate_statistics_from_dataframe(GOOD.assign(gate=1))
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    file = tmp_path / "statistics" / "Split-train" / "stats.binpb"
    file.write_bytes(statistics.SerializeToString())
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    inputs = {
        "statistics": Statistics(uri=str(tmp_path / "statistics")),
        "schema": Schema(uri=str(tmp_path)),
    }
    anomalies = Anomalies(uri=str(tmp_path / "out"))
    with pytest.raises(PenstockError, match="feature 'gate': New column"):
        example_validator.python_func(anomalies=anomalies, **inputs)
    assert (tmp_path / "out" / "verdict.json").is_file()
    example_validator.python_func(anomalies=anomalies, on_anomalies="warn", **inputs)
    assert anomalies.metadata["verdict"] == "warn"
