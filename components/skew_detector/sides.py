"""What is known of a side: its features' types and distributions, from statistics or from rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ...data.examples import iter_batches, read_manifest, read_schema, shard_paths
from ...data.statistics import read_statistics, statistics_splits
from ...drift.columns import distribution_of_column
from ...drift.distribution import Distribution, merge
from ...drift.equality import field_names, field_of, kind_of
from ...drift.key_partitions import Side
from ...drift.statistics import distributions_of_statistics
from ...errors import PenstockError

# Statistics' types by number, in the schema's words.
_TYPES = ("INT", "FLOAT", "BYTES", "BYTES", "STRUCT")


@dataclass(frozen=True)
class Feature:
    """What a side has of a feature: its type, and whether a row may have several values.

    The type is `INT`, `FLOAT`, `BYTES` or `STRUCT`; `""` where there are no values to tell by.
    """

    type: str
    listed: bool


@dataclass(frozen=True)
class Known:
    """A side: its rows, and by path its features, their distributions, and numbers' ranges."""

    rows: int
    features: Mapping[str, Feature]
    distributions: Mapping[str, Distribution]
    ranges: Mapping[str, tuple[float, float]]


def known_side(
    name: str,
    examples: str | os.PathLike[str] | None,
    statistics: str | os.PathLike[str] | None,
    splits: Sequence[str] | None,
    exclude: Sequence[str],
    rows_alone: bool = False,
) -> Known:
    """Return what is known of a side: from its statistics, or by a pass over its rows.

    Args:
        name: `training` or `serving`.
        examples: The folder of its examples, perhaps None.
        statistics: The folder of its statistics, perhaps None.
        splits: The splits to take together; all when None.
        exclude: Columns to leave out.
        rows_alone: Only the number of rows is wanted, for which no pass is made.

    Raises:
        PenstockError: There is neither, or a split is unknown.
    """
    if statistics is not None:
        return _of_statistics(
            statistics, _chosen(name, statistics_splits(statistics), splits), exclude
        )
    if examples is None:
        raise PenstockError(
            f"There is nothing about {name}: give {name}_examples or {name}_statistics."
        )
    manifest = read_manifest(examples)
    chosen = _chosen(name, list(manifest.splits), splits)
    if rows_alone:
        return Known(sum(manifest.rows(split) for split in chosen), {}, {}, {})
    return _of_examples(examples, chosen, exclude)


def rows_by_key(
    name: str, examples: str | os.PathLike[str] | None, splits: Sequence[str] | None
) -> Side:
    """Return a side's rows for a comparison by key.

    Raises:
        PenstockError: There are no examples, or a split is unknown.
    """
    if examples is None:
        raise PenstockError(
            f"keys are given, but no {name}_examples; rows are compared by key, so give them too."
        )
    manifest = read_manifest(examples)
    chosen = _chosen(name, list(manifest.splits), splits)
    shards = [str(file) for split in chosen for file in shard_paths(examples, split)]
    rows = sum(manifest.rows(split) for split in chosen)
    return Side(tuple(shards), read_schema(examples, chosen[0]), rows)


def _chosen(name: str, known: Sequence[str], splits: Sequence[str] | None) -> list[str]:
    for split in splits or ():
        if split not in known:
            raise PenstockError(
                f"{name}_splits names {split!r}, which {name} does not have; it has "
                f"{', '.join(known)}."
            )
    return list(splits or known)


def _of_statistics(
    path: str | os.PathLike[str], splits: Sequence[str], exclude: Sequence[str]
) -> Known:
    rows = 0
    features: dict[str, Feature] = {}
    distributions: dict[str, Distribution] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for split in splits:
        (dataset,) = read_statistics(path, split).datasets
        rows += int(dataset.num_examples)
        for feature in dataset.features:
            steps = tuple(feature.path.step) or (feature.name,)
            if steps[0] in exclude or not dataset.num_examples:
                continue
            kind = feature.WhichOneof("stats")
            common = getattr(feature, kind).common_stats if kind else None
            if common is not None and common.tot_num_values:
                listed = common.max_num_values > 1
                features[".".join(steps)] = Feature(_TYPES[feature.type], listed)
                if kind == "num_stats":
                    ends = feature.num_stats.min, feature.num_stats.max
                    _widen(ranges, ".".join(steps), *ends)
            else:
                features.setdefault(".".join(steps), Feature("", False))
        found = distributions_of_statistics(dataset) if dataset.num_examples else {}
        for name, part in found.items():
            if name in features:
                distributions[name] = (
                    merge(distributions[name], part) if name in distributions else part
                )
    return Known(rows, features, distributions, ranges)


def _of_examples(
    path: str | os.PathLike[str], splits: Sequence[str], exclude: Sequence[str]
) -> Known:
    rows = 0
    distributions: dict[str, Distribution] = {}
    ranges: dict[str, tuple[float, float]] = {}
    schema = read_schema(path, splits[0])
    names = [name for name in schema.names if name not in exclude]
    features = {
        name: Feature(_type_of(kind), _is_listed(kind))
        for column in names
        for name, kind in _types(column, schema.field(column).type)
    }
    for split in splits:
        for batch in iter_batches(path, split, names):
            rows += batch.num_rows
            for column in names:
                for name, values in _leaves(column, batch.column(names.index(column))):
                    if _measurable(values.type):
                        part = distribution_of_column(values, name)
                        known = distributions.get(name)
                        distributions[name] = part if known is None else merge(known, part)
                        _widen(ranges, name, *_ends(values))
    return Known(rows, features, distributions, ranges)


def _widen(
    ranges: dict[str, tuple[float, float]], name: str, low: float | None, high: float | None
) -> None:
    """Let the range of a feature reach as far as new values do, if there are any."""
    if low is not None and high is not None and low <= high:
        known = ranges.get(name, (low, high))
        ranges[name] = (min(known[0], low), max(known[1], high))


def _ends(values: pa.Array) -> tuple[float | None, float | None]:
    """Return the least and the largest number of a column, None when it has none."""
    while kind_of(values.type) == "list":
        values = values.flatten()
    if kind_of(values.type) != "number":
        return None, None
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    found = pc.min_max(values).as_py()
    low, high = found["min"], found["max"]
    return (None, None) if low is None else (float(low), float(high))


def _types(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Yield a column and, of a struct, its fields, by path."""
    yield name, kind
    if pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            yield from _types(f"{name}.{kind.field(place).name}", kind.field(place).type)


def _leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_struct(column.type):
        for field in field_names(column.type):
            yield from _leaves(f"{name}.{field}", field_of(column, field))
    else:
        yield name, column


def _inner(kind: pa.DataType) -> pa.DataType:
    while kind_of(kind) == "list":
        kind = kind.value_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_listed(kind: pa.DataType) -> bool:
    return kind_of(kind) == "list"


def _measurable(kind: pa.DataType) -> bool:
    return _type_of(kind) in ("INT", "FLOAT", "BYTES")


def _type_of(kind: pa.DataType) -> str:
    """Return a type in the schema's words, as TFDV counts it; `""` of what it does not know."""
    inner = _inner(kind)
    if pa.types.is_struct(inner):
        return "STRUCT"
    if kind_of(inner) == "text":
        return "BYTES"
    if pa.types.is_floating(inner) or pa.types.is_decimal(inner):
        return "FLOAT"
    if kind_of(inner) == "number" or pa.types.is_temporal(inner):
        return "INT"
    return ""
