"""The Examples format: rows as Parquet shards per split, described by `manifest.json`.

docs/formats.md shows the layout. Everything here is columnar; no function loops over rows. Where
columns are named, `trip.distance` is the field `distance` of the struct column `trip`, unless a
column has that very name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import PenstockError

if TYPE_CHECKING:
    import os

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Column:
    """A column's name and Arrow's name for its type."""

    name: str
    type: str


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a split: its name, its rows, its size in bytes."""

    file: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says; see docs/formats.md for each field."""

    columns: tuple[Column, ...]
    schema_digest: str
    content_digest: str
    spans: tuple[int, ...]
    source: dict[str, Any]
    splits: dict[str, tuple[Shard, ...]]
    accounts: dict[str, int] = field(default_factory=dict)
    leakage: dict[str, int] = field(default_factory=dict)

    def rows(self, split: str) -> int:
        """Return the number of rows of `split`.

        Raises:
            PenstockError: There is no such split.
        """
        return sum(shard.rows for shard in self.shards(split))

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of `split` in their order.

        Raises:
            PenstockError: There is no such split.
        """
        if split not in self.splits:
            raise PenstockError(
                f"There is no split {split!r} in the examples; they have {_names(self.splits)}."
            )
        return self.splits[split]


def split_folder(split: str) -> str:
    """Return the folder name of a split, such as `Split-train`."""
    return f"Split-{split}"


