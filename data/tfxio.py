"""Examples as a TFXIO: how TFDV, TFMA and what else is built on tfx_bsl read them directly.

With `source = ExamplesTFXIO("examples", "eval")`:

- TFDV: `pipeline | source.BeamSource() | tfdv.GenerateStatistics()`
- TFMA: `pipeline | source.BeamSource() | tfma.ExtractEvaluateAndWriteResults(...)`; a model that
  takes serialized `tf.Example`s wants `raw_record_column_name=tfma.ARROW_INPUT_COLUMN`.

The interface is `tfx_bsl.tfxio.tfxio.TFXIO`, whose names these are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio import dataset_options, tensor_representation_util, tfxio

from ..errors import PenstockError
from .examples import iter_shard, read_schema, shard_paths
from .list_arrays import has_list_array, list_array, list_batch

if TYPE_CHECKING:
    import os

    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import schema_pb2

BATCH_ROWS = 16_384


class ExamplesTFXIO(tfxio.TFXIO):
    """A split of Examples, every cell a list of integers, floats or bytes, null when missing.

    Shards are Beam's elements. Batches hold `BATCH_ROWS` rows when no size is asked for, and do not
    cross shards, so that the last one of a shard is smaller.

    Args:
        path: The examples' folder; on a cluster, workers need it at the same path.
        split: Which split.
        columns: Which columns, in this order; all when None.
        schema: What tensors the columns make; batches do not need it.
        raw_record_column_name: Adds a column of this name with each row as a serialized
            `tf.Example`, which holds no structs and no lists of lists; none when None.

    Raises:
        PenstockError: The split or a column is unknown, a shard is missing or unreadable, or a
            column is a map, or a struct although raw records are wanted.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str,
        columns: Sequence[str] | None = None,
        schema: schema_pb2.Schema | None = None,
        raw_record_column_name: str | None = None,
    ) -> None:
        self.path = str(path)
        self.split = split
        self.schema = schema
        self.raw_record_column_name = raw_record_column_name
        self._flat = read_schema(path, split, columns)
        self._files = [str(file) for file in shard_paths(path, split)]
        for field in self._flat:
            if not has_list_array(field.type):
                raise PenstockError(
                    f"Column {field.name!r} has type {field.type}, which TFX does not know; name "
                    "the other columns."
                )
            if raw_record_column_name is not None and _holds_lists(field.type):
                raise PenstockError(
                    f"Column {field.name!r} has type {field.type}, which a tf.Example does not "
                    "hold; name the other columns, or fields of a struct such as 'trip.distance'."
                )

    def BeamSource(self, batch_size: int | None = None) -> beam.PTransform:
        """Return a transform from a pipeline to a PCollection of record batches."""

        @beam.typehints.with_output_types(pa.RecordBatch)
        def read(pipeline: beam.Pipeline) -> beam.PCollection:
            return (
                pipeline
                | "Shards" >> beam.Create(self._files)
                | "Spread" >> beam.Reshuffle()
                | "Read" >> beam.FlatMap(self._shard, batch_size or BATCH_ROWS)
            )

        return beam.ptransform_fn(read)()

    def RecordBatches(
        self, options: dataset_options.RecordBatchesOptions
    ) -> Iterator[pa.RecordBatch]:
        """Yield record batches in the order on disk.

        `options.drop_final_batch` drops every batch that is not full.
        """
        epochs = itertools.count() if options.num_epochs is None else range(options.num_epochs)
        for _ in epochs:
            for file in self._files:
                for batch in self._shard(file, options.batch_size):
                    if batch.num_rows == options.batch_size or not options.drop_final_batch:
                        yield batch

    def ArrowSchema(self) -> pa.Schema:
        """Return the schema of the record batches."""
        fields = [pa.field(f.name, list_array(pa.array([], f.type)).type) for f in self._flat]
        if self.raw_record_column_name is not None:
            fields.append(pa.field(self.raw_record_column_name, pa.large_list(pa.large_binary())))
        return pa.schema(fields)

    def TensorRepresentations(self) -> dict[str, schema_pb2.TensorRepresentation]:
        """Return what tensors the columns make, as the schema says or implies.

        Raises:
            PenstockError: There is no schema.
        """
        if self.schema is None:
            raise PenstockError(
                f"Tensors of {self.path} need a schema that tells which columns are dense; give "
                "ExamplesTFXIO a schema."
            )
        infer = tensor_representation_util.InferTensorRepresentationsFromMixedSchema
        return {
            name: representation
            for name, representation in infer(self.schema).items()
            if set(_columns_of(representation)) <= set(self._flat.names)
        }

    def TensorFlowDataset(
        self, options: dataset_options.TensorFlowDatasetOptions
    ) -> tf.data.Dataset:
        """Return the tensors that the schema tells of, in the order on disk.

        `penstock.data.tf_dataset` is the reader for training: shuffled, by worker, and faster.

        Raises:
            PenstockError: There is no schema, or shuffling is asked for.
        """
        import tensorflow as tf

        if options.shuffle:
            raise PenstockError(
                "The TFXIO of Examples does not shuffle; set shuffle=False, or read by "
                "penstock.data.tf_dataset, which does."
            )
        adapter = self.TensorAdapter()
        batches = dataset_options.RecordBatchesOptions(
            options.batch_size, options.drop_final_batch, options.num_epochs
        )
        dataset = tf.data.Dataset.from_generator(
            lambda: (adapter.ToBatchTensors(batch) for batch in self.RecordBatches(batches)),
            output_signature=adapter.TypeSpecs(),
        )
        label = options.label_key
        if label is not None:
            dataset = dataset.map(
                lambda row: ({name: row[name] for name in row if name != label}, row[label])
            )
        return dataset.prefetch(options.prefetch_buffer_size)

    def _ProjectImpl(self, tensor_names: list[str]) -> ExamplesTFXIO:
        kept = self.TensorRepresentations()
        columns = [name for tensor in tensor_names for name in _columns_of(kept[tensor])]
        return ExamplesTFXIO(
            self.path,
            self.split,
            list(dict.fromkeys(columns)),
            self.schema,
            self.raw_record_column_name,
        )

    def _shard(self, file: str, batch_size: int) -> Iterator[pa.RecordBatch]:
        for flat in iter_shard(file, self._flat.names, batch_size):
            if flat.num_rows:
                batch = list_batch(flat)
                yield batch if self.raw_record_column_name is None else self._with_records(batch)

    def _with_records(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        records = RecordBatchToExamplesEncoder().encode(_encodable(batch))
        offsets = np.arange(batch.num_rows + 1)
        column = pa.LargeListArray.from_arrays(offsets, pa.array(records, pa.large_binary()))
        names = [*batch.schema.names, self.raw_record_column_name]
        return pa.RecordBatch.from_arrays([*batch.columns, column], names=names)


def _encodable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the columns in the types of a `tf.Example`, without those that have no type."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        kind = None if pa.types.is_null(column.type) else column.type.value_type
        if kind is None or pa.types.is_null(kind):
            continue
        wanted = pa.binary()
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            wanted = pa.int64() if pa.types.is_integer(kind) else pa.float32()
        columns[name] = pc.cast(column, pa.large_list(wanted), safe=False)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _holds_lists(kind: pa.DataType) -> bool:
    """Tell whether a type is a struct, or a list of lists or structs."""
    return pa.types.is_struct(kind) or (
        pa.types.is_list(kind) and pa.types.is_nested(kind.value_type)
    )


def _columns_of(representation: schema_pb2.TensorRepresentation) -> list[str]:
    paths = tensor_representation_util.GetSourceColumnsFromTensorRepresentation(representation)
    return [path.initial_step() for path in paths]
