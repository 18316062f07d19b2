"""Feature skew by key: the same rows as training has them and as serving logged them.

Training and serving should compute a feature alike. Where each serving row can be told by a key,
they are joined on it, and per feature it is counted how often both sides agree, differ, or only one
has a value. `equality.py` says when two values are the same, `keys.py` which rows pair.

The work is a Beam transform whose elements are shards. Each shard's rows are scattered by the hash
of their key into partitions, files of a folder that all workers see; then each partition of both
sides is joined in memory, by columns. What is held at once is one partition of each side and the
counts, whatever the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ..data.beam import pipeline_options
from ..errors import PenstockError
from .equality import DEFAULT_TOLERANCE, Tolerance, field_names, field_of, same_values, valid
from .key_counts import FeatureCounts, KeyCounts, Sample, counts_of_json, in_words, merge_counts
from .key_partitions import HASH, Part, Rows, Scatter, Shard, Side, partitions_of
from .keys import (
    DUPLICATES,
    MOST_PAIRS_OF_A_KEY,
    Keys,
    join,
    key_codes,
    most_pairs,
    whole,
)


@dataclass(frozen=True)
class KeySkew:
    """What is compared, and how.

    Attributes:
        keys: The key columns.
        features: The columns to compare, of either side; structs are compared field by field.
        tolerance: For numbers.
        duplicates: One of `penstock.drift.keys.DUPLICATES`.
        samples: How many differing pairs are kept of each feature: those with the smallest hashes
            of their keys, so the same ones in every run and however the data are sharded.
        exclude: Fields of structs, by their paths, that are not compared.
    """

    keys: Keys
    features: tuple[str, ...]
    tolerance: Tolerance = DEFAULT_TOLERANCE
    duplicates: str = "refuse"
    samples: int = 5
    exclude: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Check the rule."""
        if self.duplicates not in DUPLICATES:
            raise PenstockError(
                f"There is no rule {self.duplicates!r} for duplicate keys; there are "
                f"{', '.join(DUPLICATES)}."
            )


def count_skew(
    training: Side,
    serving: Side,
    skew: KeySkew,
    folder: str | os.PathLike[str],
    beam_pipeline_args: Sequence[str] | None = None,
) -> KeyCounts:
    """Run `SkewByKey` by itself and return its counts.

    Args:
        training: One side.
        serving: The other.
        skew: What is compared, and how.
        folder: An existing folder, which all workers see, for what lies there meanwhile.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.
    """
    result = Path(folder) / "counts.json"
    with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
        counts = pipeline | SkewByKey(training, serving, skew, folder)
        _ = counts | "Keep" >> beam.Map(_keep, result)
    return counts_of_json(result.read_text(encoding="utf-8"))


def _keep(counts: KeyCounts, file: Path) -> None:
    file.write_text(json.dumps(asdict(counts)), encoding="utf-8")


class SkewByKey(beam.PTransform):
    """Join two sides by key and compare them feature by feature.

    Takes the root of a pipeline, gives one `KeyCounts`.
    """

    def __init__(
        self, training: Side, serving: Side, skew: KeySkew, folder: str | os.PathLike[str]
    ) -> None:
        """Compare two sides, with a folder, which all workers see, for the partitions.

        Args:
            training: One side.
            serving: The other.
            skew: What is compared, and how.
            folder: An existing folder; what is left there afterwards is of no use.
        """
        super().__init__()
        self.skew = skew
        self.folder = str(folder)
        self.parts = partitions_of(training, serving, len(skew.features) + len(skew.keys.names))
        wanted = [*skew.keys.names, *skew.features]
        self.shards = []
        for place, side in enumerate((training, serving)):
            known = set(side.schema.names)
            columns = tuple(name for name in wanted if name in known)
            self.shards += [
                Shard(place, order, path, columns) for order, path in enumerate(side.shards)
            ]

    def expand(self, root: Any) -> Any:
        """Return the counts of all rows."""
        scattered = (
            root
            | "Shards" >> beam.Create(self.shards)
            | "Spread" >> beam.Reshuffle()
            | "Scatter"
            >> beam.ParDo(Scatter(self.skew.keys, self.parts, self.folder)).with_outputs(
                "counts", main="parts"
            )
        )
        joined = (
            scattered.parts | "Gather" >> beam.GroupByKey() | "Join" >> beam.ParDo(Join(self.skew))
        )
        return (
            (scattered.counts, joined)
            | beam.Flatten()
            | "Merge" >> beam.CombineGlobally(_Merge(self.skew.samples))
        )


class Join(beam.DoFn):
    """Join a partition of both sides, and compare its pairs."""

    def __init__(self, skew: KeySkew) -> None:
        self.skew = skew

    def process(self, gathered: tuple[int, Iterable[Part]]) -> Iterator[KeyCounts]:
        """Yield the counts of a partition."""
        _, found = gathered
        parts = sorted(found, key=lambda part: (part.side, part.order))
        sides = [Rows.read([part for part in parts if part.side == side]) for side in (0, 1)]
        yield compare_rows(sides[0], sides[1], self.skew)
        for part in parts:
            Path(part.file).unlink(missing_ok=True)


