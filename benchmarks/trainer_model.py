"""The flights model, or a larger one, with the time and memory of its training written down."""

import json
import time
from pathlib import Path

import keras

from penstock.pipelines.flights.model import FEATURES
from penstock.training.fn_args import FnArgs

__all__ = ["FEATURES", "run_fn"]

# Not timed: Keras traces the step, and the feed fills its buffers.
WARM_STEPS = 100


class Timing(keras.callbacks.Callback):
    """Times the steps after the first `WARM_STEPS`."""

    def __init__(self):
        super().__init__()
        self.steps, self.seconds, self._begin = 0, 0.0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.steps = batch + 1
        if self.steps == WARM_STEPS:
            self._begin = time.perf_counter()

    def on_train_end(self, logs=None):
        self.seconds = time.perf_counter() - self._begin


def build(inputs, widths) -> keras.Model:
    """Return the model of the flights pipeline, with hidden layers of the widths given."""
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    for width in widths:
        hidden = keras.layers.Dense(width, activation="relu")(hidden)
        hidden = keras.layers.Dropout(0.2)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    return model


def figures(timing: Timing, batch_size: int) -> dict[str, float]:
    """Return steps and rows per second, and this process's peak resident memory."""
    steps = (timing.steps - WARM_STEPS) / timing.seconds
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    return {"steps_s": steps, "rows_s": steps * batch_size, "peak_mib": peak}


def run_fn(fn_args: FnArgs) -> keras.Model:
    """Train, and write the figures to where `custom_config` says."""
    model = build(fn_args.transform.inputs(), fn_args.custom_config["widths"])
    timing = Timing()
    model.fit(
        fn_args.train_data(),
        steps_per_epoch=fn_args.train_steps,
        callbacks=[timing, *fn_args.callbacks],
        verbose=0,
    )
    if fn_args.index == 0:
        found = figures(timing, fn_args.batch_size)
        Path(fn_args.custom_config["figures"]).write_text(json.dumps(found))
    return model
