"""Writing a split as Parquet shards of bounded size."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .examples import Shard, split_folder
from .positions import PositionsWriter

SHARD_ROWS = 262_144
ROW_GROUP_ROWS = 131_072


class ShardWriter:
    """Writes the rows of one split, in the order given, as `part-*.parquet`.

    A shard holds `SHARD_ROWS` rows, the last one fewer; where the shards begin does not depend on
    the sizes of the batches. Beside it lies where its rows stood in their sources, when that is
    told. A split without rows gets one shard without rows, which tells the columns. Memory holds
    one row group.

    Args:
        path: The examples' folder.
        split: The split.
        schema: Its columns.
        shard_rows: The rows of a shard, in place of `SHARD_ROWS`.
        compression: Parquet's name for how the shards are compressed.
        prefix: What the shards' names begin with.
        keep_empty: Whether a split without rows gets a shard.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        schema: pa.Schema,
        shard_rows: int | None = None,
        compression: str = "zstd",
        prefix: str = "part-",
        keep_empty: bool = True,
    ) -> None:
        self.folder = path / split_folder(split)
        self.folder.mkdir(exist_ok=True)
        self.schema = schema
        self.shard_rows = shard_rows or SHARD_ROWS
        self.compression = compression
        self.prefix = prefix
        self.keep_empty = keep_empty
        self.shards: list[Shard] = []
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0
        self._positions: list[pa.RecordBatch] = []
        self._positions_writer: PositionsWriter | None = None

    def write(self, batch: pa.RecordBatch, positions: pa.RecordBatch | None = None) -> None:
        """Append the rows of `batch`, and where they stood in their sources.

        Args:
            batch: The rows.
            positions: As `penstock.data.positions` has them; of every batch or of none.
        """
        start = 0
        while batch.num_rows - start >= (taken := self._group_rows() - self._waiting_rows):
            self._wait(batch, positions, start, taken)
            start += taken
            self._flush()
        if start < batch.num_rows:
            self._wait(batch, positions, start, batch.num_rows - start)

    def close(self) -> tuple[Shard, ...]:
        """Write what is left and return the shards."""
        if self._waiting or (self.keep_empty and not (self.shards or self._writer)):
            self._flush()
        self._finish_shard()
        return tuple(self.shards)

    def _wait(
        self, batch: pa.RecordBatch, positions: pa.RecordBatch | None, start: int, rows: int
    ) -> None:
        self._waiting.append(batch.slice(start, rows))
        self._waiting_rows += rows
        if positions is not None:
            self._positions.append(positions.slice(start, rows))

    def _group_rows(self) -> int:
        return min(ROW_GROUP_ROWS, self.shard_rows - self._rows)

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, schema=self.schema)
        self._waiting, self._waiting_rows = [], 0
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file(), self.schema, compression=self.compression)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        if self._positions:
            if self._positions_writer is None:
                self._positions_writer = PositionsWriter(self._file())
            self._positions_writer.write(self._positions)
            self._positions = []
        self._rows += table.num_rows
        if self._rows >= self.shard_rows:
            self._finish_shard()

    def _finish_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            if self._positions_writer is not None:
                self._positions_writer.close()
                self._positions_writer = None
            file = self._file()
            self.shards.append(Shard(file.name, self._rows, file.stat().st_size))
            self._writer, self._rows = None, 0

    def _file(self) -> Path:
        return self.folder / f"{self.prefix}{len(self.shards):05d}.parquet"