def compare_rows(training: Rows, serving: Rows, skew: KeySkew) -> KeyCounts:
    """Return the counts of one partition."""
    one, other = training.table, serving.table
    if one is None or other is None:
        present: pa.Table = one if other is None else other
        one = present.slice(0, 0) if one is None else one
        other = present.slice(0, 0) if other is None else other
    codes = key_codes(skew.keys, one, other)
    if skew.duplicates == "all":
        _refuse_crowds(codes, one, skew.keys)
    joined, pairs = join(*codes, skew.duplicates)
    hashes = [whole(table[HASH]).to_numpy(zero_copy_only=False) for table in (one, other)]

    def some(places: tuple[Any, Any]) -> tuple[tuple[int, str], ...]:
        found = [
            (int(hashes[side][place]), _key(table, place, skew.keys))
            for side, table in enumerate((one, other))
            for place in _smallest(places[side], hashes[side][places[side]], skew.samples)
        ]
        return tuple(sorted(set(found))[: skew.samples])

    counts = KeyCounts(
        duplicate_keys=joined.duplicate_keys,
        duplicate_rows=joined.duplicates,
        left_out=joined.left_out,
        unmatched=joined.unmatched,
        repeated=some(joined.repeated),
        only_training=some((joined.lonely[0], joined.lonely[1][:0])),
        only_serving=some((joined.lonely[0][:0], joined.lonely[1])),
    )
    for left, right in pairs:
        compared = _compare_pairs((one, other), (left, right), hashes[0], (training, serving), skew)
        counts = merge_counts([counts, compared], skew.samples)
    return counts


def _compare_pairs(
    tables: tuple[pa.Table, pa.Table],
    places: tuple[Any, Any],
    hashes: Any,
    rows: tuple[Rows, Rows],
    skew: KeySkew,
) -> KeyCounts:
    number = len(places[0])
    chosen = [pa.array(place) for place in places]
    known = [set(table.column_names) for table in tables]
    skewed = np.zeros(number, bool)
    features: dict[str, FeatureCounts] = {}
    for name in skew.features:
        columns = [
            whole(table[name]).take(where) if name in names else pa.nulls(number)
            for table, where, names in zip(tables, chosen, known, strict=True)
        ]
        for path, one, other in leaves(name, columns[0], columns[1]):
            if path in skew.exclude:
                continue
            same = same_values(one, other, skew.tolerance)
            skewed |= ~same
            there, also = valid(one), valid(other)
            differing = np.flatnonzero(~same)
            samples = [
                Sample(
                    int(hashes[places[0][at]]),
                    _key(tables[0], int(places[0][at]), skew.keys),
                    in_words(one[int(at)].as_py()),
                    in_words(other[int(at)].as_py()),
                    (rows[0].position(int(places[0][at])), rows[1].position(int(places[1][at]))),
                )
                for at in _smallest(differing, hashes[places[0][differing]], skew.samples)
            ]
            features[path] = FeatureCounts(
                match=int(same.sum()),
                mismatch=int((~same & there & also).sum()),
                only_training=int((there & ~also).sum()),
                only_serving=int((also & ~there).sum()),
                both_missing=int((~there & ~also).sum()),
                samples=tuple(samples),
            )
    return KeyCounts(pairs=number, skewed_pairs=int(skewed.sum()), features=features)


def leaves(name: str, one: pa.Array, other: pa.Array) -> Iterator[tuple[str, pa.Array, pa.Array]]:
    """Yield a column of both sides by its path; of structs, each field by its path."""
    structs = [side for side in (one, other) if pa.types.is_struct(side.type)]
    others = [side for side in (one, other) if not pa.types.is_struct(side.type)]
    if not structs or any(not pa.types.is_null(side.type) for side in others):
        yield name, one, other
        return
    for field in dict.fromkeys(n for side in structs for n in field_names(side.type)):
        yield from leaves(f"{name}.{field}", field_of(one, field), field_of(other, field))


def _smallest(places: Any, hashes: Any, number: int) -> Any:
    """Return at most `number` of the places, those with the smallest hashes first."""
    if len(places) > number:
        chosen = np.argpartition(hashes, number)[:number] if number else np.zeros(0, np.int64)
        places, hashes = places[chosen], hashes[chosen]
    return places[np.lexsort((places, hashes))]


def _key(table: pa.Table, place: int, keys: Keys) -> str:
    """Return a row's key in words, such as `flight=1545, time_hour=2013-01-01 05:00:00`."""
    return ", ".join(f"{name}={table[name][place].as_py()}" for name in keys.names)


def _refuse_crowds(codes: tuple[Any, Any], training: pa.Table, keys: Keys) -> None:
    place, pairs = most_pairs(*codes)
    if pairs > MOST_PAIRS_OF_A_KEY:
        raise PenstockError(
            f"The key {_key(training, place, keys)} makes {pairs:,} pairs, more than "
            f"{MOST_PAIRS_OF_A_KEY:,}; add a key column that tells its rows apart, or take another "
            "rule for duplicates."
        )


class _Merge(beam.CombineFn):
    """Merge the counts of partitions."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def create_accumulator(self) -> KeyCounts:
        return KeyCounts()

    def add_input(self, accumulator: KeyCounts, element: KeyCounts) -> KeyCounts:
        return merge_counts([accumulator, element], self.samples)

    def merge_accumulators(self, accumulators: Iterable[KeyCounts]) -> KeyCounts:
        return merge_counts(accumulators, self.samples)

    def extract_output(self, accumulator: KeyCounts) -> KeyCounts:
        return accumulator
