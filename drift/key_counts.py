"""What a comparison by key came to: counts that merge, with samples of what differs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# A value of a sample is cut after so many characters.
CHARACTERS = 200


@dataclass(frozen=True)
class Sample:
    """A pair of rows that differ in a feature.

    Attributes:
        hash: Of the key; samples are those with the smallest.
        key: The key in words.
        training: The training row's value in words; None when missing.
        serving: The serving row's.
        rows: Where training's and serving's rows stand: the shard in its artifact, such as
            `Split-train/part-00000.parquet`, and the row there, from 0.
    """

    hash: int
    key: str
    training: str | None
    serving: str | None
    rows: tuple[tuple[str, int], tuple[str, int]]


@dataclass(frozen=True)
class FeatureCounts:
    """How the pairs agree in one feature; the first four add up to the pairs.

    Attributes:
        match: Both have the same value, or both none.
        mismatch: Both have a value, not the same.
        only_training: Only the training row has a value.
        only_serving: Only the serving row has one.
        both_missing: Those of `match` in which neither has a value.
        samples: Some of the pairs that do not match.
    """

    match: int = 0
    mismatch: int = 0
    only_training: int = 0
    only_serving: int = 0
    both_missing: int = 0
    samples: tuple[Sample, ...] = ()

    @property
    def pairs(self) -> int:
        """All pairs."""
        return self.match + self.mismatch + self.only_training + self.only_serving

    @property
    def skewed(self) -> int:
        """The pairs that do not match."""
        return self.pairs - self.match

    @property
    def share(self) -> float:
        """The share of pairs that do not match, from 0 to 1; 0 when there are none."""
        return self.skewed / self.pairs if self.pairs else 0.0


@dataclass(frozen=True)
class KeyCounts:
    """How two sides pair, and how the pairs agree. Counts of rows are training's, then serving's.

    Each side's `rows` are those without a key (`null_keys`), those that the rule for duplicates
    leaves out (`left_out`), those whose key the other side lacks (`unmatched`), and those that
    pair.

    Attributes:
        rows: All rows.
        null_keys: Rows that miss a key column.
        duplicate_keys: Keys that occur more than once on a side.
        duplicate_rows: The rows of these keys.
        left_out: Rows that the rule for duplicates leaves out.
        unmatched: Rows whose key the other side does not have.
        pairs: Pairs of rows compared.
        skewed_pairs: Pairs that differ in at least one feature.
        features: By path, how the pairs agree.
        repeated: Some of the keys that occur more than once, each with its hash.
        only_training: Some of the keys that only training has.
        only_serving: Some of the keys that only serving has.
    """

    rows: tuple[int, int] = (0, 0)
    null_keys: tuple[int, int] = (0, 0)
    duplicate_keys: int = 0
    duplicate_rows: tuple[int, int] = (0, 0)
    left_out: tuple[int, int] = (0, 0)
    unmatched: tuple[int, int] = (0, 0)
    pairs: int = 0
    skewed_pairs: int = 0
    features: Mapping[str, FeatureCounts] = field(default_factory=dict)
    repeated: Sequence[tuple[int, str]] = ()
    only_training: Sequence[tuple[int, str]] = ()
    only_serving: Sequence[tuple[int, str]] = ()


def in_words(value: Any) -> str | None:
    """Return a value as people tell it from others: text in quotes, all its characters visible."""
    if value is None:
        return None
    # Two normal forms of one text look the same: what is not ASCII is told by its code points.
    text = ascii(value) if isinstance(value, str | bytes) else str(value)
    if (
        isinstance(value, str)
        and value.isprintable()
        and value == unicodedata.normalize("NFC", value)
    ):
        text = repr(value)
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}..."


def counts_of_json(text: str) -> KeyCounts:
    """Return the counts that `dataclasses.asdict` made into JSON."""
    content = json.loads(text)
    # JSON knows no tuples.
    features = {
        name: FeatureCounts(**counts | {"samples": tuple(map(_sample, counts["samples"]))})
        for name, counts in content.pop("features").items()
    }
    pairs = {name: _tuples(value) for name, value in content.items()}
    return KeyCounts(**pairs, features=features)


def _sample(content: Mapping[str, Any]) -> Sample:
    return Sample(**{name: _tuples(value) for name, value in content.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(element) for element in value) if isinstance(value, list) else value


def merge_counts(parts: Iterable[KeyCounts], samples: int) -> KeyCounts:
    """Return the counts of all parts together, with so many samples of each kind."""
    found = list(parts)
    names = dict.fromkeys(name for part in found for name in part.features)
    merged: dict[str, Any] = {name: _sides(found, name) for name in _BY_SIDE}
    merged |= {name: sum(getattr(part, name) for part in found) for name in _NUMBERS}
    for name in _SAMPLED:
        merged[name] = tuple(
            sorted({key for part in found for key in getattr(part, name)})[:samples]
        )
    merged["features"] = {
        name: _feature([p.features[name] for p in found if name in p.features], samples)
        for name in names
    }
    return KeyCounts(**merged)


_BY_SIDE = ("rows", "null_keys", "duplicate_rows", "left_out", "unmatched")
_NUMBERS = ("duplicate_keys", "pairs", "skewed_pairs")
_SAMPLED = ("repeated", "only_training", "only_serving")


def _sides(parts: list[KeyCounts], name: str) -> tuple[int, int]:
    given = [getattr(part, name) for part in parts]
    return sum(one for one, _ in given), sum(other for _, other in given)


def _feature(parts: list[FeatureCounts], samples: int) -> FeatureCounts:
    kept = [sample for part in parts for sample in part.samples]
    kept.sort(key=lambda sample: (sample.hash, sample.rows))
    names = ("match", "mismatch", "only_training", "only_serving", "both_missing")
    counts = {name: sum(getattr(part, name) for part in parts) for name in names}
    return FeatureCounts(samples=tuple(kept[:samples]), **counts)
