"""Going on where a killed training stopped: after the same step, with the same rows to come."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import PenstockError
from .places import Place
from .preemption import Preempted, Preemption

KEPT = 2
_STATE = "state.json"
_STOP = "stop"


class Checkpoints(keras.callbacks.Callback):
    """Saves a training every so many steps, and takes it up again where it was saved.

    Keras' BackupAndRestore begins the interrupted epoch again, with other rows. This callback goes
    on within the epoch: weights, optimizer, metrics and the layers' random state are as they were,
    batches that were trained on are passed over, and the history is whole. So a training that was
    killed ends as one that was not, to the bit where its operations are deterministic. Other
    callbacks, such as EarlyStopping, begin anew.

    `fit` must be given `steps_per_epoch` and a dataset that does not end and gives the same batches
    each time, as `fn_args.train_data()` does.

    Each worker saves what it holds, in a file of its own; a checkpoint counts when all files are
    there. A worker that is told to stop agrees with the others on the step to save at.

    Attributes:
        settle: Called before variables are read or written as a whole; it waits until no step is
            under way that would change them.
    """

    def __init__(self, folder: Path, every: int, place: Place, preemption: Preemption):
        """Say where and how often to save.

        Args:
            folder: Where the checkpoints lie; one for all workers, and of this training alone.
            every: Save after so many steps, at least 1.
            place: Which worker this is.
            preemption: Says whether to stop.
        """
        super().__init__()
        self._root, self._every, self._fits = folder, every, 0
        self._place, self._preemption = place, preemption
        self.settle: Callable[[], None] = lambda: None

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the last checkpoint of this `fit`, and let it begin at its epoch."""
        self._preemption.saving = True
        self._fits += 1
        self._folder = self._root / f"fit-{self._fits}"
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._place.chief:
            # What was agreed on before; nobody looks until the chief has done a step.
            (self._folder / _STOP).unlink(missing_ok=True)
        self._history: dict[str, list[float]] = {}
        self._restored = True
        self._epoch = self._in_epoch = self._passed = 0
        self._step = max(self._complete(), default=0)
        if self._step:
            state = json.loads((self._at(self._step) / _STATE).read_text(encoding="utf-8"))
            self._history = state["history"]
            self._epoch, self._passed = state["epoch"], state["in_epoch"]
            self.model._initial_epoch = self._epoch
            self._restored = False
            self.model.train_function = self._resumed(self.model.train_function)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch."""
        self._passed = self._passed if epoch == self._epoch else 0
        self._epoch, self._in_epoch = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save when it is time to, and stop when told to.

        Raises:
            Preempted: The training was told to stop, and has been saved.
        """
        steps, self._in_epoch = batch + 1 - self._in_epoch, batch + 1
        if self._in_epoch <= self._passed:
            return
        before, self._step = self._step, self._step + steps
        stop = self._stop_after()
        if self._step == stop or self._step // self._every > before // self._every:
            self._save()
        if stop is not None and self._step >= stop:
            raise Preempted

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch's metrics; the next step is the first of an epoch."""
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._epoch, self._in_epoch, self._passed = epoch + 1, 0, 0

    def on_train_end(self, logs: Any = None) -> None:
        """Save the end, from which a second `fit` goes on, and make the history whole."""
        self._preemption.saving = False
        if not self._restored:
            self._restore()
        self._save()
        history = getattr(self.model, "history", None) or keras.callbacks.History()
        history.history = {name: list(values) for name, values in self._history.items()}
        history.epoch = list(range(self._epoch))
        self.model.history = history

    def _resumed(self, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return what stands in for `run` until the training is where it was."""
        logs: Any = None
        left = self._passed

        def take_up(iterator: Any) -> Any:
            nonlocal logs, left
            if not self._restored:
                # One step is run so that Keras makes all variables; their values are then replaced.
                logs = run(iterator)
                self._pass_over(iterator, self._step - self.model.steps_per_execution)
                self._restore()
            if left <= 0:
                self.model.train_function = run
                return run(iterator)
            left -= self.model.steps_per_execution
            return logs

        return take_up

    def _pass_over(self, iterator: Any, batches: int) -> None:
        try:
            for _ in range(batches):
                next(iterator)
        except StopIteration as end:
            raise PenstockError(
                f"Training cannot go on after step {self._step}: its dataset ended before. Give "
                "fit an endless one, such as fn_args.train_data(), and steps_per_epoch."
            ) from end

    def _at(self, step: int) -> Path:
        return self._folder / f"step-{step:09d}"

    def _file(self, step: int, worker: int) -> Path:
        return self._at(step) / f"worker-{worker:05d}.npz"

    def _complete(self) -> list[int]:
        steps = [int(path.name[5:]) for path in self._folder.glob("step-*")]
        return sorted(
            step
            for step in steps
            if (self._at(step) / _STATE).exists()
            and all(self._file(step, worker).exists() for worker in range(self._place.workers))
        )

    def _stop_after(self) -> int | None:
        """Return the step that all workers stop after, once one of them is told to stop.

        Workers in step are at most one step apart, so two steps ahead is ahead of all of them.
        """
        file = self._folder / _STOP
        try:
            stop = int(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            stop = -1
        if stop < self._step and self._preemption.told:
            stop = self._step + (2 if self._place.workers > 1 else 0)
            _write(file, str(stop))
        return stop if stop >= self._step else None

    def _variables(self) -> Iterator[tuple[str, Any]]:
        """Yield each variable as this worker's replicas hold it, by a name."""
        parts = {
            "model": self.model.variables,
            "optimizer": self.model.optimizer.variables if self.model.optimizer else [],
            "metrics": self.model.metrics_variables,
        }
        local = self.model.distribute_strategy.experimental_local_results
        for part, variables in parts.items():
            for number, variable in enumerate(variables):
                for replica, held in enumerate(local(variable.value)):
                    yield f"{part}.{number}.{replica}", held

    def _save(self) -> None:
        self.settle()
        self._at(self._step).mkdir(exist_ok=True)
        file = self._file(self._step, self._place.index)
        draft = file.with_suffix(".tmp")
        with draft.open("wb") as sink:
            np.savez(sink, **{name: held.numpy() for name, held in self._variables()})
        draft.replace(file)
        if self._place.chief:
            state = {"epoch": self._epoch, "in_epoch": self._in_epoch, "history": self._history}
            _write(self._at(self._step) / _STATE, json.dumps(state))
            complete = self._complete()
            for path in self._folder.glob("step-*"):
                if len(complete) >= KEPT and int(path.name[5:]) < complete[-KEPT]:
                    shutil.rmtree(path, ignore_errors=True)

    def _restore(self) -> None:
        self.settle()
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        with np.load(self._file(self._step, self._place.index)) as saved:
            for name, held in self._variables():
                if name not in saved or saved[name].shape != held.shape:
                    raise PenstockError(
                        f"The checkpoint {self._at(self._step)} is of another model than the one "
                        "that run_fn builds now; remove it, or give another checkpoint_dir."
                    )
                value = saved[name]
                if value.dtype.kind == "V":  # bfloat16, which numpy's files do not name
                    value = value.view(held.dtype.as_numpy_dtype)
                held.assign(value)
        self._restored = True


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
