"""A model asked in a process of its own, which has what serving has and nothing else.

As a program, `python -m penstock.models.probe <folder>`, it reads `task.json` and `rows.parquet`
from the folder, and writes what it finds into `journal.jsonl`, a line at a time, so that what was
found is there even when the model takes the process down. It judges nothing.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import PenstockError
from ..processes import die_with_parent
from .inquiry import JOURNAL, ROWS, WARMUP, Journal, Task, first_line

if TYPE_CHECKING:
    import pyarrow as pa

    from .endpoints import Endpoint
    from .model import Predictions
    from .parity import Parity

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Absent(importlib.abc.MetaPathFinder):
    """Modules that cannot be imported, as if they were not installed."""

    def __init__(self, names: Sequence[str]):
        self._names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Refuse the modules; leave others to the other finders."""
        if any(fullname == name or fullname.startswith(f"{name}.") for name in self._names):
            raise ModuleNotFoundError(
                f"{fullname} is not there when the model is served", name=fullname
            )


def peak_bytes() -> int:
    """Return the most memory that this process has held at once."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(path: str) -> NoReturn:
    """Do the task in the folder `path`, and leave."""
    folder = Path(path)
    task = Task.read(folder)
    die_with_parent(task.parent)
    # What the model starts and lets go stays beneath this process, and can be ended with it.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.meta_path.insert(0, Absent(task.absent))
    journal = Journal(folder / JOURNAL)
    endpoints = _load(task, journal)
    if endpoints:
        from .questions import ask_all

        rows, parity = _read(folder, task, journal)
        answers = ask_all(task, endpoints, rows, parity, journal)
        journal.note("memory", peak_bytes=peak_bytes())
        with journal.doing("writing the warm-up requests"):
            _warm_up(folder / WARMUP, task, endpoints, rows, answers, journal)
    journal.note("end")
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the model's own must not keep the process: all that was to be asked was asked.
    os._exit(0)


def _load(task: Task, journal: Journal) -> list[Endpoint]:
    from .loading import model_kind, serving_folder

    folder = serving_folder(task.model)
    try:
        with journal.doing("loading the model"):
            kind = model_kind(folder)
            from .endpoints import predict_endpoint, signature_endpoints

            if kind == "saved_model":
                endpoints, left = signature_endpoints(
                    folder, task.features, task.signatures, task.output
                )
            else:
                endpoints, left = predict_endpoint(folder, task.signatures)
    except Exception as error:  # whatever the model's own code raises is the finding
        journal.note("load", error=first_line(error))
        return []
    journal.note("load", kind=kind, seconds=time.monotonic() - task.started)
    for endpoint in endpoints:
        signature = endpoint.model.signature
        journal.note("signature", of=endpoint.name, sends=endpoint.sends, output=signature.output)
    for each in left:
        journal.note("signature", of=each.name, left_out=each.why, wrong=each.wrong)
    return endpoints


def _read(folder: Path, task: Task, journal: Journal) -> tuple[pa.Table, Parity | None]:
    """Return as many rows as the largest batch has, repeated where there are fewer; and parity."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .parity import read_parity

    rows = pq.read_table(folder / ROWS)
    rows = rows.take(pa.array([place % len(rows) for place in range(max(task.batches))]))
    try:
        parity = read_parity(task.model)
    except PenstockError as error:
        parity = None
        journal.note("parity", error=first_line(error))
    return rows, parity


def _warm_up(
    file: Path,
    task: Task,
    endpoints: Sequence[Endpoint],
    rows: pa.Table,
    answers: Mapping[str, Predictions],
    journal: Journal,
) -> None:
    """Write a request of each batch for each signature that answered."""
    asked = [e for e in endpoints if e.function is not None and e.name in answers]
    if not asked:
        return
    from .tensors import input_arrays
    from .warmup import write_warmup

    requests = []
    for endpoint in asked:
        arrays = input_arrays(endpoint.prepare(rows), endpoint.model.signature.inputs)
        for batch in task.batches:
            cut = {name: values[:batch] for name, values in arrays.items()}
            requests.append((endpoint.name, cut, endpoint.function))
    try:
        journal.note("warmup", requests=write_warmup(file, requests))
    except ImportError as error:
        journal.note("warmup", error=first_line(error))


if __name__ == "__main__":
    main(sys.argv[1])
