"""Pairs of rows that differ, each named by the file and line that it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.examples import read_manifest
from ...data.positions import SourcePlaces
from ...drift.key_counts import KeyCounts, Sample
from ...drift.key_partitions import SIDES

PLACE = (
    ("file", pa.string()),
    ("line", pa.int64()),
    ("shard", pa.string()),
    ("row", pa.int64()),
)
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("feature", "key", *SIDES)]
    + [(f"{side}_{name}", kind) for side in SIDES for name, kind in PLACE]
)


@dataclass(frozen=True)
class PlacedSample:
    """A pair that differs, and where its rows stood: training's, then serving's.

    Attributes:
        pair: The pair.
        places: Each row's `file`, `line`, `shard` and `row`; file and line are None where the
            Examples do not know them.
        words: The places as people say them.
    """

    pair: Sample
    places: tuple[Mapping[str, Any], Mapping[str, Any]]
    words: tuple[str, str]


def placed_samples(
    counts: KeyCounts,
    examples: Sequence[str | os.PathLike[str]],
    splits: Sequence[Sequence[str] | None],
) -> dict[str, list[PlacedSample]]:
    """Return the samples by feature, with the places of their rows.

    Args:
        counts: Counts of both sides' rows.
        examples: The folders of training's and serving's Examples.
        splits: The splits of each that were compared, all when None.
    """
    if not any(feature.samples for feature in counts.features.values()):
        return {}
    samples = [sample for feature in counts.features.values() for sample in feature.samples]
    training, serving = (
        _places([sample.rows[side] for sample in samples], examples[side], splits[side])
        for side in (0, 1)
    )
    found: dict[str, list[PlacedSample]] = {}
    for name, feature in counts.features.items():
        for sample in feature.samples:
            (one, said), (other, also) = training[sample.rows[0]], serving[sample.rows[1]]
            found.setdefault(name, []).append(PlacedSample(sample, (one, other), (said, also)))
    return found


def _places(
    rows: Sequence[tuple[str, int]], examples: str | os.PathLike[str], splits: Sequence[str] | None
) -> dict[tuple[str, int], tuple[Mapping[str, Any], str]]:
    """Return each row's place and the same in words, by its shard and its number there."""
    found: dict[tuple[str, int], tuple[Mapping[str, Any], str]] = {}
    for split in splits or read_manifest(examples).splits:
        with closing(SourcePlaces(examples, split)) as places:
            numbers = {shard: number for number, shard in enumerate(places.shards)}
            here = [row for row in dict.fromkeys(rows) if row[0] in numbers]
            told = places.find(
                np.array([numbers[shard] for shard, _ in here], np.int64),
                np.array([row for _, row in here], np.int64),
            )
            for row, place in zip(here, told.to_pylist(), strict=True):
                found[row] = (place, places.in_words(place))
    return found


def sample_table(samples: Mapping[str, Sequence[PlacedSample]]) -> pa.Table:
    """Return the samples as a table of `SCHEMA`."""
    rows = []
    for feature, pairs in samples.items():
        for placed in pairs:
            row = {"feature": feature, "key": placed.pair.key}
            row |= {side: getattr(placed.pair, side) for side in SIDES}
            for side, place in zip(SIDES, placed.places, strict=True):
                row |= {f"{side}_{name}": place[name] for name, _ in PLACE}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)
