"""What `run_fn` is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ..data.examples import read_manifest, shard_paths
from ..data.statistics import read_statistics
from ..data.tf_dataset import tf_dataset
from ..errors import PenstockError
from ..models.transform_graph import TransformGraph
from .reporting import Curves, Reporter

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

Matrix = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class FnArgs:
    """Data, settings and places for one training run, or one worker of it.

    Attributes:
        transform: The fitted preprocessing. `transform.inputs()` gives the inputs to build a model
            on, `transform.size(name)` the number of indices of a feature for its embedding.
        schema: The data's schema (TensorFlow Metadata).
        label: The label's column.
        train_steps: How many batches to train on.
        batch_size: Rows in a training batch, of all workers together.
        seed: Python, NumPy and Keras are seeded with it already.
        examples: Folder of the Examples, for what reads files itself.
        train_split: The split to learn from.
        eval_split: The split to watch progress on.
        model_dir: Folder of the model that is being made.
        hyperparameters: What a tuner may choose; the author's own names.
        custom_config: What is fixed for the pipeline; the author's own names.
        eval_steps: How many batches of the evaluation split to watch progress on; None for all.
        statistics_dir: Folder of the Statistics of the examples, if the step was given them.
        base_model: Folder of the Model to start from, such as the champion, if the step was given
            one.
        strategy: Models are built and compiled in its `scope()`, which `keras_run_fn` does.
        num_shards: Among how many workers the training rows are divided.
        index: Which of the workers this is, from 0.
        data_shards: Into how many parts the rows are divided, a multiple of `num_shards`; as many
            as there are workers when None. Each batch takes as many rows from every part, so what
            is learned depends on the number of parts, and not on that of the workers.
        callbacks: Keras callbacks that the step itself brings; `keras_run_fn` passes them on, and
            so does a `run_fn` that calls `fit` itself.
        reporter: Where `report` hands the metrics on to.
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
    custom_config: Mapping[str, Any] = field(default_factory=dict)
    eval_steps: int | None = None
    statistics_dir: Path | None = None
    base_model: Path | None = None
    strategy: tf.distribute.Strategy = field(default_factory=tf.distribute.get_strategy)
    num_shards: int = 1
    index: int = 0
    data_shards: int | None = None
    callbacks: tuple[Any, ...] = ()
    reporter: Reporter = field(default_factory=Curves)

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report metrics as training goes: to `metrics.json`, TensorBoard, and a tuner.

        Args:
            step: Batches trained on so far.
            metrics: By name; `eval_<name>` when measured on the evaluation split, `train_<name>`
                when measured in training.

        Raises:
            Pruned: A tuner ends this trial; let it pass.
            PenstockError: The step is before one that was reported.
        """
        self.reporter(step, {name: float(value) for name, value in metrics.items()})

    @property
    def serving_dir(self) -> Path:
        """Where a `run_fn` that exports by itself writes its model."""
        return self.model_dir / "serving"

    @property
    def run_dir(self) -> Path:
        """A folder for whatever else shall be kept: checkpoints, TensorBoard logs."""
        return self.model_dir / "run"

    @property
    def train_rows(self) -> int:
        """Rows in the training split, those of all workers."""
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

    @property
    def statistics(self) -> statistics_pb2.DatasetFeatureStatistics:
        """The statistics of the training split.

        Raises:
            PenstockError: The step was given none.
        """
        if self.statistics_dir is None:
            raise PenstockError(
                "run_fn reads fn_args.statistics, and the trainer was given none; connect its "
                "input statistics to statistics_gen."
            )
        return read_statistics(self.statistics_dir, self.train_split).datasets[0]

    def train_data(
        self, batch_size: int | None = None, *, transformed: bool = True, repeat: bool = True
    ) -> tf.data.Dataset:
        """Return shuffled batches of the training split, without end unless told otherwise.

        Every epoch has its own order; the same seed gives the same orders. With several workers,
        each gets batches of its own rows, `batch_size / num_shards` rows long.

        Args:
            batch_size: Rows per batch of all workers together; `self.batch_size` when None.
            transformed: Whether to give transformed features, or else the raw columns.
            repeat: Whether to start again after the last row.

        Returns:
            A dataset of `({feature: [batch, width]}, label [batch])`, label float32; of
            `({column: [batch]}, label [batch])` when not transformed.

        Raises:
            PenstockError: The batch size cannot be divided among the workers.
        """
        rows, parts = batch_size or self.batch_size, self.data_shards or self.num_shards
        if rows % parts:
            raise PenstockError(
                f"A batch of {rows} rows cannot be divided among {parts} workers or data shards; "
                f"give a batch_size that is a multiple of {parts}."
            )
        own = parts // self.num_shards
        datasets = [
            tf_dataset(
                self.examples,
                self.train_split,
                list(self.transform.columns),
                rows // parts,
                label=self.label,
                shuffle_seed=self.seed,
                repeat=repeat,
                drop_remainder=parts > 1,
                num_shards=parts,
                index=part,
            )
            for part in range(self.index * own, (self.index + 1) * own)
        ]
        return self._ready(datasets[0] if own == 1 else _side_by_side(datasets), transformed)

    def eval_data(self, batch_size: int = 4096, *, transformed: bool = True) -> tf.data.Dataset:
        """Return batches of the evaluation split, once through, in the order on disk.

        Args:
            batch_size: Rows per batch.
            transformed: Whether to give transformed features, or else the raw columns.

        Returns:
            A dataset like that of `train_data`.
        """
        return self._ready(self._in_order(self.eval_split, batch_size), transformed)

    def train_matrix(self) -> tuple[Matrix, Matrix]:
        """Return the training split as one matrix, for what is not Keras.

        Returns:
            The transformed features side by side, `[rows, width]` float32 in the order of
            `transform.matrix_columns()`, and the labels, `[rows]` float32; in the order on disk.
        """
        return self._matrix(self.train_split)

    def eval_matrix(self) -> tuple[Matrix, Matrix]:
        """Return the evaluation split as `train_matrix` returns the other."""
        return self._matrix(self.eval_split)

    def _matrix(self, split: str) -> tuple[Matrix, Matrix]:
        parts = [
            (np.asarray(self.transform.matrix(raw)), np.asarray(label))
            for raw, label in self._in_order(split, 65_536)
        ]
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

    def _in_order(self, split: str, batch_size: int) -> tf.data.Dataset:
        columns = list(self.transform.columns)
        return tf_dataset(self.examples, split, columns, batch_size, label=self.label)

    def _ready(self, dataset: tf.data.Dataset, transformed: bool) -> tf.data.Dataset:
        if not transformed:
            return dataset
        # The model is called, not copied: serving runs the same layers with the same state.
        return dataset.map(
            lambda raw, label: (self.transform(raw), label),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        ).prefetch(tf.data.AUTOTUNE)


def _side_by_side(datasets: list[tf.data.Dataset]) -> tf.data.Dataset:
    """Return batches that hold one batch of each dataset, one after the other."""

    def joined(*batches: Any) -> Any:
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *batches)

    return tf.data.Dataset.zip(tuple(datasets)).map(joined)
