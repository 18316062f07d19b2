"""From files to Examples: find, read, hash, divide, write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ...data.csv_options import csv_options
from ...data.declared import declared_types
from ...data.digest import digest_bytes
from ...data.examples import Column, Manifest, write_manifest
from ...data.output import new_folder
from ...data.quarantine import check_share, too_many
from ...data.schemas import load_schema
from ...data.sources import Reading, common_schema
from ...data.spans import SourceFile, find_files
from ...data.splits import check_weights
from ...errors import PenstockError
from .conversion import Conversion, convert

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
    *,
    schema_path: str | os.PathLike[str] | None = None,
    csv: Mapping[str, Any] | None = None,
    max_quarantined_share: float = 0.0,
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
        schema_path: The folder of a schema that declares columns' types; inferred when None.
        csv: How CSV files are written; see `penstock.data.csv_options`.
        max_quarantined_share: The share of malformed rows, in [0, 1], that is put aside rather
            than an error.

    Returns:
        Metadata: summary, rows per split, spans, content_digest, accounts.

    Raises:
        PenstockError: Anything about the parameters or the files that a person can mend.
    """
    weights = check_weights(DEFAULT_SPLITS if splits is None else splits)
    max_share = check_share(max_quarantined_share)
    declared = {} if schema_path is None else declared_types(load_schema(schema_path))
    reading = Reading(file_format, csv_options(csv), declared)
    files = find_files(pattern, source_path, first_span, last_span)
    schema = common_schema(files, reading)
    _check_split_columns(schema, split_columns)
    with new_folder(examples_path) as folder:
        done = convert(folder, files, schema, reading, weights, split_columns, max_share)
        _check_rows(done, files, max_share)
        manifest = _manifest(schema, done, pattern)
        write_manifest(folder, manifest)
    return _metadata(manifest)


def _check_rows(done: Conversion, files: Sequence[SourceFile], max_share: float) -> None:
    total, rejected = done.accounts["in"], done.accounts["quarantined"]
    if rejected > max_share * total:
        raise too_many(rejected, total, done.first_rejects, max_share)
    if not done.accounts["out"]:
        names = ", ".join(file.label for file in files[:5])
        raise PenstockError(
            f"There is not one {'good ' if rejected else ''}row in {names}"
            f"{' and more' if files[5:] else ''}; give files with at least one row of data."
        )


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


def _manifest(schema: pa.Schema, done: Conversion, pattern: str) -> Manifest:
    types = sorted((field.name, str(field.type)) for field in schema)
    contents = {split: [s.rows, s.first, s.second] for split, s in sorted(done.sums.items())}
    files = list(done.rows_of)
    return Manifest(
        columns=tuple(Column(field.name, str(field.type)) for field in schema),
        schema_digest=digest_bytes(json.dumps(types).encode()),
        content_digest=digest_bytes(json.dumps(contents).encode()),
        spans=tuple(sorted({file.span for file in files if file.span is not None})),
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
                for file, rows in done.rows_of.items()
            ],
        },
        splits=dict(done.shards),
        accounts=done.accounts,
    )


def _metadata(manifest: Manifest) -> dict[str, Any]:
    rows = {split: manifest.rows(split) for split in manifest.splits}
    count = len(manifest.source["files"])
    shares = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    summary = f"{sum(rows.values()):,} rows from {count} file{'s'[: count != 1]}: {shares}"
    for what in ("quarantined", "filtered"):
        if number := manifest.accounts[what]:
            summary += f"; {number:,} {what}"
    return {
        "summary": summary,
        "rows": rows,
        "spans": list(manifest.spans),
        "content_digest": manifest.content_digest,
        "accounts": manifest.accounts,
    }
