"""Rows that cannot be read, kept beside the examples with their place and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import PenstockError

QUARANTINE = "quarantine"
SCHEMA = pa.schema(
    {"file": pa.string(), "line": pa.int64(), "reason": pa.string(), "text": pa.binary()}
)
FLUSH_ROWS = 10_000
# With nothing allowed, so many malformed rows are enough to know.
ENOUGH_ROWS = 1000

Record = TypeVar("Record")
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Reject:
    """A malformed row: its file, the number of its line or record from 1, why, and its bytes."""

    file: str
    line: int
    reason: str
    text: bytes


class Quarantine:
    """Takes malformed rows and writes them as `quarantine/part-*.parquet` in a folder.

    Args:
        folder: The examples' folder.
        max_share: The share of malformed rows among all that is allowed, in [0, 1].
        number: The number of the file that is written.
    """

    def __init__(self, folder: Path, max_share: float = 0.0, number: int = 0) -> None:
        self.file = folder / QUARANTINE / f"part-{number:05d}.parquet"
        self.max_share = max_share
        self.rows = 0
        self.first: list[Reject] = []
        self._waiting: list[Reject] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, reject: Reject) -> None:
        """Keep one malformed row.

        Raises:
            PenstockError: None is allowed, and there are many.
        """
        self.rows += 1
        if len(self.first) < 3:
            self.first.append(reject)
        self._waiting.append(reject)
        if len(self._waiting) >= FLUSH_ROWS:
            self._flush()
        if self.max_share == 0 and self.rows >= ENOUGH_ROWS:
            raise too_many(self.rows, None, self.first, self.max_share)

    def close(self) -> None:
        """Write what is left."""
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        columns = [[getattr(r, name) for r in self._waiting] for name in SCHEMA.names]
        self._waiting = []
        if self._writer is None:
            self.file.parent.mkdir(exist_ok=True)
            self._writer = pq.ParquetWriter(self.file, SCHEMA, compression="zstd")
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))


def check_share(max_share: float) -> float:
    """Return the share that `max_quarantined_share` gives.

    Raises:
        PenstockError: It is not a number from 0 to 1.
    """
    number = isinstance(max_share, (int, float)) and not isinstance(max_share, bool)
    if not number or not 0 <= max_share <= 1:
        raise PenstockError(
            f"max_quarantined_share is {max_share!r}; give a share from 0 to 1, such as 0.001."
        )
    return float(max_share)


def too_many(
    rejected: int, total: int | None, first: Sequence[Reject], max_share: float
) -> PenstockError:
    """Return the error for more malformed rows than `max_share` allows, with the first ones."""
    count = f"At least {rejected:,} rows" if total is None else f"{rejected:,} of {total:,} rows"
    shown = "; ".join(f"{r.file}, line {r.line}: {r.reason}" for r in first)
    more = " and so on" if rejected > len(first) else ""
    return PenstockError(
        f"{count} cannot be read, more than the share of {max_share:g} that max_quarantined_share "
        f"allows ({shown}{more}); mend the rows, or allow a larger share to go to quarantine."
    )


def parse_around(
    records: Sequence[Record],
    parse: Callable[[Sequence[Record]], Parsed],
    reject: Callable[[Record, Exception], None],
    faults: tuple[type[Exception], ...] = (pa.ArrowInvalid, UnicodeDecodeError),
) -> Iterator[Parsed]:
    """Yield what `parse` makes of the records in their order, without those it cannot take.

    The records are halved until each that fails stands alone, so that a few bad ones among many
    cost little.

    Args:
        records: Rows as they are written in the source.
        parse: Turns records into a batch, or raises one of `faults`.
        reject: Takes each record that fails alone, with its fault.
        faults: What `parse` raises for malformed records.
    """
    if not records:
        return
    try:
        parsed = parse(records)
    except faults as fault:
        if len(records) == 1:
            reject(records[0], fault)
            return
        half = len(records) // 2
        yield from parse_around(records[:half], parse, reject, faults)
        yield from parse_around(records[half:], parse, reject, faults)
    else:
        yield parsed
