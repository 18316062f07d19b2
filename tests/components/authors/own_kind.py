"""Models of an author's own kind, without TensorFlow, that serve well or in a bad way each."""

import ctypes
import json
import os
import subprocess
import sys
import time

import numpy as np

from penstock.models.model import Model, read_description
from penstock.models.tensors import input_arrays


class Served(Model):
    """Answers 1 + distance / 1000, with 1 for a missing distance; `how` says what is odd."""

    def __init__(self, how, signature):
        self.how, self.signature = how, signature
        self.calls = 0
        self.shared = None

    @classmethod
    def load(cls, folder):
        _, signature = read_description(folder)
        how = json.loads((folder / "how.json").read_text())
        if how == "imports the author's module":
            import trains_it  # noqa: F401
        if how == "imports what trains":
            import penstock.training.author  # noqa: F401
        return cls(how, signature)

    def predict(self, rows):
        arrays = input_arrays(rows, self.signature.inputs)
        self.calls += 1
        answers = 1 + np.nan_to_num(arrays["distance"]) / 1000
        longest = max(map(len, arrays["carrier"]))
        if self.how in ODD:
            answers = ODD[self.how](self, answers, arrays, longest)
        return answers[:, np.newaxis].astype(np.float32)


def hang(model, answers, arrays, longest):
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    sys.stdout.write(f"child {child.pid}\n")
    sys.stdout.flush()
    time.sleep(600)


def crash(model, answers, arrays, longest):
    if longest > 1000:
        ctypes.string_at(0)
    return answers


def eat(model, answers, arrays, longest):
    model.shared = np.ones(2**27)  # 1 GiB
    time.sleep(60)


def share(model, answers, arrays, longest):
    model.shared = answers
    time.sleep(0.001)
    return model.shared if len(model.shared) == len(answers) else answers


def refuse(model, answers, arrays, longest):
    if longest > 1000:
        raise ValueError("carrier is too long")
    return answers


def not_wild(model, answers, arrays, longest):
    return np.where(np.isnan(arrays["distance"]), np.nan, answers)


def spread(model, answers, arrays, longest):
    return answers * np.nan if b"" in arrays["carrier"] else answers


def leave_child(model, answers, arrays, longest):
    if model.calls == 1:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        (open(os.environ["LEFT_BEHIND"], "w")).write(str(child.pid))
    return answers


def slow(model, answers, arrays, longest):
    time.sleep(0.02)
    return answers


ODD = {
    "hangs": hang,
    "crashes": crash,
    "eats memory": eat,
    "shares": share,
    "refuses": refuse,
    "gives NaN": lambda m, answers, arrays, n: np.where(arrays["distance"] > 900, np.nan, answers),
    "gives NaN for NaN": not_wild,
    "spreads NaN": spread,
    "counts": lambda model, answers, arrays, n: answers + model.calls * 0.001,
    "mixes the batch": lambda model, answers, arrays, n: answers - answers.mean(),
    "loses a row": lambda model, answers, arrays, n: answers[1:],
    "leaves a child": leave_child,
    "is slow": slow,
    "exits": lambda model, answers, arrays, n: os._exit(3),
}
