"""What a model is asked before it is served, held against TensorFlow's and numpy's own answers."""

import math

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from penstock.errors import PenstockError
from penstock.models.loading import load_model
from penstock.models.model import as_predictions
from penstock.models.parity import Parity, read_parity, write_parity
from penstock.models.questions import difference
from penstock.models.tf_examples import serialized_examples
from penstock.models.wild_rows import CASES, LONG, UNSEEN, among, wild_rows

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf])
KINDS = {"carrier": "string", "distance": "float", "hour": "integer"}


@pytest.fixture
def flights() -> pa.Table:
    return pa.table(
        {
            "carrier": ["UA", "", None, "Ünï"],
            "distance": [1400.0, None, math.nan, 200.5],
            "hour": pa.array([5, 23, None, 0], pa.int64()),
            "late": [0, 1, 1, 0],
        }
    )


@given(
    arrays(np.float64, (3, 2), elements=NUMBERS),
    arrays(np.float64, (3, 2), elements=NUMBERS),
    st.sampled_from([0.0, 1e-5, 0.1, 1.0]),
)
def test_answers_are_the_same_where_numpy_says_so(found, expected, tolerance):
    same = np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    worst = difference(found, expected)

    # At the bound itself, the two round differently.
    if abs(worst - tolerance) > 1e-12 * (1 + tolerance):
        assert (worst <= tolerance) == same


def test_answers_of_another_shape_are_never_the_same():
    assert difference(np.zeros((2, 1)), np.zeros((1, 2))) == math.inf
    assert difference(np.zeros((0, 1)), np.zeros((0, 1))) == 0.0


def test_serialized_rows_are_parsed_back_by_tensorflow(flights):
    examples = serialized_examples(flights, KINDS).to_pylist()
    parsed = tf.io.parse_example(
        examples,
        {
            "carrier": tf.io.RaggedFeature(tf.string),
            "distance": tf.io.RaggedFeature(tf.float32),
            "hour": tf.io.RaggedFeature(tf.int64),
        },
    )

    assert parsed["carrier"].to_list() == [[b"UA"], [b""], [], ["Ünï".encode()]]
    assert parsed["hour"].to_list() == [[5], [23], [], [0]]
    assert parsed["distance"].row_lengths().numpy().tolist() == [1, 0, 1, 1]
    np.testing.assert_array_equal(parsed["distance"].values, np.float32([1400, np.nan, 200.5]))
    assert b"late" not in examples[0]


def test_each_feature_is_made_wild_alone_and_then_all_together(flights):
    found = wild_rows(flights, KINDS, optional=["carrier", "hour"])

    assert list(found) == list(CASES)
    missing = found["missing_optional"].select(["carrier", "hour"]).to_pylist()
    assert missing == [
        {"carrier": None, "hour": 5},
        {"carrier": "", "hour": None},
        {"carrier": None, "hour": None},
    ]
    assert found["unseen_category"]["carrier"].to_pylist() == [UNSEEN]
    assert found["long_string"]["carrier"].to_pylist() == [LONG] and len(LONG) == 100_000
    assert math.isnan(found["nan"]["distance"][0].as_py())
    assert found["nan"]["hour"].to_pylist() == [5]
    assert found["empty_string"].num_rows == 1


def test_a_case_that_no_feature_allows_is_not_made(flights):
    assert set(wild_rows(flights, {"hour": "integer"}, optional=[])) == set()
    whole = wild_rows(flights, {"hour": "float"}, optional=[])["nan"]
    assert math.isnan(whole["hour"][0].as_py())  # a signature that takes float32 can be sent one


def test_wild_rows_lie_in_the_middle_of_real_ones(flights):
    wild = wild_rows(flights, {"hour": "float"}, optional=[])["nan"]

    mixed, places = among(flights, wild)

    assert list(places) == [2]
    assert mixed.num_rows == 5 and math.isnan(mixed["hour"][2].as_py())
    assert mixed["hour"].to_pylist()[:2] + mixed["hour"].to_pylist()[3:] == [5, 23, None, 0]


def test_the_trainers_answers_are_read_back_as_they_were(flights, tmp_path):
    answers = np.array([[0.1, 0.9], [0.2, 0.8], [np.nan, 1.0], [0.5, 0.5]], np.float32)
    assert read_parity(tmp_path) is None

    write_parity(tmp_path, Parity(flights, answers, 2**-9))
    found = read_parity(tmp_path)

    assert found.rows.drop(["distance"]).equals(flights.drop(["distance"]))
    np.testing.assert_array_equal(found.answers, answers)
    assert found.tolerance == 2**-9
    (tmp_path / "parity.parquet").write_bytes(b"half")
    with pytest.raises(PenstockError, match="does not hold the trainer's answers"):
        read_parity(tmp_path)


@pytest.mark.parametrize("answers", [np.zeros((4, 1)), np.zeros(1), np.zeros((2, 3)), 0.5])
def test_answers_that_are_not_one_a_row_are_refused(answers):
    with pytest.raises(PenstockError, match=r"answered 2 rows .* it must be \[2, 2\]"):
        as_predictions(answers, 2, 2)


def test_a_saved_model_that_answers_other_than_row_by_row_is_refused(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="distance")])
    def twice(distance):
        both = tf.concat([distance, distance], 0)
        return {"predictions": tf.ensure_shape(both[:, tf.newaxis, tf.newaxis], [None, None, 1])}

    tf.saved_model.save(tf.Module(), str(tmp_path), signatures={"serving_default": twice})
    model = load_model(tmp_path)

    assert model.signature.width is None  # so that nothing but the rows can be held to it
    with pytest.raises(PenstockError, match=r"answered 3 rows with an array of \[6, 1, 1\]"):
        model.predict(pa.table({"distance": [1.0, 2.0, 3.0]}))
