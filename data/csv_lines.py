"""On which lines a CSV file's records begin, which Arrow does not tell.

A record takes one line, unless a line break lies within its quotes, and a blank line takes none. So
no block of a file has more records than line breaks, and one that has as many has neither of the
two: its records' lines follow one another. That is what most files are, and counting is cheap. From
the first block on that has fewer, the file is read once more, quotes and all.

The blocks are read again rather than watched on their way to Arrow: its threads would wait for
Python's lock, while Python waits for them when a file is given up half-way.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .csv_options import CsvOptions
from .csv_ranges import ByteRange, open_range
from .positions import Lines

BLOCK_BYTES = 4 << 20
NEWLINE, RETURN, LETTER = ord("\n"), ord("\r"), ord("x")
BOM = b"\xef\xbb\xbf"

Places = np.ndarray[Any, Any]


class RowLines:
    """The lines on which a file's rows begin, to be taken batch by batch as Arrow reads them.

    Args:
        file: The file.
        options: How it is written.
        part: Which bytes of the file; all when None.
        block_bytes: The size of the blocks that Arrow reads, each of which becomes a batch.
    """

    def __init__(
        self, file: Path, options: CsvOptions, part: ByteRange | None, block_bytes: int
    ) -> None:
        self._file = file
        self._options = options
        self._part = part
        self._line = 1 if part is None else part.first_line
        # Lines to skip and the header are in the first block.
        self._before = options.skip_lines + int(options.columns is None)
        self._taken = 0
        self._open = ExitStack()
        self._counts = _BlockCounts(self._stream(), block_bytes)
        self._records: RecordLines | None = None

    def take(self, rows: int) -> Lines:
        """Return the lines of the next batch, of so many rows."""
        if self._records is None and self._counts.next() == rows + self._before:
            self._line += self._before
            lines = np.arange(self._line, self._line + rows)
            self._line += rows
        else:
            lines = self._among_records().take(rows)
        self._before = 0
        self._taken += rows
        return lines

    def finish(self) -> None:
        """Check that no record is left."""
        if self._records is not None and not self._records.ended():
            raise AssertionError(f"{self._file} has more records than rows")

    def close(self) -> None:
        """Close what was opened."""
        self._open.close()

    def _among_records(self) -> RecordLines:
        """Return the lines of all records, where the next one is that of the next row."""
        if self._records is None:
            first = 1 if self._part is None else self._part.first_line
            top = self._part is None or not self._part.start
            self._records = RecordLines(self._stream(), self._options, first, top)
            self._records.take(self._taken + int(self._options.columns is None))
        return self._records

    def _stream(self) -> pa.NativeFile:
        return self._open.enter_context(open_range(self._file, self._part))


class RecordLines:
    r"""Collects the lines on which records begin, told from their bytes, to be taken in order.

    Lines end by `\n`, `\r` or both, as in Python, and quotes are as Arrow takes them: one opens
    where a field begins, and is a letter elsewhere. All is done a block at a time by numpy.

    Args:
        stream: The bytes.
        options: How the file is written.
        first_line: The number of the first line.
        top: Whether that is the file's first one, so that lines to skip come first.
    """

    def __init__(
        self, stream: pa.NativeFile, options: CsvOptions, first_line: int = 1, top: bool = True
    ) -> None:
        self._stream = stream
        self._quote = ord(options.quote) if options.quote else None
        # What a quote that opens comes after; after another quote it is its second half.
        self._before = np.zeros(256, bool)
        self._before[[NEWLINE, RETURN, ord(options.delimiter), self._quote or NEWLINE]] = True
        self._skip = options.skip_lines if top else 0
        self._top = top
        self._line = first_line
        # Of the record that has not ended: its first line, and whether it has a byte.
        self._begins = first_line
        self._open = False
        self._within = False
        # The last byte, and whether it is a quote that closed.
        self._last = NEWLINE
        self._closed = False
        self._held = b""
        self._found: deque[Lines] = deque()

    def take(self, rows: int) -> Lines:
        """Return the lines of the next so many records."""
        parts = []
        while rows:
            if self.ended():
                raise AssertionError(f"{rows} more rows than records")
            part = self._found.popleft()
            if len(part) > rows:
                self._found.appendleft(part[rows:])
                part = part[:rows]
            parts.append(part)
            rows -= len(part)
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def ended(self) -> bool:
        """Return whether no record is left."""
        while not self._found:
            if not self._read():
                return True
        return False

    def _read(self) -> bool:
        """Look through the next block, and return whether there was any more."""
        block = self._stream.read(BLOCK_BYTES)
        if not block and not self._held and not self._open:
            return False
        data = np.frombuffer(self._held + block, np.uint8)
        if self._top and data[: len(BOM)].tobytes() == BOM:
            data = data[len(BOM) :]
        self._top = False
        # Whether a line feed follows a return at the block's end is seen in the next one.
        self._held = b"\r" if block.endswith(b"\r") else b""
        data = data[: len(data) - len(self._held)]
        if len(data):
            self._look(data)
        if not block and self._open:
            self._found.append(np.array([self._begins], np.int64))
            self._open = False
        return True

    def _look(self, data: Places) -> None:
        breaks = _line_breaks(data)
        if self._skip:
            skipped = min(self._skip, len(breaks))
            self._skip -= skipped
            self._line += skipped
            self._begins = self._line
            if self._skip:
                return
            data = data[breaks[skipped - 1] + 1 :]
            breaks = breaks[skipped:] - (breaks[skipped - 1] + 1)
        ends = np.arange(len(breaks))
        if (inside := self._inside(data, breaks)) is not None:
            ends = ends[~inside]
        if len(ends):
            self._add(data, breaks, ends)
        self._line += len(breaks)
        rest = len(data) - (breaks[ends[-1]] + 1) if len(ends) else len(data)
        self._open = bool(rest) or (self._open and not len(ends))
        self._last = int(data[-1]) if len(data) else self._last

    def _add(self, data: Places, breaks: Places, ends: Places) -> None:
        """Add the records that end at `ends`, which number the line breaks outside quotes."""
        places = breaks[ends]
        starts = np.concatenate([[0], places[:-1] + 1])
        lines = np.concatenate([[self._begins], self._line + ends[:-1] + 1])
        sizes = places - starts
        # A return before a line feed is no content.
        short = np.flatnonzero(sizes == 1)
        sizes[short[(data[places[short]] == NEWLINE) & (data[starts[short]] == RETURN)]] = 0
        full = sizes > 0
        full[0] |= self._open
        if full.any():
            self._found.append(lines[full])
        self._begins = self._line + int(ends[-1]) + 1

    def _inside(self, data: Places, breaks: Places) -> Places | None:
        """Return which line breaks lie within quotes; None when there are no quotes at all."""
        quotes = np.zeros(0, np.int64)
        if self._quote is not None:
            quotes = np.flatnonzero(data == self._quote)
        if not len(quotes):
            self._closed = False
            return np.ones(len(breaks), bool) if self._within else None
        before = data[quotes - 1]
        if not quotes[0]:
            letter = self._last == self._quote and not self._closed
            before[0] = LETTER if letter else self._last
        if not self._before[before[int(self._within) :: 2]].all():
            quotes = self._telling(quotes, before)
        odd = (np.searchsorted(quotes, breaks) + int(self._within)) % 2
        self._within ^= bool(len(quotes) % 2)
        self._closed = not self._within and len(quotes) > 0 and quotes[-1] == len(data) - 1
        return odd == 1

    def _telling(self, quotes: Places, before: Places) -> Places:
        """Return the quotes that open or close, where some are letters, one after another."""
        telling = []
        within, closed = self._within, self._closed
        for place, last in zip(quotes.tolist(), before.tolist(), strict=True):
            # The quote after one that closes opens again: the two are one letter within quotes.
            opens = closed if last == self._quote else self._before[last]
            closed = within
            if within or opens:
                telling.append(place)
                within = not within
        return np.array(telling, np.int64)


def _line_breaks(data: Places) -> Places:
    """Return where lines end: at line feeds, and at returns that none follows."""
    breaks = np.flatnonzero(data == NEWLINE)
    returns = np.flatnonzero(data == RETURN)
    if len(returns):
        followed = data[np.minimum(returns + 1, len(data) - 1)] == NEWLINE
        breaks = np.union1d(breaks, returns[~followed])
    return breaks


class _BlockCounts:
    """Counts the line breaks of a file block by block, as far as its lines end by a line feed."""

    def __init__(self, stream: pa.NativeFile, block_bytes: int) -> None:
        self._stream = stream
        self._bytes = block_bytes
        self._ahead = stream.read(block_bytes)
        self._plain = True

    def next(self) -> int | None:
        """Return the line breaks of the next block; None when they do not tell the lines."""
        block, self._ahead = self._ahead, self._stream.read(self._bytes)
        if b"\r" in block:
            # A line feed that follows the block's last return is in the next one.
            followed = block.count(b"\r\n")
            followed += block.endswith(b"\r") and self._ahead.startswith(b"\n")
            self._plain &= block.count(b"\r") == followed
        # The file's last line may end with the file.
        last = bool(block) and not self._ahead and not block.endswith(b"\n")
        return block.count(b"\n") + last if self._plain else None
