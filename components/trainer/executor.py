"""Train the author's model, export it behind its preprocessing, record where it came from."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ...data.digest import digest_path
from ...data.examples import Manifest, iter_batches, read_manifest
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...errors import PenstockError
from ...training.author import author_attribute, load_author_module, module_source
from .provenance import git_commit, hardware, library_versions

if TYPE_CHECKING:
    from ...training.fn_args import FnArgs

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
        batch_size: Rows per training batch.
        train_split: The split to learn from.
        eval_split: The split to report metrics on.
        seed: Seeds Python, NumPy, Keras and the order of the rows; 0 to 2^32 - 1.
        hyperparameters: Handed to `run_fn`; a whole number stays one (64.0 becomes 64).

    Returns:
        Metadata: `summary`, `framework`, `module`, `module_digest`, `label`, `seed`, `steps` and
        `metrics` (`train_<name>` and `eval_<name>`).

    Raises:
        PenstockError: The settings, the label or the module are not as they should be, training
            gave no finite loss, or the export does not fit; the sentence says what to do.
    """
    started = time.time()
    manifest = read_manifest(examples)
    _check_settings(manifest, train_steps, batch_size, seed, (train_split, eval_split))
    for split in (train_split, eval_split):
        _check_label(examples, manifest, split, label)
    contract = load_schema(schema)
    author = load_author_module(module)
    author_attribute(author, "run_fn", "a function run_fn(fn_args)")

    # TensorFlow takes seconds to import; bad input should not wait for it.
    from ...models.transform_graph import read_transform_graph
    from ...training.fn_args import FnArgs
    from ...training.trained import export_trained, train_model

    graph = read_transform_graph(transform_graph)
    if label in graph.columns:
        raise PenstockError(
            f"The label {label!r} is read by a feature of the transform graph, which would tell "
            "the model the answer; take it out of FEATURES."
        )
    with new_folder(model) as folder:
        args = FnArgs(
            transform=graph,
            schema=contract,
            label=label,
            train_steps=train_steps,
            batch_size=batch_size,
            seed=seed,
            examples=Path(examples),
            train_split=train_split,
            eval_split=eval_split,
            model_dir=folder,
            hyperparameters=_whole_numbers(hyperparameters or {}),
        )
        trained = train_model(author, args)
        metrics, steps = dict(trained.metrics), trained.steps
        kind = export_trained(trained, args, author)
        trained.curves.write(folder, metrics)
        if not any(args.run_dir.iterdir()):
            args.run_dir.rmdir()
        provenance = {
            "format": FORMAT,
            "kind": kind,
            "module": module,
            **_provenance(args, manifest, author),
            "steps": steps,
            "metrics": metrics,
            "transform_graph_digest": digest_path(transform_graph),
            "started": _utc(started),
            "finished": _utc(time.time()),
        }
        text = json.dumps(provenance, indent=2, ensure_ascii=False, default=str) + "\n"
        (folder / "model.json").write_text(text, encoding="utf-8")
    return {
        "summary": _summary(steps or train_steps, batch_size, metrics),
        "framework": "tensorflow" if kind in ("saved_model", "keras") else kind,
        "label": label,
        "module": module,
        "module_digest": provenance["module_digest"],
        "seed": seed,
        "steps": steps,
        "metrics": metrics,
    }


def _provenance(args: FnArgs, manifest: Manifest, author: ModuleType) -> dict[str, Any]:
    file = module_source(author)
    return {
        "module_digest": digest_path(file),
        "git": git_commit(file),
        "label": args.label,
        "train_steps": args.train_steps,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "hyperparameters": dict(args.hyperparameters),
        "examples": {
            "spans": list(manifest.spans),
            "content_digest": manifest.content_digest,
            "schema_digest": manifest.schema_digest,
            "train": {"split": args.train_split, "rows": args.train_rows},
            "eval": {"split": args.eval_split, "rows": args.eval_rows},
        },
        "libraries": library_versions(),
        "hardware": hardware(),
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


def _summary(steps: int, batch_size: int, metrics: Mapping[str, float]) -> str:
    parts = [f"{name.replace('_', ' ', 1)} {value:.4g}" for name, value in metrics.items()]
    shown = [part for part in parts if part.startswith("eval")] or parts
    return ", ".join([f"{steps:,} steps of {batch_size} rows", *shown])


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
