"""Examples and a model to predictions, shard by shard on Beam."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...data.digest import digest_bytes, digest_path
from ...data.examples import (
    Column,
    Manifest,
    Shard,
    read_manifest,
    read_schema,
    shard_paths,
    write_manifest,
)
from ...data.output import link_file, new_folder
from ...data.row_hash import ContentSum, content_digest
from ...data.tasks import run_each
from ...errors import PenstockError
from ...evaluation.clearance import clearance, read_blessing_of
from ...models.loading import model_kind, serving_folder
from ...models.prediction import BATCH_ROWS, loaded_model, prediction_type
from .checkpoint import checkpoint, forget_broken
from .choices import absent_features, chosen_outputs, chosen_splits
from .inference import Inference, ShardTask, files_of, shard_work

FORMAT = 1
WORK = "work"
ANSWERS = "answers"


def infer(
    examples: str | os.PathLike[str],
    model: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    blessing: str | os.PathLike[str] | None = None,
    *,
    splits: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    outputs: Mapping[str, str] | None = None,
    signature: str = "",
    missing_features: str = "fail",
    batch_rows: int = BATCH_ROWS,
    checkpoint_dir: str = "",
    allow_unvalidated: bool = False,
    beam_pipeline_args: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Predict every row and write the predictions, with chosen columns, as Examples.

    Rows keep their order. Memory holds one batch and what the model needs for it, however many
    rows there are.

    Args:
        examples: The Examples' folder.
        model: The Model's folder.
        predictions: The folder to write.
        blessing: The Blessing's folder, of this very model; None to predict without.
        splits: Which splits; all when None.
        columns: Which columns to keep; all when None, none when empty.
        outputs: Outputs of the model, each with the name of its column; all, under their own
            names, when None.
        signature: Which signature of a SavedModel; `serving_default` when empty.
        missing_features: `fail` or `as_missing`, for features that the examples do not have.
        batch_rows: The most rows that the model is asked about at once, 1 or more.
        checkpoint_dir: Where finished shards outlive a step that is killed; nowhere when empty.
        allow_unvalidated: Use a model that nobody has evaluated, when `blessing` is None.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Returns:
        Metadata: summary, rows per split, content_digest, model_digest, not_finite.

    Raises:
        PenstockError: The model is not blessed; a split, column, output or feature is unknown or
            a name is taken twice; or a shard cannot be predicted.
    """
    if batch_rows < 1:
        raise PenstockError(f"batch_rows is {batch_rows}; give 1 or more, such as {BATCH_ROWS}.")
    model_kind(serving_folder(model))
    digest = digest_path(serving_folder(model))
    why = _cleared(blessing, model, digest, allow_unvalidated)
    manifest = read_manifest(examples)
    chosen = chosen_splits(manifest, splits)
    schema = read_schema(examples, chosen[0])
    kept = read_schema(examples, chosen[0], columns)
    loaded = loaded_model(str(model), digest, signature, None)
    asked = chosen_outputs(outputs, loaded.outputs(), kept.names)
    absent = absent_features(loaded.signature.inputs, schema, missing_features)
    fields = [pa.field(name, prediction_type(loaded.outputs()[of])) for of, name in asked.items()]
    inference = Inference(
        str(model),
        digest,
        signature,
        asked,
        pa.schema([*kept, *fields]),
        len(kept),
        absent,
        batch_rows,
    )
    tasks = _tasks(examples, manifest, chosen)
    key = _key(inference, manifest, tasks)
    with checkpoint(checkpoint_dir, key) as outlives, new_folder(predictions) as folder:
        place = outlives or folder / WORK
        (place / ANSWERS).mkdir(parents=True, exist_ok=True)
        forget_broken(place / ANSWERS, place)
        work = shard_work(inference, place)
        answers = run_each(work, tasks, place / ANSWERS, beam_pipeline_args)
        for file in [file for answer in answers for file in files_of(answer)]:
            link_file(place / file, folder / file)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        written = _manifest(manifest, inference, tasks, answers, why)
        write_manifest(folder, written)
    return _metadata(written, answers)


