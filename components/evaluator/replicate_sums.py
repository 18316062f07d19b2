"""What the rows of each file add to the sums of every slice and replicate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from ...data.tasks import run_each
from ...evaluation.bootstrap import poisson_counts, replicate_sums
from .analysis import Place
from .batched import column_of, slices_of_batch
from .config import candidate_of
from .formulas import Curve, Formula, formulas
from .row_files import RowFile, read_rows

Array = np.ndarray[Any, Any]
# A term of the sums: of which model, weighted or not, and its name; or the metric that is an area.
Term: TypeAlias = tuple[str, bool, str] | metric_types.MetricKey

BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Measured:
    """A metric of one model: its key, and how its rows are weighed."""

    key: metric_types.MetricKey
    weighted: bool


@dataclass(frozen=True)
class Summing:
    """What is summed of each file.

    Attributes:
        config: As for `analyze`.
        measured: The metrics.
        places: The slices that count.
        replicates: How many replicates.
        seed: Of the replicates.
    """

    config: config_pb2.EvalConfig
    measured: tuple[Measured, ...]
    places: tuple[Place, ...]
    replicates: int
    seed: int

    def known(self) -> dict[metric_types.MetricKey, Formula | Curve]:
        """Return what is known of each metric."""
        known = formulas(self.config)
        return {m.key: known[m.key.name] for m in self.measured}

    def terms(self) -> dict[tuple[str, bool, str], Any]:
        """Return what is summed of each row: model, weighted or not, and name, to the term."""
        known = self.known()
        return {
            (m.key.model_name, m.weighted, name): term
            for m in self.measured
            if isinstance(formula := known[m.key], Formula)
            for name, term in formula.terms.items()
        }

    def ranked(self) -> list[Measured]:
        """Return the metrics that are areas: what their rows add is known once all are ranked."""
        known = self.known()
        return [m for m in self.measured if isinstance(known[m.key], Curve)]

    def columns(self) -> list[Term]:
        """Return what the columns of the sums are."""
        return [*self.terms(), *(m.key for m in self.ranked())]


@dataclass(frozen=True)
class _FileTask:
    file: RowFile
    influences: str
    target: str


def sum_files(
    files: Sequence[RowFile],
    influences: Sequence[Mapping[Place, Array]],
    summing: Summing,
    folder: Path,
    beam_pipeline_args: Sequence[str] | None,
) -> dict[Place, Array]:
    """Return the sums over all rows, file by file on Beam.

    Args:
        files: The rows.
        influences: Of each file, by slice what its rows add to the areas, `[rows, areas]`.
        summing: What is summed.
        folder: Where the parts go; every worker must see it at the same path.
        beam_pipeline_args: Beam's flags.

    Returns:
        By slice `[1 + replicates, terms]`; the first row is of each row once. The files are added
        up in their order, so the result does not depend on who summed them.
    """
    (folder / "answers").mkdir(parents=True)
    tasks = []
    for number, (file, influence) in enumerate(zip(files, influences, strict=True)):
        tasks.append(_FileTask(file, f"{folder}/{number}-in.npz", f"{folder}/{number}-out.npz"))
        _save(tasks[-1].influences, influence, summing.places)
    run_each(partial(_sum_file, summing=summing), tasks, folder / "answers", beam_pipeline_args)
    width = len(summing.columns())
    totals = {place: np.zeros((1 + summing.replicates, width)) for place in summing.places}
    for task in tasks:
        for place, part in _load(task.target, summing.places).items():
            totals[place] += part
    return totals


def _sum_file(task: _FileTask, summing: Summing) -> dict[str, Any]:
    """Write a file's sums by slice."""
    batch, numbers = read_rows(task.file)
    spec = candidate_of(summing.config)
    labels = column_of(batch, spec.label_key).ravel().astype(np.float64)
    weight = spec.example_weight_key
    weights = column_of(batch, weight).ravel().astype(np.float64) if weight else None
    scores = {
        s.name: column_of(batch, s.prediction_key).ravel() for s in summing.config.model_specs
    }
    slices = slices_of_batch(batch, summing.config)
    influences = _load(task.influences, summing.places)
    width = len(summing.columns())
    sums = {p: np.zeros((1 + summing.replicates, width)) for p in summing.places if p in slices}
    terms = summing.terms()
    for block in _blocks(len(labels)):
        counts = _counts(numbers[block], summing)
        shared = _row_terms(terms, labels, weights, scores, block)
        for place in sums:
            inside, within = _within(slices[place], block)
            own = [influences[place][within]] if place in influences else []
            sums[place] += replicate_sums(counts[inside], np.hstack([shared[inside], *own]))
    _save(task.target, sums, summing.places)
    return {}


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, rows))


def _within(rows: Any, block: slice) -> tuple[Any, slice]:
    """Return a slice's rows within a block, counted from its start, and their places among all."""
    if isinstance(rows, slice):
        return rows, block
    places = slice(*np.searchsorted(rows, [block.start, block.stop]))
    return rows[places] - block.start, places


def _counts(numbers: Array, summing: Summing) -> Array:
    first = int(numbers[0])
    rows = int(numbers[-1]) - first + 1
    counts = poisson_counts(first, rows, summing.replicates, summing.seed)
    once = np.ones((len(numbers), 1), np.uint8)
    return np.concatenate([once, counts[numbers - first]], axis=1)


def _row_terms(
    terms: Mapping[tuple[str, bool, str], Any],
    labels: Array,
    weights: Array | None,
    scores: Mapping[str, Array],
    block: slice,
) -> Array:
    """Return what each row of a block adds, `[rows, terms]` float32."""
    found = [np.empty((block.stop - block.start, 0), np.float32)]
    with np.errstate(invalid="ignore", divide="ignore"):
        for (model, weighted, _), term in terms.items():
            values = term(labels[block], scores[model][block].astype(np.float64))
            if weighted and weights is not None:
                values = values * weights[block]
            found.append(np.asarray(values, np.float32)[:, np.newaxis])
    return np.hstack(found)


def _save(file: str, arrays: Mapping[Place, Array], places: Sequence[Place]) -> None:
    number = {place: str(n) for n, place in enumerate(places)}
    named: dict[str, Any] = {number[place]: array for place, array in arrays.items()}
    np.savez(file, **named)


def _load(file: str, places: Sequence[Place]) -> dict[Place, Array]:
    with np.load(file) as found:
        return {places[int(number)]: found[number] for number in found.files}
