"""Work that is done task by task on Beam, each task's answer in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import PenstockError
from .beam import pipeline_options

Task = TypeVar("Task")
Answer = dict[str, Any]


def run_each(
    work: Callable[[Task], Answer],
    tasks: Sequence[Task],
    answers: Path,
    beam_pipeline_args: Sequence[str] | None = None,
) -> list[Answer]:
    """Do `work` for each task as a Beam pipeline; return the answers in the order of the tasks.

    A task whose answer is there already is not done again. What a task writes beside its answer
    must bear its number, as a runner may repeat it; the answer comes last, so it says that all is
    there. Workers need the files that tasks name, and `answers`, at the same paths.

    Args:
        work: Takes a task, returns what JSON can hold. It is pickled, as are the tasks.
        tasks: What to do.
        answers: An existing folder for the answers, `<number>.json`.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Raises:
        PenstockError: A task's; the first one's when there are several.
    """
    numbered = [
        (number, task) for number, task in enumerate(tasks) if not _file(answers, number).is_file()
    ]
    if numbered:
        import apache_beam as beam

        with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
            _ = (
                pipeline
                | "Tasks" >> beam.Create(numbered)
                | "Spread" >> beam.Reshuffle()
                | "Work" >> beam.Map(partial(_answer, work=work, answers=str(answers)))
            )
    found = [json.loads(_file(answers, n).read_text("utf-8")) for n in range(len(tasks))]
    faults = [number for number, answer in enumerate(found) if "error" in answer]
    for number in faults:
        # Whoever tries again shall have it tried again.
        _file(answers, number).unlink()
    for number in faults:
        raise PenstockError(found[number]["error"])
    return found


def _answer(numbered: tuple[int, Any], work: Callable[[Any], Answer], answers: str) -> None:
    number, task = numbered
    try:
        answer = work(task)
    except PenstockError as error:
        # Beam would wrap it; whoever gathers the answers raises it.
        answer = {"error": str(error)}
    file = _file(Path(answers), number)
    waiting = file.with_suffix(".tmp")
    waiting.write_text(json.dumps(answer), encoding="utf-8")
    waiting.replace(file)


def _file(answers: Path, number: int) -> Path:
    return answers / f"{number}.json"
