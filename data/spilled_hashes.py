"""Hashes of more rows than memory should hold, kept by split and looked at a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .row_hash import Hashes

# What memory holds at most before it goes to files: 16 MiB.
WAITING_ROWS = 2_000_000
# Files go by the upper bits of the hashes, so that equal ones lie in files of one number.
BITS = 6


class SpilledHashes:
    """Collects hashes by split; all of them in memory while they are few, in files beyond.

    Args:
        folder: Where the files go; made when it is needed.
        splits: How many splits there are.
    """

    def __init__(self, folder: Path, splits: int) -> None:
        self.folder = folder
        self._waiting: list[list[Hashes]] = [[] for _ in range(splits)]
        self._rows = 0
        self._spilled = False

    def add(self, place: int, hashes: Hashes) -> None:
        """Add hashes to the split at `place`."""
        self._waiting[place].append(hashes)
        self._rows += len(hashes)
        if self._rows >= WAITING_ROWS:
            self._spill()

    def parts(self) -> Iterator[list[Hashes]]:
        """Yield the hashes of each split, in parts: a hash has all its equals in one part."""
        if not self._spilled:
            yield [_joined(parts) for parts in self._waiting]
            return
        self._spill()
        for number in range(1 << BITS):
            yield [self._read(number, place) for place in range(len(self._waiting))]

    def _spill(self) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        self._spilled = True
        for place, parts in enumerate(self._waiting):
            # Sorted, hashes of one file lie together.
            hashes = np.sort(_joined(parts))
            starts = np.arange(1, 1 << BITS, dtype=np.uint64) << np.uint64(64 - BITS)
            pieces = np.split(hashes, np.searchsorted(hashes, starts))
            for number, piece in enumerate(pieces):
                if len(piece):
                    with self._file(number, place).open("ab") as stream:
                        stream.write(piece.tobytes())
            parts.clear()
        self._rows = 0

    def _read(self, number: int, place: int) -> Hashes:
        file = self._file(number, place)
        return np.fromfile(file, np.uint64) if file.is_file() else _joined([])

    def _file(self, number: int, place: int) -> Path:
        return self.folder / f"{number:02d}-{place}.hashes"


def _joined(parts: list[Hashes]) -> Hashes:
    return np.concatenate([np.zeros(0, np.uint64), *parts])
