"""What new data would need of a reviewed schema is proposed, with its reason, and never applied."""

import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from penstock.errors import PenstockError
from penstock.schemas.proposal import propose_update

REVIEWED = """\
# Reviewed.
default_environment: "TRAINING"
default_environment: "SERVING"
feature { name: "distance" type: INT int_domain { min: 1 max: 10 } }  # miles
feature { name: "carrier" type: BYTES domain: "carrier" presence { min_fraction: 1 } }
feature { name: "late" type: INT presence { min_count: 1 } not_in_environment: "SERVING" }
string_domain {
  name: "carrier"
  value: "AA"
  value: "UA"
}
"""
GOOD = {"distance": [1, 2, 10], "carrier": ["AA", "UA", "UA"], "late": [0, 1, 0]}


def propose(environment="", **columns):
    frame = pd.DataFrame({k: v for k, v in {**GOOD, **columns}.items() if v is not None})
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    found = propose_update(REVIEWED, statistics, environment=environment, source="new.csv")
    schema = text_format.Parse(found.text, schema_pb2.Schema())
    accepted = tfdv.validate_statistics(statistics, schema, environment=environment or None)
    assert not accepted.anomaly_info, "what is proposed accepts the data"
    return found


def lines(found):
    return [
        line
        for line in found.diff.splitlines()
        if line[:1] in "+-" and not line.startswith(("+++", "---"))
    ]


def test_data_that_the_schema_accepts_need_nothing():
    found = propose()
    assert (found.diff, found.text, found.changes) == ("", REVIEWED, ())


def test_a_new_word_joins_its_domain_in_order_and_the_reason_is_told():
    found = propose(carrier=["AA", "B6", "UA"])
    assert lines(found) == ['+  value: "B6"']
    assert found.diff.startswith(
        "# 1 change to schema.pbtxt, proposed by new.csv. Read, then `git apply` or `patch -p1`.\n"
        "#   domain carrier: value gains 'B6'\n"
        "# What the data have that the schema does not accept:\n"
        "#   carrier: Examples contain values missing from the schema: B6 (~33%).\n"
        "--- a/schema.pbtxt\n+++ b/schema.pbtxt\n"
    )


@pytest.mark.parametrize(
    ("columns", "changes"),
    [
        ({"distance": [0, 3, 40]}, ["distance: int_domain.min: 1 -> 0"]),
        ({"carrier": ["AA", None, "UA"]}, ["carrier: presence.min_fraction: 1 -> 0.666667"]),
        ({"extra": [0.5, 1, 2]}, ["extra: new feature of type FLOAT"]),
        ({"carrier": None}, ["carrier: lifecycle_stage: DEPRECATED added"]),
        (
            {"distance": [0.5, 1, 2]},
            ["distance: type: INT -> FLOAT", "distance: int_domain.min: 1 removed"],
        ),
    ],
)
def test_each_anomaly_has_its_change(columns, changes):
    found = propose(**columns)
    told = [str(change) for change in found.changes]
    assert told[: len(changes)] == changes
    assert found.reasons[0][0] == changes[0].partition(":")[0]
    assert "# Reviewed." in found.text
    if "distance" not in columns:
        assert "}  # miles\n" in found.text


def test_what_an_environment_does_not_have_is_left_alone():
    assert propose("SERVING", late=None).diff == ""
    assert "late: lifecycle_stage: DEPRECATED added" in propose("TRAINING", late=None).diff


def test_fields_of_structs_are_proposed_by_their_paths():
    reviewed = (
        'feature { name: "s" type: STRUCT struct_domain {\n'
        '  feature { name: "b" type: INT int_domain { max: 2 } }\n'
        '  feature { name: "c" type: BYTES domain: "d" }\n} }\n'
        'string_domain { name: "d" value: "x" }\n'
    )
    rows = [[{"b": [1], "c": ["x"]}], [{"b": [3], "c": ["y"]}]]
    batch = pa.RecordBatch.from_arrays([pa.array(rows)], names=["s"])
    found = propose_update(reviewed, generate_statistics_in_memory(batch, StatsOptions()))
    assert [str(change) for change in found.changes] == [
        "s.b: int_domain.max: 2 -> 3",
        "domain d: value gains 'y'",
    ]
    assert [feature for feature, _ in found.reasons] == ["s.b", "s.c"]
    assert "int_domain { max: 3 } }" in found.text


def test_unknown_environments_and_no_rows_are_refused():
    statistics = tfdv.generate_statistics_from_dataframe(pd.DataFrame(GOOD))
    with pytest.raises(PenstockError) as error:
        propose_update(REVIEWED, statistics, environment="TEST")
    assert str(error.value) == (
        "schema.pbtxt has no environment 'TEST' (it has TRAINING, SERVING); use one of these or "
        "add it to the schema's default_environment."
    )
    with pytest.raises(PenstockError, match="There are no rows in the statistics"):
        propose_update(REVIEWED, statistics_pb2.DatasetFeatureStatisticsList())