def _cleared(
    blessing: str | os.PathLike[str] | None,
    model: str | os.PathLike[str],
    digest: str,
    allow_unvalidated: bool,
) -> str:
    """Return why the model may be used.

    Raises:
        PenstockError: It may not, or the blessing is of another model.
    """
    record = read_blessing_of(blessing, model, digest)
    allowed, why = clearance(record, allow_unvalidated, component="bulk_inferrer", done="Predicted")
    if not allowed:
        raise PenstockError(why)
    return why


def _tasks(
    examples: str | os.PathLike[str], manifest: Manifest, splits: Sequence[str]
) -> list[ShardTask]:
    found = [
        (split, str(path), shard.rows)
        for split in splits
        for path, shard in zip(shard_paths(examples, split), manifest.shards(split), strict=True)
    ]
    return [ShardTask(number, *shard) for number, shard in enumerate(found)]


def _key(inference: Inference, manifest: Manifest, tasks: Sequence[ShardTask]) -> str:
    """Return what finished shards must have in common to be of the same predictions."""
    told = {
        "format": FORMAT,
        "examples": manifest.content_digest,
        "shards": [
            [task.split, Path(task.path).name, shard.rows, shard.bytes]
            for task in tasks
            for shard in manifest.shards(task.split)
            if shard.file == Path(task.path).name
        ],
        "model": inference.digest,
        "signature": inference.signature,
        "outputs": dict(inference.outputs),
        "columns": [[field.name, str(field.type)] for field in inference.schema],
        "absent": sorted(inference.absent),
    }
    return digest_bytes(json.dumps(told).encode()).removeprefix("sha256:")


def _manifest(
    examples: Manifest,
    inference: Inference,
    tasks: Sequence[ShardTask],
    answers: Sequence[Mapping[str, Any]],
    cleared: str,
) -> Manifest:
    shards: dict[str, tuple[Shard, ...]] = {}
    sums: dict[str, ContentSum] = {}
    for task, answer in zip(tasks, answers, strict=True):
        written = tuple(Shard(**shard) for shard in answer["shards"])
        shards[task.split] = shards.get(task.split, ()) + written
        sums[task.split] = sums.get(task.split, ContentSum()) + ContentSum(**answer["sum"])
    columns = tuple(Column(field.name, str(field.type)) for field in inference.schema)
    types = sorted((column.name, column.type) for column in columns)
    source: dict[str, Any] = {
        "predictions_of": examples.content_digest,
        "model_digest": inference.digest,
        "signature": inference.signature or None,
        "outputs": dict(inference.outputs),
        "absent_features": sorted(inference.absent),
        "clearance": cleared,
    }
    if "span_rows" in examples.source:
        # Rows keep their order, so what is known of it stays true.
        spans = examples.source["span_rows"]
        source["span_rows"] = {split: spans[split] for split in shards if split in spans}
    rows = sum(task.rows for task in tasks)
    return Manifest(
        columns=columns,
        schema_digest=digest_bytes(json.dumps(types).encode()),
        content_digest=content_digest(sums),
        spans=examples.spans,
        source=source,
        splits=shards,
        accounts={"in": rows, "out": sum(s.rows for s in sums.values())}
        | {"quarantined": 0, "filtered": 0},
    )


def _metadata(manifest: Manifest, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = {split: manifest.rows(split) for split in manifest.splits}
    not_finite = {
        name: sum(answer["not_finite"][name] for answer in answers)
        for name in manifest.source["outputs"]
    }
    shares = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    summary = f"{sum(rows.values()):,} rows predicted: {shares}"
    for name, number in not_finite.items():
        if number:
            summary += f"; {name} is not finite in {number:,}"
    return {
        "summary": summary,
        "rows": rows,
        "content_digest": manifest.content_digest,
        "model_digest": manifest.source["model_digest"],
        "not_finite": not_finite,
    }
