"""From files to Examples: find, read, hash, divide, write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ...data.digest import digest_bytes
from ...data.examples import Column, Manifest, Shard, write_manifest
from ...data.output import new_folder
from ...data.row_hash import ContentSum, row_hashes
from ...data.shards import ShardWriter
from ...data.sources import common_schema, read_batches
from ...data.spans import SourceFile, find_files
from ...data.splits import assign_splits, check_weights
from ...errors import PenstockError

DEFAULT_SPLITS = {"train": 2.0, "eval": 1.0}


def generate_examples(
    examples_path: str | os.PathLike[str],
    pattern: str,
    source_path: str | os.PathLike[str] | None = None,
    file_format: str = "auto",
    splits: Mapping[str, float] | None = None,
    first_span: int | None = None,
    last_span: int | None = None,
    split_columns: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write the rows of the files that `pattern` names as Examples, divided into splits.

    Args:
        examples_path: The folder to write.
        pattern: The files; see `penstock.data.spans`.
        source_path: What the pattern is relative to; the working folder when None.
        file_format: `csv`, `parquet`, or `auto` to go by the files' endings.
        splits: Positive weights by split; 2 to 1 for `train` and `eval` when None.
        first_span: The first span to read.
        last_span: The last span to read; the latest alone when both are None.
        split_columns: The columns whose content decides the split; the whole row when None.

    Returns:
        Metadata: summary, rows per split, spans, content_digest.

    Raises:
        PenstockError: Anything about the parameters or the files that a person can mend.
    """
    weights = check_weights(DEFAULT_SPLITS if splits is None else splits)
    files = find_files(pattern, source_path, first_span, last_span)
    schema = common_schema(files, file_format)
    _check_split_columns(schema, split_columns)
    with new_folder(examples_path) as folder:
        heaviest_first = sorted(weights, key=lambda split: -weights[split])
        writers = {split: ShardWriter(folder, split, schema) for split in heaviest_first}
        sums = dict.fromkeys(weights, ContentSum())
        rows_of = dict.fromkeys(files, 0)
        for file in files:
            for batch in read_batches(file, schema, file_format):
                rows_of[file] += batch.num_rows
                for split, part, content in divide(batch, weights, split_columns):
                    writers[split].write(part)
                    sums[split] += content
        if not any(rows_of.values()):
            names = ", ".join(str(file.path) for file in files[:5])
            raise PenstockError(
                f"There is not one row in {names}{' and more' if files[5:] else ''}; give files "
                "with at least one row of data."
            )
        shards = {split: writer.close() for split, writer in writers.items()}
        manifest = _manifest(schema, shards, sums, pattern, rows_of)
        write_manifest(folder, manifest)
    return _metadata(manifest)


def divide(
    batch: pa.RecordBatch, weights: Mapping[str, float], split_columns: Sequence[str] | None
) -> Iterator[tuple[str, pa.RecordBatch, ContentSum]]:
    """Yield each split's rows of `batch` with the sum of their hashes."""
    hashes = row_hashes(batch)
    keys = row_hashes(batch, split_columns) if split_columns else hashes
    places = assign_splits(keys, weights)
    for place, split in enumerate(weights):
        chosen = places == place
        yield split, batch.filter(pa.array(chosen)), ContentSum.of(hashes[chosen])


def _check_split_columns(schema: pa.Schema, split_columns: Sequence[str] | None) -> None:
    if split_columns is not None and not split_columns:
        raise PenstockError(
            "split_columns is an empty list; name at least one column, or leave it out."
        )
    for name in split_columns or ():
        if name not in schema.names:
            raise PenstockError(
                f"split_columns names {name!r}, which is no column of the data; there are "
                f"{', '.join(schema.names)}."
            )


def _manifest(
    schema: pa.Schema,
    shards: Mapping[str, tuple[Shard, ...]],
    sums: Mapping[str, ContentSum],
    pattern: str,
    rows_of: Mapping[SourceFile, int],
) -> Manifest:
    types = sorted((field.name, str(field.type)) for field in schema)
    contents = {split: [s.rows, s.first, s.second] for split, s in sorted(sums.items())}
    return Manifest(
        columns=tuple(Column(field.name, str(field.type)) for field in schema),
        schema_digest=digest_bytes(json.dumps(types).encode()),
        content_digest=digest_bytes(json.dumps(contents).encode()),
        spans=tuple(sorted({file.span for file in rows_of if file.span is not None})),
        source={
            "pattern": pattern,
            "files": [
                {
                    "path": file.name,
                    "span": file.span,
                    "version": file.version,
                    "rows": rows,
                    "bytes": file.path.stat().st_size,
                }
                for file, rows in rows_of.items()
            ],
        },
        splits=dict(shards),
    )


def _metadata(manifest: Manifest) -> dict[str, Any]:
    rows = {split: manifest.rows(split) for split in manifest.splits}
    count = len(manifest.source["files"])
    shares = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    return {
        "summary": f"{sum(rows.values()):,} rows from {count} file{'s'[: count != 1]}: {shares}",
        "rows": rows,
        "spans": list(manifest.spans),
        "content_digest": manifest.content_digest,
    }
