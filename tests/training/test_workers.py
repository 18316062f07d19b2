"""What one worker does: find its place, give signs of life, cut batches, take up a checkpoint."""

import contextlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.training.checkpoints import Checkpoints
from penstock.training.heartbeat import Heartbeat
from penstock.training.keras_fit import among_replicas, replaced
from penstock.training.places import Place, place
from penstock.training.preemption import Preempted, Preemption
from penstock.training.strategies import check_batches

ALONE = Place()
SERVED = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
CHIEF_AND_WORKER = {"chief": ["a:1"], "worker": ["b:1"]}


def rows(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return values, (values[:, 0] > 0).astype(np.float32)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    made.compile("adam", "binary_crossentropy")
    return made


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", Place()),
        ("{}", Place()),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}, (1, 2)),
        ({"cluster": CHIEF_AND_WORKER, "task": {"type": "chief", "index": 0}}, (0, 2)),
        ({"cluster": CHIEF_AND_WORKER, "task": {"type": "worker", "index": 0}}, (1, 2)),
        ({"cluster": SERVED, "task": {"type": "chief", "index": 0}}, (0, 1, "chief")),
        ({"cluster": SERVED, "task": {"type": "worker", "index": 1}}, (2, 1, "worker")),
        ({"cluster": SERVED, "task": {"type": "ps", "index": 0}}, (3, 1, "ps")),
    ],
)
def test_a_worker_knows_its_place_by_tf_config(monkeypatch, config, expected):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))

    assert place() == (expected if isinstance(expected, Place) else Place(*expected))


@pytest.mark.parametrize("text", ["{", "[1]", '{"cluster": {}}', '{"task": 1, "cluster": {}}'])
def test_a_tf_config_that_is_none_is_shown(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)

    with pytest.raises(PenstockError, match=r"TF_CONFIG is .* it must be a JSON object such as"):
        place()


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 64))
def test_batches_are_shared_evenly_or_refused(workers, shards, batch_size):
    even = shards % workers == 0 and batch_size % shards == 0

    if even:
        check_batches(batch_size, workers, shards)
    else:
        with pytest.raises(PenstockError, match="multiple of"):
            check_batches(batch_size, workers, shards)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
def test_replicas_get_every_row_once_and_as_many_as_each_other(count, batch_size, replicas):
    dataset = tf.data.Dataset.range(count).batch(batch_size).map(lambda x: ({"a": x}, -x))

    pieces = [(x["a"].numpy(), y.numpy()) for x, y in among_replicas(dataset, replicas)]

    np.testing.assert_array_equal(np.concatenate([x for x, _ in pieces]), np.arange(count))
    np.testing.assert_array_equal(np.concatenate([y for _, y in pieces]), -np.arange(count))
    assert len(pieces) == replicas * -(-count // batch_size)
    for begin in range(0, len(pieces), replicas):
        lengths = [len(x) for x, _ in pieces[begin : begin + replicas]]
        assert max(lengths) - min(lengths) <= 1


def test_signs_of_life_come_with_the_steps_and_end_with_the_training(tmp_path):
    file, seen = tmp_path / "beat", []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(file.exists() and file.read_text())

    model().fit(*rows(), batch_size=16, verbose=0, callbacks=[Heartbeat(file), Look()])

    assert seen[0] == "1"
    assert not file.exists()


class Told(keras.callbacks.Callback):
    """Tells the training to stop after the fourth step."""

    def __init__(self, preemption: Preemption):
        super().__init__()
        self._preemption = preemption

    def on_train_batch_begin(self, batch, logs=None):
        self._preemption.told = self._preemption.told or batch == 3


def fit(folder: Path, dataset: tf.data.Dataset, where: Place = ALONE, stop: bool = False, **of):
    """Train 8 steps with checkpoints, or be stopped on the way."""
    preemption, made = Preemption(), of.get("model") or model()
    callbacks = [Checkpoints(folder, 100, where, preemption), *([Told(preemption)] * stop)]
    with pytest.raises(Preempted) if stop else contextlib.nullcontext():
        made.fit(dataset, steps_per_epoch=8, callbacks=callbacks, verbose=0)


class ToldIn(keras.callbacks.Callback):
    """Tells the training to stop after the fourth step of an epoch."""

    def __init__(self, preemption: Preemption, epoch: int):
        super().__init__()
        self._preemption, self._due, self._epoch = preemption, epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._preemption.told |= (self._epoch, batch) == (self._due, 3)


def test_a_training_that_is_stopped_in_two_epochs_ends_as_one_that_was_not(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices(rows()).batch(8).repeat()
    saved = []
    for epoch in (0, 1, None):
        preemption, stopped = Preemption(), model()
        callbacks = [Checkpoints(tmp_path, 100, ALONE, preemption)]
        callbacks += [] if epoch is None else [ToldIn(preemption, epoch)]
        with contextlib.nullcontext() if epoch is None else pytest.raises(Preempted):
            stopped.fit(dataset, epochs=2, steps_per_epoch=8, callbacks=callbacks, verbose=0)
        saved.append(max(int(path.name[5:]) for path in tmp_path.glob("fit-1/step-*")))
    undisturbed = model()
    undisturbed.fit(dataset, epochs=2, steps_per_epoch=8, verbose=0)

    assert saved == [4, 12, 16]
    for found, expected in zip(stopped.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_training_on_data_that_ends_cannot_be_taken_up_and_says_so(tmp_path):
    batches = tf.data.Dataset.from_tensor_slices(rows()).batch(8)
    fit(tmp_path, batches.repeat(), stop=True)

    with pytest.raises(PenstockError, match=r"after step 4: its dataset ended .* endless one"):
        fit(tmp_path, batches.take(2))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices(rows()).batch(8).repeat()
    fit(tmp_path, dataset, stop=True)
    wider = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    wider.compile("adam", "mse")

    with pytest.raises(PenstockError, match="is of another model than the one that run_fn builds"):
        fit(tmp_path, dataset, model=wider)


def test_a_checkpoint_that_one_worker_did_not_finish_does_not_count(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices(rows()).batch(8).repeat()
    fit(tmp_path / "a", dataset, Place(0, 2), stop=True)
    [file] = (tmp_path / "a").glob("fit-1/step-*/worker-00000.npz")
    assert file.parent.name == "step-000000006"  # two steps ahead: the other may be one behind
    file.write_bytes(b"cannot be read")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    file.with_name("worker-00001.npz").touch()

    fit(tmp_path / "b", dataset, Place(0, 2))
    with pytest.raises(ValueError, match="pickle"):
        fit(tmp_path / "a", dataset, Place(0, 2))


def test_functions_of_keras_are_put_back_and_missed_by_name():
    before = keras.Model._resolve_auto_jit_compile

    with replaced(keras.Model, "_resolve_auto_jit_compile", lambda _: True):
        assert model().jit_compile is True
    assert keras.Model._resolve_auto_jit_compile is before
    assert "_resolve_auto_jit_compile" not in vars(keras.Model)

    with (
        pytest.raises(PenstockError, match=r"Keras .* has no _no_such in its trainer"),
        replaced(keras.Model, "_no_such", None),
    ):
        pass
