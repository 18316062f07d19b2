"""What `run_fn` is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from ...data.examples import read_manifest, shard_paths
from ...data.tf_dataset import tf_dataset
from ..transform.graph import TransformGraph


@dataclass(frozen=True)
class FnArgs:
    """Data, settings and places for one training run.

    Attributes:
        transform: The fitted preprocessing. `transform.inputs()` gives the inputs to build a model
            on, `transform.size(name)` the number of indices of a feature for its embedding.
        schema: The data's schema (TensorFlow Metadata).
        label: The label's column.
        train_steps: How many batches to train on.
        batch_size: Rows in a training batch.
        seed: Python, NumPy and Keras are seeded with it already.
        hyperparameters: The author's own settings.
        examples: Folder of the Examples, for what reads files itself.
        train_split: The split to learn from.
        eval_split: The split to watch progress on.
        model_dir: Folder of the model that is being made.
    """

    transform: TransformGraph
    schema: schema_pb2.Schema
    label: str
    train_steps: int
    batch_size: int
    seed: int
    examples: Path
    train_split: str
    eval_split: str
    model_dir: Path
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def serving_dir(self) -> Path:
        """Where a `run_fn` that exports by itself writes its SavedModel."""
        return self.model_dir / "serving"

    @property
    def run_dir(self) -> Path:
        """A folder for whatever else shall be kept: checkpoints, TensorBoard logs."""
        return self.model_dir / "run"

    @property
    def train_rows(self) -> int:
        """Rows in the training split."""
        return read_manifest(self.examples).rows(self.train_split)

    @property
    def eval_rows(self) -> int:
        """Rows in the evaluation split."""
        return read_manifest(self.examples).rows(self.eval_split)

    @property
    def train_files(self) -> list[Path]:
        """The Parquet files of the training split."""
        return shard_paths(self.examples, self.train_split)

    @property
    def eval_files(self) -> list[Path]:
        """The Parquet files of the evaluation split."""
        return shard_paths(self.examples, self.eval_split)

    def train_data(
        self, batch_size: int | None = None, *, transformed: bool = True, repeat: bool = True
    ) -> tf.data.Dataset:
        """Return shuffled batches of the training split, without end unless told otherwise.

        Every epoch has its own order; the same seed gives the same orders.

        Args:
            batch_size: Rows per batch; `self.batch_size` when None.
            transformed: Whether to give transformed features, or else the raw columns.
            repeat: Whether to start again after the last row.

        Returns:
            A dataset of `({feature: [batch, width]}, label [batch])`, label float32; of
            `({column: [batch]}, label [batch])` when not transformed.
        """
        dataset = tf_dataset(
            self.examples,
            self.train_split,
            list(self.transform.columns),
            batch_size or self.batch_size,
            label=self.label,
            shuffle_seed=self.seed,
            repeat=repeat,
        )
        return self._ready(dataset, transformed)

    def eval_data(self, batch_size: int = 4096, *, transformed: bool = True) -> tf.data.Dataset:
        """Return batches of the evaluation split, once through, in the order on disk.

        Args:
            batch_size: Rows per batch.
            transformed: Whether to give transformed features, or else the raw columns.

        Returns:
            A dataset like that of `train_data`.
        """
        dataset = tf_dataset(
            self.examples,
            self.eval_split,
            list(self.transform.columns),
            batch_size,
            label=self.label,
        )
        return self._ready(dataset, transformed)

    def _ready(self, dataset: tf.data.Dataset, transformed: bool) -> tf.data.Dataset:
        if not transformed:
            return dataset
        # The model is called, not copied: serving runs the same layers with the same state.
        return dataset.map(
            lambda raw, label: (self.transform(raw), label),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        ).prefetch(tf.data.AUTOTUNE)
