"""Train the author's model, export it behind its preprocessing, record where it came from."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...data.digest import digest_path
from ...data.examples import Manifest, iter_batches, read_manifest
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...errors import PenstockError
from ...models.loading import serving_folder as served
from ...training.author import author_attribute, load_author_module, module_source
from ...training.author_code import module_name
from ...training.hyperparameters import read_hyperparameters
from .provenance import code_digest, git_commit
from .scale import Scale, check_scale, train_on
from .worker import Work

FORMAT = 1


def train(
    examples: str | os.PathLike[str],
    transform_graph: str | os.PathLike[str],
    schema: str | os.PathLike[str],
    model: str | os.PathLike[str],
    module: str,
    label: str,
    train_steps: int = 1000,
    batch_size: int = 512,
    train_split: str = "train",
    eval_split: str = "eval",
    seed: int = 0,
    hyperparameters: Mapping[str, Any] | None = None,
    custom_config: Mapping[str, Any] | None = None,
    eval_steps: int | None = None,
    statistics: str | os.PathLike[str] | None = None,
    base_model: str | os.PathLike[str] | None = None,
    best_hyperparameters: str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    scale: Scale | None = None,
) -> dict[str, Any]:
    """Call the author's `run_fn` and write a Model.

    Args:
        examples: Folder of the Examples.
        transform_graph: Folder of the TransformGraph fitted to them.
        schema: Folder of the Schema.
        model: Where to write.
        module: Import path or `.py` file of the module that defines `run_fn`.
        label: The label's column, a number or boolean without missing values.
        train_steps: How many batches to train on.
        batch_size: Rows per training batch, of all workers together; with parameter servers of
            the one worker whose step it is.
        train_split: The split to learn from.
        eval_split: The split to report metrics on.
        seed: Seeds Python, NumPy, Keras and the order of the rows; 0 to 2^32 - 1.
        hyperparameters: Handed to `run_fn`; a whole number stays one (64.0 becomes 64).
        custom_config: Handed to `run_fn` likewise.
        eval_steps: How many batches to watch progress on; None for the whole split.
        statistics: Folder of the Statistics of the examples, for `run_fn`.
        base_model: Folder of the Model to start from.
        best_hyperparameters: Folder of what a tuner found; `hyperparameters` come before it.
        epochs: In place of `train_steps`, how often to go over the training split.
        scale: On what to train; in this process, on one device, when None.

    Returns:
        Metadata: `summary`, `framework`, `module`, `module_digest`, `label`, `seed`, `steps` and
        `metrics` (`train_<name>` and `eval_<name>`).

    Raises:
        Preempted: The process was told to stop; what was trained lies in `scale.checkpoint_dir`.
        PenstockError: The settings, the label or the module are not as they should be, training
            gave no finite loss, or the export does not fit; the sentence says what to do.
    """
    started = time.time()
    scale = scale or Scale()
    manifest = read_manifest(examples)
    _check_settings(manifest, train_steps, batch_size, seed, (train_split, eval_split))
    check_scale(scale, batch_size)
    if eval_steps is not None and eval_steps < 1:
        raise PenstockError(f"eval_steps is {eval_steps}; it must be 1 or more.")
    if epochs is not None:
        train_steps = _steps_of(epochs, manifest.rows(train_split), batch_size)
    for split in (train_split, eval_split):
        _check_label(examples, manifest, split, label)
    load_schema(schema)
    found = read_hyperparameters(best_hyperparameters) if best_hyperparameters else {}
    author = load_author_module(module)
    author_attribute(author, "run_fn", "a function run_fn(fn_args)")
    with new_folder(model) as folder:
        work = Work(
            examples=str(examples),
            transform_graph=str(transform_graph),
            schema=str(schema),
            statistics=str(statistics or ""),
            base_model=str(base_model or ""),
            model_dir=str(folder),
            folder=str(folder / ".work"),
            checkpoints="",
            module=module,
            label=label,
            train_split=train_split,
            eval_split=eval_split,
            train_steps=train_steps,
            eval_steps=eval_steps,
            batch_size=batch_size,
            seed=seed,
            strategy=scale.strategy,
            data_shards=scale.data_shards or (1 if scale.servers else scale.num_workers),
            precision=scale.precision,
            jit=scale.jit,
            deterministic=scale.deterministic,
            checkpoint_steps=scale.checkpoint_steps,
            hyperparameters=found | _whole_numbers(hyperparameters or {}),
            custom_config=_whole_numbers(custom_config or {}),
        )
        result = train_on(scale, work, module_source(author))
        # What a model that starts from this one must number its categories by.
        shutil.copytree(transform_graph, folder / "transform")
        provenance = _provenance(work, scale, result, manifest, author)
        provenance |= {"started": _utc(started), "finished": _utc(time.time())}
        text = json.dumps(provenance, indent=2, ensure_ascii=False, default=str) + "\n"
        (folder / "model.json").write_text(text, encoding="utf-8")
    metrics, kind = result["metrics"], result["kind"]
    return {
        "summary": _summary(kind, result["steps"], batch_size, metrics),
        "framework": "tensorflow" if kind in ("saved_model", "keras") else kind,
        "label": label,
        "module": module_name(module),
        "module_digest": provenance["module_digest"],
        "seed": seed,
        "steps": result["steps"],
        "metrics": metrics,
    }


def _provenance(
    work: Work, scale: Scale, result: Mapping[str, Any], manifest: Manifest, author: ModuleType
) -> dict[str, Any]:
    file = module_source(author)
    return {
        "format": FORMAT,
        "kind": result["kind"],
        "module": module_name(work.module),
        "module_digest": digest_path(file),
        "code_digest": code_digest(file),
        "git": git_commit(file),
        "label": work.label,
        "train_steps": work.train_steps,
        "batch_size": work.batch_size,
        "seed": work.seed,
        "hyperparameters": dict(work.hyperparameters),
        "custom_config": dict(work.custom_config),
        "base_model_digest": digest_path(served(work.base_model)) if work.base_model else None,
        "strategy": {
            "name": work.strategy,
            "workers": scale.num_workers,
            "servers": scale.servers,
            "data_shards": work.data_shards,
            "precision": work.precision,
            "jit": work.jit,
            "deterministic": work.deterministic,
            "restarts": result["restarts"],
        },
        "examples": {
            "spans": list(manifest.spans),
            "content_digest": manifest.content_digest,
            "schema_digest": manifest.schema_digest,
            "train": {"split": work.train_split, "rows": manifest.rows(work.train_split)},
            "eval": {"split": work.eval_split, "rows": manifest.rows(work.eval_split)},
        },
        "image": os.environ.get("PENSTOCK_IMAGE") or None,
        "libraries": result["libraries"],
        "hardware": result["hardware"],
        "steps": result["steps"],
        "metrics": result["metrics"],
        "transform_graph_digest": digest_path(work.transform_graph),
    }


def _check_settings(
    manifest: Manifest, train_steps: int, batch_size: int, seed: int, splits: tuple[str, ...]
) -> None:
    for name, value, least, most in (
        ("train_steps", train_steps, 1, math.inf),
        ("batch_size", batch_size, 1, math.inf),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if not least <= value <= most:
            upper = "more" if most == math.inf else f"up to {most}"
            raise PenstockError(f"{name} is {value}; it must be {least} or {upper}.")
    for split in splits:
        if manifest.rows(split) == 0:
            raise PenstockError(
                f"Split {split!r} of the examples has no rows; look at example_gen's pattern and "
                "weights."
            )


def _steps_of(epochs: int, rows: int, batch_size: int) -> int:
    if epochs < 1:
        raise PenstockError(f"epochs is {epochs}; it must be 1 or more.")
    return math.ceil(epochs * rows / batch_size)


def _check_label(
    examples: str | os.PathLike[str], manifest: Manifest, split: str, label: str
) -> None:
    types = {column.name: column.type for column in manifest.columns}
    if label not in types:
        raise PenstockError(
            f"There is no label column {label!r} in the examples; they have "
            f"{', '.join(sorted(types))}."
        )
    missing = 0
    for batch in iter_batches(examples, split, [label]):
        values = batch.column(0)
        kind = values.type
        if not (
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        ):
            raise PenstockError(
                f"The label {label!r} is of type {kind}; it must be a number or a boolean, so turn "
                "its values into numbers before example_gen."
            )
        missing += values.null_count
        if pa.types.is_floating(kind):
            present = values.drop_null()
            missing += len(present) - (pc.sum(pc.is_finite(present)).as_py() or 0)
    if missing:
        raise PenstockError(
            f"The label {label!r} is missing or not finite in {missing} of {manifest.rows(split)} "
            f"rows of split {split!r}; leave out such rows before example_gen."
        )


def _whole_numbers(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn 64.0 into 64: on Kubeflow every number in a dictionary arrives as a float."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in hyperparameters.items()
    }


def _summary(kind: str, steps: int | None, batch_size: int, metrics: Mapping[str, float]) -> str:
    parts = [f"{name.replace('_', ' ', 1)} {value:.4g}" for name, value in metrics.items()]
    shown = [part for part in parts if part.startswith("eval")] or parts
    trained = f"exported as {kind}" if steps is None else f"{steps:,} steps of {batch_size} rows"
    return ", ".join([trained, *shown])


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
