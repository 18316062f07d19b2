"""Training and serving are one computation: 10,000 rows by four ways, one answer."""

import json
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from penstock.components.trainer.executor import train
from penstock.components.transform.executor import fit_transform
from penstock.data.tf_dataset import tf_dataset
from penstock.models.loading import load_model
from penstock.models.transform_graph import read_transform_graph

MODULE = str(Path(__file__).parent / "authors" / "all_kinds.py")
ROWS = 10_000
INTEGERS = ("hour", "rainy")
TEXTS = ("carrier", "tail")


CARRIERS = ["UA", "B6", "EV", "Ünï"]
STRANGE = [*CARRIERS, "", " ", "ua", "\u2028", "a" * 300, '"']
EXTREMES = [0.0, -0.0, 1e-38, 3e38, -3e38, 1 / 3]


def rows(count: int, seed: int, strange: bool) -> pa.Table:
    """Random rows; of strange ones a quarter goes far beyond what others have, or is missing."""
    random = np.random.default_rng(seed)
    gone = random.random((6, count)) < (0.2 if strange else 0.05)
    wide = np.where(random.random((4, count)) < (0.25 if strange else 0), 1000, 1)
    distance, share = random.normal(500, 300, count) * wide[0], random.random(count)
    if strange:
        distance[::7] = np.nan
        share[::20] = random.choice(EXTREMES, len(share[::20]))
    tail = random.integers(0, 90, count) * wide[1]
    delay = random.integers(-60, 600, count) * wide[2]
    hour = random.integers(-3, 24, count) * wide[3]
    carrier = random.choice(STRANGE if strange else CARRIERS, count)
    return pa.table(
        {
            "distance": pa.array(distance, pa.float64(), mask=gone[0], from_pandas=False),
            "delay": pa.array(delay, pa.int64(), mask=gone[1]),
            "share": pa.array(share.astype(np.float32), mask=gone[2]),
            "carrier": pa.array(carrier, pa.string(), mask=gone[3]),
            "tail": pa.array(np.char.add("N", tail.astype(str)), mask=gone[4]),
            "hour": pa.array(hour, mask=gone[5]),
            "rainy": pa.array(random.random(count) < 0.3),
            "late": pa.array((distance > 600).astype(np.int64)),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    splits = {"train": rows(4000, 0, strange=False), "eval": rows(ROWS, 1, strange=True)}
    return write_artifacts(folder, splits, shards=3)


@pytest.fixture(scope="module")
def model(given, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fit_transform(given.examples, given.statistics, given.schema, folder / "graph", MODULE)
    train(
        given.examples,
        folder / "graph",
        given.schema,
        folder / "model",
        MODULE,
        "late",
        train_steps=30,
        batch_size=256,
    )
    return folder / "model"


@pytest.fixture(scope="module")
def expected(given, model) -> np.ndarray:
    """What the model gives in training: Parquet by tf.data, the preprocessing, the Keras model."""
    transform = read_transform_graph(model / "transform")
    trained = keras.models.load_model(model / "model.keras")
    dataset = tf_dataset(given.examples, "eval", list(transform.columns), 512, label="late")
    batches = dataset.map(lambda raw, _: transform(raw))
    found = np.concatenate([trained(batch, training=False) for batch in batches])
    assert found.shape == (ROWS, 1)
    assert np.isfinite(found).all()
    assert np.mean((found > 0.01) & (found < 0.99)) > 0.5
    return found


def test_the_raw_signature_agrees(given, model, expected):
    answers = load_model(model).predict(rows(ROWS, 1, strange=True))

    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)


def test_the_signature_for_serialized_examples_agrees(model, expected):
    served = tf.saved_model.load(str(model / "serving"))

    answers = served.signatures["serving_examples"](examples=tf.constant(serialized()))

    np.testing.assert_allclose(answers["predictions"], expected, rtol=0, atol=1e-6)


def test_a_json_request_as_tensorflow_serving_takes_it_agrees(model, expected):
    """Given `{"instances": [...]}` as text, decoded as TF Serving does: by each input's dtype."""
    served = tf.saved_model.load(str(model / "serving"))
    signature = served.signatures["serving_default"]

    instances = json.loads(request())["instances"]
    inputs = {
        name: tf.constant([instance[name] for instance in instances], spec.dtype)
        for name, spec in signature.structured_input_signature[1].items()
    }

    assert len(instances) == ROWS
    np.testing.assert_allclose(signature(**inputs)["predictions"], expected, rtol=0, atol=1e-6)


def request() -> str:
    """A row as a client writes it: NaN is what TF Serving's JSON has for a missing number."""
    table = rows(ROWS, 1, strange=True).drop(["late"])
    instances = [
        {
            name: ("" if name in TEXTS else float("nan")) if value is None else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
    return json.dumps({"signature_name": "serving_default", "instances": instances})


def serialized() -> list[bytes]:
    """The rows as tf.Examples; what is missing is left out, or an empty list."""
    found = []
    for place, row in enumerate(rows(ROWS, 1, strange=True).drop(["late"]).to_pylist()):
        features = {}
        for name, value in row.items():
            values = [] if value is None or value != value else [value]
            if not values and place % 2:
                continue
            if name in TEXTS:
                values = [text.encode() for text in values]
                feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
            elif name in INTEGERS or name == "delay":
                feature = tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))
            else:
                feature = tf.train.Feature(float_list=tf.train.FloatList(value=values))
            features[name] = feature
        example = tf.train.Example(features=tf.train.Features(feature=features))
        found.append(example.SerializeToString())
    return found
