"""A large CSV file in byte ranges that begin where records do.

A line break within quotes ends no record, and no byte in the middle of a file tells whether it lies
within quotes. So the file is looked through once from its start, counting quotes, a block at a time
by numpy. The count is right where every quote that opens stands at a field's start and every quote
that closes at a field's end, as RFC 4180 has it; a file with any other quote stays whole.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .csv_options import CsvOptions

RANGE_BYTES = 64 << 20
BLOCK_BYTES = 8 << 20
BOM = b"\xef\xbb\xbf"
NEWLINE, RETURN = ord("\n"), ord("\r")

Places = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ByteRange:
    """Bytes of a file, from the start of a record to the end of one; `end` is the first not in it.

    `names` are the columns' names, which stand at the top of the file and not in a later range;
    `first_line` is the number of the range's first line in the file.
    """

    start: int
    end: int
    names: tuple[str, ...] = ()
    first_line: int = 1


def byte_ranges(file: Path, options: CsvOptions) -> list[ByteRange]:
    """Return the ranges of a file in their order, without the columns' names.

    Each but the last has at least `RANGE_BYTES` bytes, unless a record is larger, and the first has
    the header. A file that is compressed, not much larger than one range, or irregular in its
    quotes is one range.

    Args:
        file: The file.
        options: How it is written.
    """
    size = file.stat().st_size
    if size <= RANGE_BYTES * 3 // 2 or file.suffix in (".gz", ".bz2", ".zst"):
        return [ByteRange(0, size)]
    walk = _Walk(_first_record(file, options), options)
    starts = [(0, 1)]
    with file.open("rb") as stream:
        stream.seek(walk.place)
        while block := stream.read(BLOCK_BYTES):
            found = walk.record_ends(block, starts[-1][0] + RANGE_BYTES)
            if found is None:
                return [ByteRange(0, size)]
            starts += found
    # The rest is not worth a range of its own.
    if size - starts[-1][0] <= RANGE_BYTES // 2 and len(starts) > 1:
        starts.pop()
    return [
        ByteRange(start, end, first_line=line)
        for (start, line), (end, _) in pairwise([*starts, (size, 0)])
    ]


class _Walk:
    """Where a walk through a file is, on which line, and whether it is within quotes."""

    def __init__(self, place: int, options: CsvOptions) -> None:
        self.place = place
        self.line = 1 + options.skip_lines
        self.quote = ord(options.quote) if options.quote else None
        self.ends = np.array([ord(options.delimiter), NEWLINE, RETURN], np.uint8)
        self.within = False
        # What stands before a file's first record opens a field too.
        self.last = NEWLINE

    def record_ends(self, block: bytes, wanted: int) -> list[tuple[int, int]] | None:
        """Return the end of the first record that ends at `wanted` or later, and so on.

        Args:
            block: The bytes from `place` on, which is moved to their end.
            wanted: A place in the file; the next one is `RANGE_BYTES` after the end that is found.

        Returns:
            Places in the file, each with the number of the line that begins there; None when a
            quote is not where RFC 4180 has it.
        """
        data = np.frombuffer(block, np.uint8)
        quotes = np.zeros(0, np.int64)
        if self.quote is not None and block.find(self.quote) >= 0:
            quotes = np.flatnonzero(data == self.quote)
        if not self._are_regular(data, quotes):
            return None
        found = []
        seen = 0
        while wanted <= self.place + len(data):
            end = self._next_end(data, quotes, max(wanted - 1 - self.place, 0))
            if end is None:
                break
            self._count(block, seen, end)
            found.append((self.place + end, self.line))
            wanted, seen = self.place + end + RANGE_BYTES, end
        self._count(block, seen, len(block))
        self.within ^= bool(len(quotes) % 2)
        self.last = int(data[-1])
        self.place += len(data)
        return found

    def _count(self, block: bytes, start: int, end: int) -> None:
        r"""Count the lines that end in a stretch of a block: by `\n`, `\r` or both."""
        self.line += block.count(b"\n", start, end)
        if block.find(b"\r", start, end) >= 0:
            self.line += block.count(b"\r", start, end) - block.count(b"\r\n", start, end)
        if start == 0 < end and self.last == RETURN and block[0] == NEWLINE:
            self.line -= 1

    def _are_regular(self, data: Places, quotes: Places) -> bool:
        """Tell whether quotes open and close where fields do, as far as this block shows."""
        allowed = np.append(self.ends, np.uint8(self.quote or 0))
        closed_before = self.quote is not None and self.last == self.quote and not self.within
        if closed_before and data[0] not in allowed:
            return False
        opens = quotes[int(self.within) :: 2]
        closes = quotes[1 - int(self.within) :: 2]
        before = data[opens - 1]
        if len(opens) and opens[0] == 0:
            before[0] = self.last
        # What follows a quote at the end of the block is in the next one.
        after = data[closes[closes < len(data) - 1] + 1]
        return bool(np.isin(before, allowed).all() and np.isin(after, allowed).all())

    def _next_end(self, data: Places, quotes: Places, start: int) -> int | None:
        """Return the place after the first line break from `start` on that lies in no quotes."""
        step = 1 << 16
        for begin in range(start, len(data), step):
            breaks = np.flatnonzero(data[begin : begin + step] == NEWLINE) + begin
            odd = (np.searchsorted(quotes, breaks) + int(self.within)) % 2
            outside = breaks[odd == 0]
            if len(outside):
                return int(outside[0]) + 1
        return None


def _first_record(file: Path, options: CsvOptions) -> int:
    """Return the place of the header, or of the first row when there is none."""
    with file.open("rb") as stream:
        if stream.read(len(BOM)) != BOM:
            stream.seek(0)
        with io.TextIOWrapper(stream, encoding="latin-1", newline="") as text:
            place = stream.tell()
            for _ in range(options.skip_lines):
                place += len(text.readline())
            return place


@contextmanager
def open_range(file: Path, part: ByteRange | None) -> Iterator[pa.NativeFile]:
    """Open a byte range of a file, or all of it, decompressed as its ending says."""
    if part is None:
        with pa.input_stream(str(file), compression="detect") as stream:
            yield stream
    else:
        with pa.OSFile(str(file)) as whole:
            yield whole.get_stream(part.start, part.end - part.start)
