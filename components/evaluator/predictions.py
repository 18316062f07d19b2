"""One pass of the models over a split, in large batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.examples import iter_shard, read_manifest, shard_paths
from ...data.tasks import run_each
from ...errors import PenstockError
from ...models.model import Model
from ...models.prediction import BATCH_ROWS, check_rows, loaded_model
from ...models.tensors import check_columns
from .row_files import RowFile, write_rows

ANSWERS = "answers"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Source:
    """Where a model's predictions come from.

    Attributes:
        name: The model spec's name; empty where there is one model only.
        model: The Model's folder; None where the Examples hold the predictions already.
        signature: The name of a SavedModel's signature; `serving_default` when empty.
        output: Which of the signature's outputs is the prediction; may be empty if it has one.
            Without a model: the column of the Examples.
        digest: Of the model, by which a process knows what it has loaded.
    """

    name: str
    model: str | os.PathLike[str] | None
    signature: str = ""
    output: str = ""
    digest: str = ""

    def load(self) -> Model | None:
        """Return the model, loaded once in a process; None where there is none."""
        if self.model is None:
            return None
        return loaded_model(str(self.model), self.digest, self.signature, self.output)


@dataclass(frozen=True)
class Predictions:
    """What the metrics are computed from.

    Attributes:
        files: The rows: the needed columns, flat, and a column of predictions per model: `[rows]`
            float32 for a model with one output value, a list of float32 per row otherwise.
        columns: By model spec's name, the name of its column.
        rows: Rows of the split.
        not_finite: By model spec's name, rows for which it predicts NaN or infinity. They are left
            out of `files` for all models: no metric of them means anything, and models are
            compared over the same rows.
    """

    files: tuple[RowFile, ...]
    columns: Mapping[str, str]
    rows: int
    not_finite: Mapping[str, int]


@dataclass(frozen=True)
class _Shard:
    """A shard of the split, the number of its first row, how many it has, and where they go."""

    path: str
    first: int
    rows: int
    target: str


@dataclass(frozen=True)
class _Prediction:
    """What is done with each shard; see `predict`."""

    sources: tuple[Source, ...]
    columns: tuple[str, ...]
    answers: Mapping[str, str]
    required: tuple[str, ...]
    split: str


def predict(
    examples: str | os.PathLike[str],
    split: str,
    sources: Sequence[Source],
    columns: Sequence[str],
    folder: Path,
    *,
    required: Sequence[str] = (),
    known_columns: Mapping[str, str],
    beam_pipeline_args: Sequence[str] | None = None,
) -> Predictions:
    """Predict every row of `split` with each model, of whatever kind it is, shard by shard on Beam.

    Args:
        examples: The Examples' folder.
        split: Which split.
        sources: The models, or the columns that hold their predictions.
        columns: Which columns of the Examples to keep beside the predictions.
        folder: Where the rows go; every worker must see it at the same path.
        required: Which columns may not have a missing value (label, weight).
        known_columns: The Examples' columns with Arrow's name for their types.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Raises:
        PenstockError: A model cannot be loaded, takes a feature that the Examples lack, or does
            not give the asked output; a required column has missing values; the Examples do not
            hold the predictions that they should.
    """
    models = {source.name: _load(source, known_columns) for source in sources}
    answers = _column_names(sources, models, columns)
    prediction = _Prediction(tuple(sources), tuple(columns), answers, tuple(required), split)
    (folder / ANSWERS).mkdir(parents=True)
    shards: list[_Shard] = []
    first = 0
    listed = read_manifest(examples).shards(split)
    for path, shard in zip(shard_paths(examples, split), listed, strict=True):
        target = str(folder / f"{len(shards):05}.arrow")
        shards.append(_Shard(str(path), first, shard.rows, target))
        first += shard.rows
    work = partial(_predict_shard, prediction=prediction)
    done = run_each(work, shards, folder / ANSWERS, beam_pipeline_args)
    files = tuple(RowFile(**answer["file"]) for answer in done if answer["file"])
    not_finite = {name: sum(answer["not_finite"][name] for answer in done) for name in answers}
    return Predictions(files, answers, first, not_finite)


def _predict_shard(shard: _Shard, prediction: _Prediction) -> dict[str, Any]:
    """Write the rows of a shard with their predictions; return the file and what was left out."""
    models = {source.name: source.load() for source in prediction.sources}
    features = [name for model in models.values() if model for name in model.signature.inputs]
    given = [source.output for source in prediction.sources if source.model is None]
    columns = prediction.columns
    wanted = list(dict.fromkeys([*columns, *features, *given]))
    names = [*columns, *prediction.answers.values()]
    batches, numbers, rows = [], [], 0
    not_finite = dict.fromkeys(prediction.answers, 0)
    for batch in iter_shard(shard.path, wanted, BATCH_ROWS):
        for name in prediction.required:
            _refuse_missing(batch.column(wanted.index(name)), name, prediction.split)
        kept = np.ones(batch.num_rows, bool)
        found = [batch.column(wanted.index(name)) for name in columns]
        for source in prediction.sources:
            predicted = _answer(models[source.name], batch, source)
            finite = np.isfinite(predicted).all(axis=1)
            not_finite[source.name] += int((~finite).sum())
            kept &= finite
            found.append(_flat_or_list(predicted))
        whole = pa.RecordBatch.from_arrays(found, names=names)
        batches.append(whole if kept.all() else whole.filter(pa.array(kept)))
        numbers.append(shard.first + rows + np.flatnonzero(kept))
        rows += batch.num_rows
    check_rows(shard.path, rows, shard.rows)
    file = write_rows(Path(shard.target), batches, numbers)
    return {"file": asdict(file) if file else None, "not_finite": not_finite}


def _load(source: Source, known_columns: Mapping[str, str]) -> Model | None:
    model = source.load()
    if model is not None:
        check_columns(model.signature.inputs, known_columns)
        return model
    if not source.output:
        raise PenstockError(
            "There is no model, and model_specs of eval_config has no prediction_key; connect a "
            "model, or name the column of the examples that holds the predictions."
        )
    if source.output not in known_columns:
        raise PenstockError(
            f"prediction_key of eval_config names the column {source.output!r}, which the examples "
            f"do not have; they have {', '.join(sorted(known_columns))}."
        )
    return None


def _column_names(
    sources: Sequence[Source], models: Mapping[str, Model | None], columns: Sequence[str]
) -> dict[str, str]:
    """Return a column name for each model's predictions that no other column has."""
    names: dict[str, str] = {}
    for source in sources:
        model = models[source.name]
        name = model.signature.output if model else source.output
        while name in columns or name in names.values():
            name = f"_{name}"
        names[source.name] = name
    return names


