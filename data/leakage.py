"""Whether what is evaluated on was trained on: equal rows, groups, and times across splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PenstockError
from .division import Places
from .first_look import ValueCounts
from .row_hash import Hashes, row_hashes
from .spilled_hashes import SpilledHashes

POLICIES = ("count", "fail", "skip")


@dataclass(frozen=True)
class LeakageCheck:
    """What to check.

    Attributes:
        policy: `count` puts the counts into the manifest, `fail` makes any an error, `skip`
            checks nothing.
        groups: Columns that tell the groups, none of which may lie in two splits.
        time: A column of times: no row of `train` may be as late as one of another split.
        train: The split that is trained on.
    """

    policy: str = "count"
    groups: tuple[str, ...] = ()
    time: str = ""
    train: str = "train"


def leakage_check(given: Mapping[str, Any] | None) -> LeakageCheck:
    """Return the check that a parameter such as `{"policy": "fail"}` stands for.

    Raises:
        PenstockError: A key is unknown, or a value is not of its kind.
    """
    given = dict(given or {})
    policy, groups = given.pop("policy", "count"), given.pop("groups", [])
    names = {key: given.pop(key, default) for key, default in (("time", ""), ("train", "train"))}
    if given:
        raise PenstockError(
            f"leakage has the unknown key {next(iter(given))!r}; known are policy, groups, time, "
            "train."
        )
    if policy not in POLICIES:
        raise PenstockError(f"leakage gives policy as {policy!r}; expected {', '.join(POLICIES)}.")
    if not isinstance(groups, (list, tuple)) or not all(isinstance(name, str) for name in groups):
        raise PenstockError(f"leakage gives groups as {groups!r}; expected a list of columns.")
    return LeakageCheck(policy, tuple(groups), **names)


def check_leakage_columns(check: LeakageCheck, splits: Sequence[str], schema: pa.Schema) -> None:
    """Check the names that a leakage check looks at.

    Raises:
        PenstockError: A column or the split that is trained on is not there, or times are nested.
    """
    for name in (*check.groups, *([check.time] if check.time else [])):
        if name not in schema.names:
            raise PenstockError(
                f"leakage names {name!r}, which is no column of the data; there are "
                f"{', '.join(schema.names)}."
            )
    if check.time and pa.types.is_nested(schema.field(check.time).type):
        raise PenstockError(
            f"leakage's time names {check.time!r}, which is {schema.field(check.time).type}; give "
            "a column of dates, timestamps, numbers or text that sorts by time."
        )
    if check.time and check.train not in splits:
        raise PenstockError(
            f"leakage names the split {check.train!r} to train on; there are {', '.join(splits)}."
        )


class Leakage:
    """Collects hashes and times by split: 8 bytes for each row and each row's group.

    Args:
        check: What to check.
        splits: The splits, in their order.
        rows: Whether equal rows count.
        folder: Where hashes go that are too many for memory.
    """

    def __init__(
        self, check: LeakageCheck, splits: Sequence[str], rows: bool, folder: Path
    ) -> None:
        self.check = check
        self.splits = list(splits)
        count = len(self.splits)
        self._rows = SpilledHashes(folder / "rows", count) if rows else None
        self._groups = SpilledHashes(folder / "groups", count) if check.groups else None
        self._train_times = ValueCounts()
        self._earliest: pa.Scalar | None = None

    def add(self, batch: pa.RecordBatch, hashes: Hashes, places: Places) -> None:
        """Take rows with their hashes and the places of their splits."""
        groups = None if self._groups is None else row_hashes(batch, self.check.groups)
        for place, split in enumerate(self.splits):
            chosen = places == place
            if self._rows is not None:
                self._rows.add(place, hashes[chosen])
            if self._groups is not None and groups is not None:
                self._groups.add(place, np.unique(groups[chosen]))
            if self.check.time:
                column = batch.column(batch.schema.get_field_index(self.check.time))
                self._add_times(split, column.filter(pa.array(chosen)))

    def counts(self) -> dict[str, int]:
        """Return the leaks by kind, of the kinds that were checked.

        `duplicate_rows`: rows that have an equal in another split. `duplicate_groups`: groups with
        rows in several splits. `late_rows`: rows of `train` as late as the earliest row of another
        split, or later.
        """
        found = {}
        if self._rows is not None:
            found["duplicate_rows"] = 0
            for parts in self._rows.parts():
                shared = _shared(parts)
                found["duplicate_rows"] += int(sum(np.isin(p, shared).sum() for p in parts))
        if self._groups is not None:
            found["duplicate_groups"] = sum(len(_shared(p)) for p in self._groups.parts())
        if self.check.time:
            values, rows_at = self._train_times.sorted()
            late = 0
            if self._earliest is not None and len(values):
                mask = pc.greater_equal(values, self._earliest).to_numpy(zero_copy_only=False)
                late = int(rows_at[mask].sum())
            found["late_rows"] = late
        return found

    def _add_times(self, split: str, values: pa.Array) -> None:
        if split == self.check.train:
            self._train_times.add(values)
        elif len(values) > values.null_count:
            smallest = pc.min(values) if not _is_text(values) else _first_text(values)
            if self._earliest is None or pc.less(smallest, self._earliest).as_py():
                self._earliest = smallest


def refuse_leaks(counts: Mapping[str, int]) -> None:
    """Raise an error when any count is above zero.

    Raises:
        PenstockError: It says how many of each kind.
    """
    words = {
        "duplicate_rows": "rows with an equal in another split",
        "duplicate_groups": "groups in several splits",
        "late_rows": "training rows no earlier than the other splits begin",
    }
    leaks = [f"{number:,} {words[kind]}" for kind, number in counts.items() if number]
    if leaks:
        raise PenstockError(
            f"The splits leak into each other: {', '.join(leaks)}; remove such rows, divide by "
            'group or time, or set the leakage policy to "count".'
        )


def _shared(splits: Sequence[Hashes]) -> Hashes:
    """Return the hashes that occur in two splits or more."""
    hashes, counts = np.unique(
        np.concatenate([np.unique(split) for split in splits]), return_counts=True
    )
    return hashes[counts > 1]


def _is_text(values: pa.Array) -> bool:
    return pa.types.is_string(values.type) or pa.types.is_binary(values.type)


def _first_text(values: pa.Array) -> pa.Scalar:
    return pa.scalar(min(values.unique().drop_null().to_pylist()), values.type)
