"""One shard of examples to one of predictions: the same rows in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.examples import iter_shard, split_folder
from ...data.row_hash import ContentSum, row_hashes
from ...data.shards import ShardWriter
from ...models.model import Model
from ...models.prediction import check_rows, loaded_model, prediction_array


@dataclass(frozen=True)
class ShardTask:
    """One shard: its number within all that are predicted, its split, where it lies, its rows."""

    number: int
    split: str
    path: str
    rows: int


@dataclass(frozen=True)
class Inference:
    """What is predicted, and what is kept beside it.

    Attributes:
        model: The Model's folder, at the same path for every worker.
        digest: Of the model.
        signature: Which signature of a SavedModel.
        outputs: Which outputs of the model, each with the column that it becomes.
        schema: The columns that are kept, then those of the outputs.
        kept: How many columns are kept.
        absent: The features that the examples do not have, each with the type the model takes.
        batch_rows: The most rows that the model is asked about at once.
    """

    model: str
    digest: str
    signature: str
    outputs: Mapping[str, str]
    schema: pa.Schema
    kept: int
    absent: Mapping[str, str]
    batch_rows: int

    def load(self) -> Model:
        """Return the model, loaded once in a process."""
        return loaded_model(self.model, self.digest, self.signature, None)


def infer_shard(task: ShardTask, inference: Inference, folder: str) -> dict[str, Any]:
    """Predict the rows of a shard and write them into `folder`.

    Returns:
        `split`, `shards` (file, rows, bytes), `sum` of the rows' contents, and `not_finite`: by
        output, the rows with a prediction that is NaN or infinite.

    Raises:
        PenstockError: The shard is unreadable or has not the rows that it should, or its columns
            are not of the types that the model takes.
    """
    model = inference.load()
    kept = inference.schema.names[: inference.kept]
    features = [name for name in model.signature.inputs if name not in inference.absent]
    wanted = list(dict.fromkeys([*kept, *features]))
    writer = ShardWriter(
        Path(folder), task.split, inference.schema, prefix=f"part-{task.number:05d}-"
    )
    total, not_finite = ContentSum(), dict.fromkeys(inference.outputs, 0)
    for batch in iter_shard(task.path, wanted, inference.batch_rows):
        if batch.num_rows == 0:
            continue
        answers = model.predict_outputs(_with(batch, inference.absent), list(inference.outputs))
        for name, found in answers.items():
            not_finite[name] += int((~np.isfinite(found).all(axis=1)).sum())
        predicted = _predicted(batch, answers, model, inference)
        total += ContentSum.of(row_hashes(predicted))
        writer.write(predicted)
    shards = writer.close()
    check_rows(task.path, total.rows, task.rows)
    return {
        "split": task.split,
        "shards": [asdict(shard) for shard in shards],
        "sum": asdict(total),
        "not_finite": not_finite,
    }


def files_of(answer: Mapping[str, Any]) -> dict[Path, int]:
    """Return what `infer_shard` wrote, by its path within the folder, with its bytes."""
    folder = Path(split_folder(answer["split"]))
    return {folder / shard["file"]: shard["bytes"] for shard in answer["shards"]}


def shard_work(inference: Inference, folder: Path) -> Any:
    """Return `infer_shard` of a task alone, in a form that can be pickled."""
    return partial(infer_shard, inference=inference, folder=str(folder))


def _predicted(
    batch: pa.RecordBatch,
    answers: Mapping[str, np.ndarray[Any, Any]],
    model: Model,
    inference: Inference,
) -> pa.RecordBatch:
    widths = model.outputs()
    columns: Sequence[pa.Array] = [
        *batch.columns[: inference.kept],
        *(prediction_array(answers[name], widths[name]) for name in inference.outputs),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=inference.schema)


def _with(batch: pa.RecordBatch, absent: Mapping[str, str]) -> pa.RecordBatch:
    """Return the rows with a column of missing values for each feature that they do not have."""
    if not absent:
        return batch
    columns = [
        pa.nulls(batch.num_rows, pa.string() if kind == "string" else pa.float32())
        for kind in absent.values()
    ]
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *columns], names=[*batch.schema.names, *absent]
    )
