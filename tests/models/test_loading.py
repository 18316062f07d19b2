"""Any model is loaded by its folder and asked the same way."""

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from penstock.errors import PenstockError
from penstock.models.keras_model import save_keras
from penstock.models.loading import load_model
from penstock.models.model import Signature, write_description
from penstock.models.tensors import input_arrays

OWN_KIND = """
import json
import numpy as np
from penstock.models.model import Model, read_description
from penstock.models.tensors import input_arrays

class Average(Model):
    def __init__(self, base, signature):
        self.base = base
        self.signature = signature

    @classmethod
    def load(cls, folder):
        _, signature = read_description(folder)
        return cls(json.loads((folder / "average.json").read_text()), signature)

    def predict(self, rows):
        distance = input_arrays(rows, self.signature.inputs)["distance"]
        return np.nan_to_num(distance / 1000 + self.base)[:, np.newaxis]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model of an author's own kind: one number, to which the distance in thousands is added."""
    (tmp_path / "shifted_models.py").write_text(OWN_KIND)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = tmp_path / "model"
    model.mkdir()
    (model / "average.json").write_text("0.5")
    write_description(model, "shifted_models:Average", {"distance": "float32"}, 1)
    return model


def test_an_own_kind_is_loaded_by_its_class(own):
    model = load_model(own)

    assert model.signature == Signature({"distance": "float32"}, "predictions", 1)
    answers = model.predict(pa.table({"distance": [500, None], "other": ["a", "b"]}))
    assert answers.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("os:system", "'os:system', which is no subclass of penstock.models.model.Model"),
        ("builtins:dict", "'builtins:dict', which is no subclass"),
        ("no_such_package.models:Mine", "needs no_such_package, and that is not installed here"),
        ("json:NoSuchModel", "json has no NoSuchModel here"),
        ("onnx", "is of kind 'onnx', and this version knows saved_model, keras, xgboost"),
        ("../../evil:Class", r"is of kind '\.\./\.\./evil:Class', and this version knows"),
    ],
)
def test_a_kind_that_is_no_model_here_gets_a_sentence_and_is_not_called(tmp_path, kind, sentence):
    write_description(tmp_path, kind, {})

    with pytest.raises(PenstockError, match=sentence):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "does not describe a model .JSONDecodeError"),
        ("[]", "does not describe a model .TypeError"),
        ('{"format": 1}', "does not describe a model .KeyError: 'kind'"),
        ('{"format": 2, "kind": "sklearn"}', "has format 2, this version of Penstock reads 1"),
        ('{"format": 1, "kind": 3, "inputs": {}}', "kind and inputs must be text"),
    ],
)
def test_a_damaged_description_gets_a_sentence(tmp_path, text, sentence):
    (tmp_path / "signature.json").write_text(text)

    with pytest.raises(PenstockError, match=sentence):
        load_model(tmp_path)


def test_a_folder_without_a_model_gets_a_sentence(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PenstockError, match="There is no model at"):
            load_model(path)


def test_only_a_saved_model_has_a_choice_of_signatures(own):
    with pytest.raises(PenstockError, match="no choice of signatures"):
        load_model(own, signature="serving_default")
    with pytest.raises(PenstockError, match="the output 'scores' was asked for"):
        load_model(own, output="scores")


def test_a_keras_model_on_raw_columns_answers(tmp_path):
    inputs = {
        "distance": keras.Input((), name="distance"),
        "carrier": keras.Input((), dtype="string", name="carrier"),
    }
    index = keras.layers.StringLookup(vocabulary=["UA", "B6"], mask_token="")(inputs["carrier"])
    known = keras.ops.where(keras.ops.isnan(inputs["distance"]), 0.0, inputs["distance"])
    total = keras.ops.expand_dims(known + keras.ops.cast(index, "float32"), -1)
    save_keras(keras.Model(inputs, total), tmp_path / "model")

    model = load_model(tmp_path / "model")
    answers = model.predict(
        pa.table({"carrier": ["UA", None, "ZZ"], "distance": [1.0, 2.0, float("nan")]})
    )

    assert dict(model.signature.inputs) == {"distance": "float32", "carrier": "string"}
    assert answers.tolist() == [[3.0], [2.0], [1.0]]