def write_manifest(path: str | os.PathLike[str], manifest: Manifest) -> None:
    """Write `manifest` as `manifest.json` into the folder `path`."""
    content = {
        "format": FORMAT,
        "columns": [{"name": c.name, "type": c.type} for c in manifest.columns],
        "schema_digest": manifest.schema_digest,
        "content_digest": manifest.content_digest,
        "spans": list(manifest.spans),
        "source": manifest.source,
        "accounts": manifest.accounts,
        "leakage": manifest.leakage,
        "splits": {
            split: {
                "rows": manifest.rows(split),
                "shards": [{"file": s.file, "rows": s.rows, "bytes": s.bytes} for s in shards],
            }
            for split, shards in manifest.splits.items()
        },
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (Path(path) / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read the manifest of the examples in the folder `path`.

    Raises:
        PenstockError: There is no manifest there, or it is not one that this version reads.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise PenstockError(
            f"There are no examples at {path}: {MANIFEST} is missing; give the folder that "
            "example_gen wrote."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise PenstockError(
                f"{file} has format {content['format']}, this version of Penstock reads "
                f"{FORMAT}; run example_gen again."
            )
        return Manifest(
            columns=tuple(Column(c["name"], c["type"]) for c in content["columns"]),
            schema_digest=content["schema_digest"],
            content_digest=content["content_digest"],
            spans=tuple(content["spans"]),
            source=content["source"],
            splits={
                name: tuple(Shard(s["file"], s["rows"], s["bytes"]) for s in split["shards"])
                for name, split in content["splits"].items()
            },
            accounts=content.get("accounts", {}),
            leakage=content.get("leakage", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PenstockError(
            f"{file} is not a manifest of examples ({type(error).__name__}: {error}); run "
            "example_gen again."
        ) from error


def shard_paths(path: str | os.PathLike[str], split: str) -> list[Path]:
    """Return the Parquet files of `split`, in their order.

    Raises:
        PenstockError: The split is unknown (the sentence names those that exist), or a file that
            the manifest lists is missing.
    """
    folder = Path(path) / split_folder(split)
    files = [folder / shard.file for shard in read_manifest(path).shards(split)]
    for file in files:
        if not file.is_file():
            raise PenstockError(
                f"The manifest of {path} lists {file.relative_to(path)}, which is missing; run "
                "example_gen again."
            )
    return files


def iter_batches(
    path: str | os.PathLike[str],
    split: str,
    columns: Sequence[str] | None = None,
    batch_rows: int = 131_072,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `split` as record batches with one flat array per column.

    Args:
        path: The examples' folder.
        split: Which split.
        columns: Which columns, in this order; all in the manifest's order when None.
        batch_rows: The most rows in a batch. Batches do not cross shards.

    Raises:
        PenstockError: The split or a column is unknown, or a shard cannot be read.
    """
    names = read_schema(path, split, columns).names
    for file in shard_paths(path, split):
        yield from iter_shard(file, names, batch_rows)


def iter_shard(
    file: str | os.PathLike[str], columns: Sequence[str], batch_rows: int = 131_072
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one shard as record batches of `columns`, in this order.

    Raises:
        PenstockError: The file is not readable Parquet.
    """
    try:
        with pq.ParquetFile(file) as reader:
            schema = reader.schema_arrow  # made anew each time it is asked for
            paths = [field_steps(schema, name) or [name] for name in columns]
            wanted = [".".join(steps) for steps in paths]
            for batch in reader.iter_batches(batch_size=batch_rows, columns=wanted):
                # Parquet keeps the file's order, and "a" also selects a column named "a.b".
                arrays = [_values(batch, steps) for steps in paths]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error


def read_schema(
    path: str | os.PathLike[str], split: str, columns: Sequence[str] | None = None
) -> pa.Schema:
    """Return the Arrow schema of `split`, of the given columns in this order, or of all.

    Raises:
        PenstockError: The split or a column is unknown, or a shard is missing or unreadable.
    """
    known = [column.name for column in read_manifest(path).columns]
    file = shard_paths(path, split)[0]
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    fields = []
    for name in known if columns is None else columns:
        steps = field_steps(schema, name)
        if steps is None:
            raise PenstockError(
                f"There is no column {name!r} in the examples at {path}; they have {_names(known)}."
            )
        fields.append(pa.field(name, _value_type(schema, steps)))
    return pa.schema(fields)


def read_table(
    path: str | os.PathLike[str], split: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read `split` as one table; of an empty split, a table without rows.

    Args:
        path: The examples' folder.
        split: Which split.
        columns: Which columns, in this order; all in the manifest's order when None.

    Raises:
        PenstockError: The split or a column is unknown, or a shard cannot be read.
    """
    schema = read_schema(path, split, columns)
    return pa.Table.from_batches(list(iter_batches(path, split, schema.names)), schema=schema)


def field_steps(schema: pa.Schema, name: str) -> list[str] | None:
    """Return the names from a column down to the field that `name` stands for, if there is one."""
    # All the names are listed only for what is no column, or more than one.
    if schema.get_field_index(name) >= 0 or name in schema.names:
        return [name]
    for column in schema:
        kind = column.type
        if pa.types.is_struct(kind) and name.startswith(f"{column.name}."):
            inner = pa.schema([kind.field(place) for place in range(kind.num_fields)])
            rest = field_steps(inner, name[len(column.name) + 1 :])
            if rest is not None:
                return [column.name, *rest]
    return None


def _value_type(schema: pa.Schema, steps: Sequence[str]) -> pa.DataType:
    kind = schema.field(steps[0]).type
    for step in steps[1:]:
        kind = kind.field(kind.get_field_index(step)).type
    return kind


def _values(batch: pa.RecordBatch, steps: Sequence[str]) -> pa.Array:
    """Return the values at `steps`; a field of a struct that is missing is missing."""
    values = batch.column(batch.schema.get_field_index(steps[0]))
    for step in steps[1:]:
        values = pc.struct_field(values, [values.type.get_field_index(step)])
    return values


def _names(names: Iterator[str] | Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _unreadable(file: str | os.PathLike[str], error: Exception) -> PenstockError:
    reason = str(error).partition("\n")[0].rstrip(".")
    return PenstockError(
        f"The shard {file} cannot be read as Parquet ({reason}); run example_gen again."
    )
