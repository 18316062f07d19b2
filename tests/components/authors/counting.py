"""An author's module for parameter servers: `keras_run_fn`, and a callback that keeps counts."""

import json
import os
import signal
import time
from pathlib import Path

import keras
import psutil

from penstock.training.fn_args import FnArgs
from penstock.training.keras_run import keras_run_fn


class Counts(keras.callbacks.Callback):
    """Writes what the counters say at the end of each epoch, and meets with accidents on the way.

    `accidents` has a list for each time that the training is begun or taken up, of
    `[who, signal, step]`: after so many steps of this process, `who` gets the signal.
    """

    def __init__(self, folder: Path, accidents: list):
        super().__init__()
        self._folder, self._accidents, self._steps = folder, accidents, 0

    def on_train_begin(self, logs=None):
        start = len(list(self._folder.glob("start-*")))
        (self._folder / f"start-{start}").touch()
        self._due = self._accidents[start] if start < len(self._accidents) else []
        self._told = False
        before = signal.getsignal(signal.SIGTERM)

        def note(number, frame):
            self._told = True
            before(number, frame)

        signal.signal(signal.SIGTERM, note)

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        for who, name, step in self._due:
            if int(step) == self._steps:
                pid = os.getppid() if who == "step" else process_of(who)
                os.kill(pid, getattr(signal, name))
                while who == "step" and not self._told:
                    time.sleep(0.01)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_test_begin(self, logs=None):
        model = self.model
        line = {
            "epoch": self._epoch,
            "iterations": int(model.optimizer.iterations),
            "rows": float(model.metrics[0].count.value),
            "pid": os.getpid(),
        }
        with (self._folder / "counts.jsonl").open("a") as sink:
            sink.write(json.dumps(line) + "\n")


def process_of(who: str) -> int:
    """The process beside this one that is `worker-1` or the like by its TF_CONFIG."""
    for process in psutil.Process(os.getppid()).children():
        task = json.loads(process.environ()["TF_CONFIG"])["task"]
        if f"{task['type']}-{task['index']}" == who:
            return process.pid
    raise LookupError(who)


def build(fn_args: FnArgs) -> keras.Model:
    inputs = fn_args.transform.inputs()
    tail = keras.layers.Embedding(fn_args.transform.size("tail"), 2)(inputs["tail"])
    parts = [keras.layers.Flatten()(tail)] + [v for n, v in inputs.items() if n != "tail"]
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()(parts))
    hidden = keras.layers.Dropout(0.1)(keras.layers.BatchNormalization()(hidden))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    auc = keras.metrics.AUC(name="auc")
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=[auc])
    return model


def run_fn(fn_args: FnArgs) -> keras.Model:
    settings = dict(fn_args.custom_config)
    counts = Counts(Path(settings.pop("folder")), settings.pop("accidents", []))
    return keras_run_fn(fn_args, build, callbacks=[counts], verbose=0, **settings)
