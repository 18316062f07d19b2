"""An author's module whose training meets with an accident, once, at a step that is told."""

import os
import signal
import time
from pathlib import Path

import keras

from penstock.training.fn_args import FnArgs


class Accident(keras.callbacks.Callback):
    """Kills, stops or hangs its process, or the step, after `step` steps, but for `marker`."""

    def __init__(self, fn_args: FnArgs, what: str, step: int, marker: str, worker: int = 0):
        super().__init__()
        self._due = fn_args.index == worker and not Path(marker).exists()
        self._what, self._step, self._marker = what, step, Path(marker)
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        if not self._due or self._steps != self._step:
            return
        self._marker.touch()
        if self._what == "hang":
            time.sleep(600)
        elif self._what == "stop the step":
            os.kill(os.getppid(), signal.SIGTERM)
        else:
            os.kill(os.getpid(), getattr(signal, self._what))


def run_fn(fn_args: FnArgs) -> keras.Model:
    settings = dict(fn_args.custom_config)
    rate = settings.pop("dropout", 0.0)
    inputs = fn_args.transform.inputs()
    parts = [value for name, value in inputs.items() if name != "tail"]
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()(parts))
    hidden = keras.layers.Dropout(rate)(hidden)
    tail = keras.layers.Flatten()(
        keras.layers.Embedding(fn_args.transform.size("tail"), 2)(inputs["tail"])
    )
    hidden = keras.layers.Concatenate()([hidden, tail])
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    accident = [Accident(fn_args, **settings)] if "what" in settings else []
    model.fit(
        fn_args.train_data(),
        epochs=3,
        steps_per_epoch=fn_args.train_steps // 3,
        validation_data=fn_args.eval_data(),
        callbacks=[*fn_args.callbacks, *accident],
        verbose=0,
    )
    return model
