"""Inference is TFDV's, with the ranges and environments that it leaves out."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import statistics_pb2

from penstock.errors import PenstockError
from penstock.schemas.features import is_in
from penstock.schemas.inference import infer_schema
from penstock.schemas.lint import check_schema

FRAME = pd.DataFrame(
    {
        "distance": [3, 7, 5, 5],
        "speed": [0.1, 2.5, np.nan, 1.0],
        "carrier": ["UA", "AA", "UA", None],
        "late": [0, 1, 1, 0],
    }
)


@pytest.fixture(scope="module")
def statistics():
    return tfdv.generate_statistics_from_dataframe(FRAME)


def test_by_default_it_is_what_tfdv_infers(statistics):
    assert infer_schema(statistics) == tfdv.infer_schema(statistics)
    assert infer_schema(statistics, shapes=False, max_string_domain_size=1) == tfdv.infer_schema(
        statistics, infer_feature_shape=False, max_string_domain_size=1
    )


def test_ranges_are_those_of_the_data(statistics):
    found = {feature.name: feature for feature in infer_schema(statistics, ranges=True).feature}
    assert (found["distance"].int_domain.min, found["distance"].int_domain.max) == (3, 7)
    assert found["late"].HasField("bool_domain")
    assert found["speed"].float_domain.min <= 0.1 < found["speed"].float_domain.min + 1e-6
    assert found["speed"].float_domain.max == 2.5
    assert found["carrier"].domain == "carrier"


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_the_data_of_a_range_are_always_within_it(values):
    frame = pd.DataFrame({"x": values})
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    schema = infer_schema(statistics, ranges=True)
    assert not tfdv.validate_statistics(statistics, schema).anomaly_info
    (feature,) = schema.feature
    for bound, value in (("min", min(values)), ("max", max(values))):
        assert feature.float_domain.HasField(bound) or abs(value) > 1e38


def test_an_integer_that_statistics_do_not_hold_exactly_bounds_nothing():
    frame = pd.DataFrame({"x": [5, 2**60 + 1]})
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    (feature,) = infer_schema(statistics, ranges=True).feature
    assert (feature.int_domain.min, feature.int_domain.HasField("max")) == (5, False)


def test_labels_are_in_training_only(statistics):
    schema = infer_schema(statistics, labels=["late"])
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    serving = [feature.name for feature in schema.feature if is_in(schema, feature, "SERVING")]
    assert serving == ["distance", "speed", "carrier"]
    assert all(is_in(schema, feature, "TRAINING") for feature in schema.feature)
    assert check_schema(schema, ["late"]) == []
    rows = tfdv.generate_statistics_from_dataframe(FRAME.drop(columns="late"))
    assert not tfdv.validate_statistics(rows, schema, environment="SERVING").anomaly_info
    assert tfdv.validate_statistics(rows, schema, environment="TRAINING").anomaly_info


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"labels": ["y"]},
            "The label 'y' is no feature of the data; there are distance, speed, carrier, late.",
        ),
        (
            {"max_string_domain_size": -1},
            "max_string_domain_size is -1; give a number of words of at least 0.",
        ),
    ],
)
def test_wrong_choices_are_refused(statistics, chosen, sentence):
    with pytest.raises(PenstockError) as error:
        infer_schema(statistics, **chosen)
    assert str(error.value) == sentence


def test_no_rows_are_refused():
    with pytest.raises(PenstockError, match="statistics are of no rows"):
        infer_schema(statistics_pb2.DatasetFeatureStatisticsList())
