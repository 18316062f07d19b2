"""What is to be found out about a model, and what was, in files that two processes share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import PenstockError
from .transform_graph import Kind

TASK, ROWS, JOURNAL, WARMUP = "task.json", "rows.parquet", "journal.jsonl", "warmup"


@dataclass(frozen=True)
class Task:
    """What is to be found out.

    Attributes:
        model: The folder of the Model artifact.
        parent: The process that asks; this one does not outlive it.
        started: When it was started, on the clock of `time.monotonic`.
        batches: Rows per request, ascending.
        threads: How many requests at once.
        features: Those of the schema that a server is sent, with their kinds.
        optional: Those of them that a row may lack.
        signatures: Of a SavedModel, those to ask; all that can be asked when empty.
        output: Of a SavedModel, which output is the prediction; see `endpoints`.
        absent: Modules and packages that are not there when a model is served.
        skipped: Cases of wild rows that are not sent.
    """

    model: str
    parent: int
    started: float
    batches: Sequence[int]
    threads: int
    features: Mapping[str, Kind]
    optional: Sequence[str]
    signatures: Sequence[str] = ()
    output: str = ""
    absent: Sequence[str] = ()
    skipped: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """Write `task.json`."""
        (folder / TASK).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Read what `write` wrote."""
        return cls(**json.loads((folder / TASK).read_text(encoding="utf-8")))


class Journal:
    """What was found, and what is being done."""

    def __init__(self, file: Path):
        self._file = file.open("a", encoding="utf-8")

    def note(self, finding: str, **parts: Any) -> None:
        """Write one finding."""
        self._file.write(json.dumps({"finding": finding, **parts}) + "\n")
        self._file.flush()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say what is being done, so that it is known where the process was when it ended."""
        self.note("doing", what=what)
        yield
        self.note("done")


def first_line(error: BaseException) -> str:
    """Return what an error says, in a line."""
    said = str(error).strip().partition("\n")[0].rstrip(".")
    kind = type(error).__name__
    if isinstance(error, PenstockError):
        return said
    return f"{kind}: {said}" if said else kind