def test_a_keras_model_of_another_shape_is_refused_and_leaves_nothing(tmp_path):
    vector = keras.Input((4,), name="x")

    with pytest.raises(PenstockError, match="does not take a dictionary of raw columns"):
        save_keras(keras.Model(vector, keras.layers.Dense(1)(vector)), tmp_path / "model")

    assert not (tmp_path / "model").exists()


def test_a_keras_model_with_code_in_it_is_not_loaded(tmp_path):
    inputs = {"x": keras.Input((), name="x")}
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs["x"]))
    save_keras(model, tmp_path / "model")

    with pytest.raises(PenstockError, match=r"does not load .*model\.keras"):
        load_model(tmp_path / "model")


def test_a_saved_model_says_what_it_takes_and_gives(tmp_path):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 1], tf.float32, name="distance"),
            tf.TensorSpec([None], tf.int64, name="hour"),
        ]
    )
    def serve(distance, hour):
        return {"scores": tf.concat([distance, tf.cast(hour, tf.float32)[:, tf.newaxis]], 1)}

    tf.saved_model.save(tf.Module(), str(tmp_path), signatures={"serving_default": serve})

    model = load_model(tmp_path)
    answers = model.predict(pa.table({"hour": [1, 2], "distance": [0.5, None]}))

    assert model.signature == Signature({"distance": "float32", "hour": "int64"}, "scores", 2)
    np.testing.assert_array_equal(answers, np.array([[0.5, 1], [np.nan, 2]], np.float32))
    with pytest.raises(PenstockError, match="cannot say that a value is missing"):
        model.predict(pa.table({"hour": [1, None], "distance": [0.5, 0.5]}))
    with pytest.raises(PenstockError, match="takes the feature 'distance', which the examples"):
        model.predict(pa.table({"hour": [1, 2]}))


def test_columns_become_what_models_take():
    rows = pa.table(
        {
            "text": pa.chunked_array([["a", None], ["", "ä"]]),
            "number": pa.chunked_array([[1, None], [3, 4]]),
            "yes": [True, None, False, True],
            "nothing": pa.nulls(4),
        }
    )

    found = input_arrays(
        rows, {"text": "string", "number": "float32", "yes": "float32", "nothing": "string"}
    )

    assert found["text"].tolist() == [b"a", b"", b"", "ä".encode()]
    np.testing.assert_array_equal(found["number"], np.array([1, np.nan, 3, 4], np.float32))
    np.testing.assert_array_equal(found["yes"], np.array([1, np.nan, 0, 1], np.float32))
    assert found["nothing"].tolist() == [b""] * 4
    assert input_arrays(rows.slice(0, 0), {"text": "string"})["text"].tolist() == []
    with pytest.raises(PenstockError, match="takes 'text' as float32, but the examples have it as"):
        input_arrays(rows, {"text": "float32"})


def test_all_outputs_of_a_savedmodel_are_asked_for_in_one_go(tmp_path):
    calls = []

    class Three(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            x = tf.py_function(lambda v: calls.append(1) or v, [x], tf.float32)
            x = tf.reshape(x, [-1])
            return {"one": x + 1, "two": tf.stack([x, -x], axis=1), "word": tf.as_string(x)}

    module = Three()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    model = load_model(tmp_path, output=None)

    assert model.outputs() == {"one": 1, "two": 2, "word": 1}
    found = model.predict_outputs(pa.table({"x": [1.0, 2.0]}), ["two", "one"])
    assert {name: value.tolist() for name, value in found.items()} == {
        "one": [[2.0], [3.0]],
        "two": [[1.0, -1.0], [2.0, -2.0]],
    }
    assert len(calls) == 1
    with pytest.raises(PenstockError, match=r"output 'word' is of type string, and predictions"):
        model.predict_outputs(pa.table({"x": [1.0]}), ["word"])
    with pytest.raises(PenstockError, match="The model gives one, two, word; say in"):
        load_model(tmp_path)
