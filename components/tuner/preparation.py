"""What trials share, made once: folds, the statistics of their training rows, the preprocessing."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2

from ...data.examples import read_manifest, read_schema, shard_paths, split_folder
from ...data.fold_rule import FoldRule
from ...data.folds import Fold, write_folds
from ...data.statistics import STATISTICS
from ...errors import PenstockError
from ...models.transform_graph import read_transform_graph
from ..transform.executor import fit_transform
from .job import PreparedFold


def prepare_folds(
    examples: str | os.PathLike[str],
    schema: str | os.PathLike[str],
    folder: Path,
    module: str,
    label: str,
    rule: FoldRule | None,
    splits: tuple[str, str],
) -> tuple[PreparedFold, ...]:
    """Make the folds, and fit the preprocessing to the training rows of each alone.

    Args:
        examples: Folder of the Examples.
        schema: Folder of the Schema.
        folder: Where what is made lies; an empty folder.
        module: The author's module, which declares the features.
        label: The label's column.
        rule: How the training split is divided; None to train on it and score on the other.
        splits: The training and the evaluation split.

    Raises:
        PenstockError: The rows cannot be divided, the features cannot be fitted to some fold, or
            one of them reads the label.
    """
    if rule is None:
        manifest, source = read_manifest(examples), str(examples)
        rows = [manifest.rows(split) for split in splits]
        folds: tuple[Fold, ...] = (Fold(splits[0], splits[1], rows[0], rows[1]),)
    else:
        source = str(folder / "folds")
        folds = write_folds(examples, source, splits[0], rule)
    statistics = str(folder / "statistics")
    count_statistics(source, [fold.train for fold in folds], statistics)
    prepared = []
    for fold in folds:
        graph = str(folder / f"transform-{fold.train}")
        fit_transform(source, statistics, schema, graph, module, fold.train)
        if label in read_transform_graph(graph).columns:
            raise PenstockError(
                f"The label {label!r} is read by a feature, which would tell the model the answer; "
                "take it out of FEATURES."
            )
        told = (fold.train, fold.eval, fold.train_rows, fold.eval_rows, fold.begins)
        prepared.append(PreparedFold(source, *told, statistics, graph))
    return tuple(prepared)


def count_statistics(
    examples: str | os.PathLike[str], splits: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Write TFDV's statistics of some splits, as statistics_gen does.

    A shard that several splits link to is counted once: what is merged are partial results.

    Args:
        examples: Folder of the Examples.
        splits: The splits to count.
        path: The folder to write.

    Raises:
        PenstockError: A column is of a type that TFDV does not know.
    """
    from ..statistics_gen.batches import check_types
    from ..statistics_gen.counting import Counting, CountShard, Partial, ShardTask
    from ..statistics_gen.options import chosen_columns, stats_options

    columns = chosen_columns(read_manifest(examples), None, None)
    check_types(read_schema(examples, splits[0], list(columns)))
    options = stats_options(columns)
    shards, counting = CountShard(tuple(columns), options), Counting(options)
    shards.setup()
    partials: dict[Path, Partial] = {}
    for split in splits:
        files = [file.resolve() for file in shard_paths(examples, split)]
        for file in files:
            if file not in partials:
                ((_, partial),) = shards.process(ShardTask(split, str(file), 1.0))
                partials[file] = partial
        # Merging changes what it merges.
        merged = counting.merge([copy.deepcopy(partials[file]) for file in files])
        _write(Path(path), split, counting.extract(merged), columns)


def _write(
    path: Path,
    split: str,
    dataset: statistics_pb2.DatasetFeatureStatistics,
    columns: Mapping[str, str],
) -> None:
    dataset.name = split
    order = {name: place for place, name in enumerate(columns)}
    dataset.features.sort(key=lambda feature: order.get(feature.path.step[0], len(order)))
    found = statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
    place = path / split_folder(split)
    place.mkdir(parents=True)
    (place / STATISTICS).write_bytes(found.SerializeToString(deterministic=True))
