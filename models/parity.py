"""A few rows with the trained model's own answers, which whoever serves the model can compare."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import PenstockError
from .model import Predictions

FILE = "parity.parquet"
_TOLERANCE = b"penstock.tolerance"


@dataclass(frozen=True)
class Parity:
    """What the trainer's process was answered.

    Attributes:
        rows: Raw columns.
        answers: `[rows, width]` float32.
        tolerance: By how much, relatively or absolutely, the export was allowed to differ.
    """

    rows: pa.Table
    answers: Predictions
    tolerance: float


def write_parity(folder: Path, parity: Parity) -> None:
    """Write `parity.parquet` into a Model's folder: a struct `row` and a list `answer`."""
    rows = parity.rows.combine_chunks()
    columns = [rows.column(name).combine_chunks() for name in rows.column_names]
    structs = pa.StructArray.from_arrays(
        [c.chunk(0) if isinstance(c, pa.ChunkedArray) else c for c in columns], rows.column_names
    )
    answers = pa.array(list(parity.answers), pa.list_(pa.float32()))
    table = pa.table({"row": structs, "answer": answers})
    metadata = {_TOLERANCE: repr(parity.tolerance)}
    pq.write_table(table.replace_schema_metadata(metadata), folder / FILE)


def read_parity(folder: str | os.PathLike[str]) -> Parity | None:
    """Read what `write_parity` wrote; None where nothing was.

    Raises:
        PenstockError: The file is damaged.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        return None
    try:
        table = pq.read_table(file)
        rows = pa.Table.from_batches(
            [pa.RecordBatch.from_struct_array(c) for c in table["row"].chunks]
        )
        answers = np.array(table["answer"].to_pylist(), np.float32)
        tolerance = float(table.schema.metadata[_TOLERANCE])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise PenstockError(
            f"{file} does not hold the trainer's answers ({type(error).__name__}: {error}); train "
            "the model again."
        ) from error
    return Parity(rows, answers, tolerance)
