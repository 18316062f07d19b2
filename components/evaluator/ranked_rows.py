"""Labels, scores and weights of all rows at once, for what has to rank them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_model_analysis.proto import config_pb2

from .analysis import Place
from .batched import column_of, slices_of_batch
from .config import candidate_of
from .row_files import RowFile, read_rows

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RankedRows:
    """All rows, in the order of their files.

    Attributes:
        labels: `[rows]` float64.
        scores: By model spec's name, `[rows]`.
        weights: `[rows]` float64; None without weights.
        slices: Of each file, by slice the numbers of its rows within the file.
        starts: Number of each file's first row, and of the row behind the last.
    """

    labels: Array
    scores: Mapping[str, Array]
    weights: Array | None
    slices: tuple[Mapping[Place, Any], ...]
    starts: Array

    @property
    def are_classes(self) -> bool:
        """Whether every label is 0 or 1."""
        return bool(np.isin(self.labels, (0.0, 1.0)).all())

    def of_place(self, place: Place) -> Array:
        """Return the numbers of a slice's rows."""
        return np.concatenate(
            [self.starts[file] + self._rows(file, place) for file in range(len(self.slices))]
        )

    def by_file(self, place: Place, values: Array) -> Iterator[Array]:
        """Yield what belongs to each file of an array with a row for each of a slice's rows."""
        start = 0
        for file in range(len(self.slices)):
            stop = start + len(self._rows(file, place))
            yield values[start:stop]
            start = stop

    def _rows(self, file: int, place: Place) -> Array:
        rows = self.slices[file].get(place)
        if rows is None:
            return np.empty(0, np.int64)
        whole = np.arange(self.starts[file + 1] - self.starts[file])
        return whole[rows] if isinstance(rows, slice) else rows


def ranked_rows(files: Sequence[RowFile], config: config_pb2.EvalConfig) -> RankedRows:
    """Read all rows' labels, scores and weights, and which slices they are in."""
    spec = candidate_of(config)
    weight = spec.example_weight_key
    return RankedRows(
        whole_column(files, spec.label_key, np.float64),
        {s.name: whole_column(files, s.prediction_key, np.float32) for s in config.model_specs},
        whole_column(files, weight, np.float64) if weight else None,
        tuple(slices_of_batch(read_rows(file)[0], config) for file in files),
        np.cumsum([0, *(file.rows for file in files)]),
    )


def whole_column(files: Sequence[RowFile], name: str, kind: type[np.floating[Any]]) -> Array:
    """Return a column of numbers of all rows, `[rows]`."""
    parts = [column_of(read_rows(file)[0], name).ravel().astype(kind) for file in files]
    return np.concatenate(parts)