def _answer(model: Model | None, batch: pa.RecordBatch, source: Source) -> Array:
    """Return the predictions `[rows, width]` float32."""
    if model is not None:
        return model.predict(batch)
    column = batch.column(batch.schema.get_field_index(source.output))
    try:
        if not pa.types.is_nested(column.type):
            values = column.cast(pa.float32()).to_numpy(zero_copy_only=False)
            return np.asarray(values, np.float32).reshape(-1, 1)
        lengths = column.value_lengths().drop_null().unique().to_pylist()
        if len(lengths) != 1 or column.null_count:
            raise PenstockError(
                f"The column {source.output!r} holds predictions of different widths, or none for "
                "some rows; give each row a list of the same length."
            )
        flat = column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
        return np.asarray(flat, np.float32).reshape(batch.num_rows, -1)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PenstockError(
            f"The column {source.output!r}, which prediction_key of eval_config names, is of type "
            f"{column.type}; predictions are numbers, or lists of numbers."
        ) from error


def _refuse_missing(column: pa.Array, name: str, split: str) -> None:
    if column.null_count:
        raise PenstockError(
            f"Column {name!r} has missing values in split {split!r}; a label or weight must be "
            "there for every row that is evaluated, so drop such rows before example_gen."
        )


def _flat_or_list(predicted: Array) -> pa.Array:
    if predicted.shape[1] == 1:
        return pa.array(predicted[:, 0])
    flat = pa.array(predicted.reshape(-1))
    offsets = pa.array(np.arange(0, len(flat) + 1, predicted.shape[1]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, flat)
