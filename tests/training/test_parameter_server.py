"""Asynchronous steps lose nothing: the promises of training/coordination.py and feed.py.

One process is the chief, another all workers and parameter servers, by TensorFlow's own servers on
loopback. Processes of their own, as TensorFlow cannot leave a cluster again.
"""

import json
import os
import subprocess
import sys

import pytest

from penstock.training.cluster import _free_addresses

WORKERS, SERVERS, STEPS, ROWS = 3, 2, 40, 8

SCRIPT = """
import json, os, sys, threading
import keras, numpy as np, tensorflow as tf
from penstock.errors import PenstockError
from penstock.training.coordination import coordinating
from penstock.training.feed import Feed

steps, rows = map(int, sys.argv[1:3])
config = json.loads(os.environ["TF_CONFIG"])


def batches(repeat=True):
    values = np.random.default_rng(0).normal(size=(rows * 5, 3)).astype(np.float32)
    labels = (values[:, 0] > 0).astype(np.float32)
    made = tf.data.Dataset.from_tensor_slices((values, labels)).batch(rows)
    return made.repeat() if repeat else made


def ones():
    return tf.data.Dataset.from_tensors((np.ones((4, 1), np.float32), np.ones(4, np.float32)))


def layered():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    return model


class Switch(keras.layers.Layer):
    def build(self, shape):
        self.turns = self.add_weight(name="turns", initializer="zeros", trainable=False)

    def call(self, values):
        if keras.backend.is_keras_tensor(values):
            return values
        def turn():
            self.turns.assign(self.turns + 1.0)
            return 0.0
        return values + tf.cond(values[0, 0] > 0, turn, lambda: 0.0)


class Note(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.counts = []

    def on_test_begin(self, logs=None):
        self.counts.append([int(self.model.optimizer.iterations), float(counted(self.model))])


def counted(model):
    return sum(float(tf.reduce_sum(v.value)) for v in model.metrics[1].variables) / 200


def refused(model, data, **given):
    try:
        model.fit(data, verbose=0, **given)
    except PenstockError as error:
        return str(error)


def counts():
    model, note = layered(), Note()
    validation = tuple(np.ones(shape, np.float32) for shape in ((16, 3), (16,)))
    history = model.fit(batches(), epochs=2, steps_per_epoch=steps, callbacks=[note],
                        validation_data=validation, verbose=0)
    found = {"counts": note.counts, "history": history.history}
    found["evaluated"] = model.evaluate(*validation, return_dict=True, verbose=0)
    found["devices"] = sorted({v.value.device for v in [*model.variables,
                                                        *model.optimizer.variables]})
    return found


def updates():
    # The gradient of the mean of w * x, with x = 1, is 1: every step takes 1/1024 off w.
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(1 / 1024), lambda y, p: tf.reduce_mean(p, axis=-1))
    model.fit(ones(), steps_per_epoch=steps, verbose=0)
    return float(model.get_weights()[0][0, 0]) * 1024


def finite():
    model = layered()
    model.fit(batches(repeat=False), epochs=3, verbose=0)
    return int(model.optimizer.iterations)


def refusals():
    gathering = layered()
    gathering.compile(keras.optimizers.SGD(gradient_accumulation_steps=2), "binary_crossentropy")
    switching = keras.Sequential([keras.Input((3,)), Switch(), keras.layers.Dense(1)])
    switching.compile("sgd", "mse")
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2.0]), 0.0)
    looking = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1),
        keras.layers.Lambda(lambda x: x + table.lookup(tf.constant([1])))])
    looking.compile("sgd", "mse")
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [1.0, 2.0]])).repeat()
    return {
        "accumulation": refused(gathering, batches(), steps_per_epoch=2),
        "condition": refused(switching, batches(), steps_per_epoch=2),
        "table": refused(looking, batches(), steps_per_epoch=2),
        "ragged": refused(layered(), ragged, steps_per_epoch=2),
        "endless": refused(layered(), batches()),
        "split": refused(layered(), batches(), validation_split=0.5),
    }


if config["task"]["type"] != "chief":
    feed, cluster = Feed(), config["cluster"]
    threads = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=16)
    held = [
        tf.distribute.Server(cluster, job_name=kind, task_index=place, config=threads)
        for kind in ("worker", "ps")
        for place in range(len(cluster[kind]))
    ]
    for data in (batches(), ones(), batches(repeat=False)):
        feed.offer(data)

before = keras.Model.fit
with coordinating() as coordinator:
    found = {"counts": counts(), "updates": updates(), "finite": finite(), "fits": coordinator.fits}
    found["refusals"] = refusals()
found["put_back"] = keras.Model.fit is before
print("found " + json.dumps(found), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def found() -> dict:
    names = ["chief"] + WORKERS * ["worker"] + SERVERS * ["ps"]
    cluster: dict[str, list[str]] = {name: [] for name in names}
    for name, address in zip(names, _free_addresses(len(names)), strict=True):
        cluster[name].append(address)
    command = [sys.executable, "-c", SCRIPT, str(STEPS), str(ROWS)]

    def environment(kind: str) -> dict[str, str]:
        task = {"type": kind, "index": 0}
        return os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}

    with subprocess.Popen(command, env=environment("worker"), stderr=subprocess.DEVNULL) as others:
        try:
            done = subprocess.run(
                command, env=environment("chief"), capture_output=True, text=True, timeout=240
            )
        finally:
            others.kill()
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    assert lines, done.stderr[-4000:]
    return json.loads(lines[0][6:])


def test_no_step_and_no_row_is_lost_in_the_counters(found):
    assert found["counts"]["counts"] == [[STEPS, STEPS * ROWS], [2 * STEPS, STEPS * ROWS]]


def test_every_update_of_the_weights_counts(found):
    assert found["updates"] == -STEPS


def test_between_epochs_the_model_is_the_chiefs_own(found):
    counts = found["counts"]
    assert all("/job:chief/" in device for device in counts["devices"])
    assert set(counts["history"]) == {"loss", "auc", "val_loss", "val_auc"}
    assert counts["history"]["val_loss"][-1] == pytest.approx(counts["evaluated"]["loss"])
    assert counts["history"]["loss"][1] < counts["history"]["loss"][0]


def test_an_epoch_of_data_that_ends_has_as_many_steps_as_the_data_batches(found):
    assert found["finite"] == 3 * 5


def test_each_fit_of_a_training_is_coordinated_and_keras_is_put_back(found):
    assert found["fits"] == 3
    assert found["put_back"]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("accumulation", "has gradient_accumulation_steps, which workers that do not wait for"),
        ("condition", "switch/turns, under a condition, which workers that do not wait for each"),
        ("table", "uses a variable or a table that is neither its own nor its optimizer's"),
        ("ragged", "was given batches of RaggedTensors, which strategy='parameter_server' does"),
        ("endless", "a dataset without end and no steps_per_epoch; give steps_per_epoch"),
        ("split", "fit was given validation_split, which strategy='parameter_server' does not do"),
    ],
)
def test_what_servers_cannot_do_is_refused_in_a_sentence(found, case, sentence):
    assert sentence in found["refusals"][case]
