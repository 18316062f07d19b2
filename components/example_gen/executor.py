"""From files to Examples: find, read, hash, divide, write."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ...data.csv_options import csv_options
from ...data.declared import declared_types
from ...data.digest import digest_bytes
from ...data.division import Division, division_of, resolve
from ...data.examples import Column, Manifest, write_manifest
from ...data.first_look import look
from ...data.leakage import (
    Leakage,
    LeakageCheck,
    check_leakage_columns,
    leakage_check,
    refuse_leaks,
)
from ...data.output import new_folder
from ...data.quarantine import Quarantine, check_share, too_many
from ...data.remote import hide_password
from ...data.schemas import load_schema
from ...data.sources import Reading, common_schema, read_batches
from ...data.spans import SourceFile, database, find_files, find_split_files
from ...data.spool import Prepared, prepare
from ...data.windows import window_of
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
    patterns: Mapping[str, str] | None = None,
    window: Mapping[str, Any] | None = None,
    split_by: Mapping[str, Any] | None = None,
    leakage: Mapping[str, Any] | None = None,
    query: str = "",
) -> dict[str, Any]:
    """Write the rows of the files that `pattern` names as Examples, divided into splits.

    Args:
        examples_path: The folder to write.
        pattern: The files; see `penstock.data.spans`. Empty when `patterns` are given.
        source_path: What the pattern is relative to; the working folder when None.
        file_format: `csv`, `parquet`, `jsonl`, `tfrecord`, `avro`, or `auto` to go by the endings.
        splits: Positive weights by split; 2 to 1 for `train` and `eval` when None.
        first_span: The first span to read.
        last_span: The last span to read; the latest alone when both are None.
        split_columns: The columns whose content decides the split; the whole row when None.
        schema_path: The folder of a schema that declares columns' types; inferred when None.
        csv: How CSV files are written; see `penstock.data.csv_options`.
        max_quarantined_share: The share of malformed rows, in [0, 1], that is put aside rather
            than an error.
        patterns: The files of each split, in place of `pattern` and `splits`.
        window: The rolling window of spans to read; see `penstock.data.windows`.
        split_by: How to divide when not by hash; see `penstock.data.division`.
        leakage: What to check between splits; see `penstock.data.leakage`.
        query: What to ask the database whose SQLAlchemy URL is `pattern`.

    Returns:
        Metadata: summary, rows per split, spans, content_digest, accounts.

    Raises:
        PenstockError: Anything about the parameters or the files that a person can mend.
    """
    max_share = check_share(max_quarantined_share)
    declared = {} if schema_path is None else declared_types(load_schema(schema_path))
    reading = Reading(file_format, csv_options(csv), declared)
    shares = DEFAULT_SPLITS if splits is None else splits
    division = division_of(shares, split_columns, split_by, patterns)
    check = leakage_check(leakage)
    if bool(pattern) == bool(patterns):
        raise PenstockError(
            f"{'Both' if pattern else 'Neither'} pattern {'and' if pattern else 'nor'} patterns "
            f"{'are' if pattern else 'is'} given; give one: pattern for files whose rows are "
            "divided, patterns for files of each split."
        )
    if query and patterns:
        raise PenstockError("query needs one database as pattern; leave patterns out.")
    spans = (source_path, first_span, last_span, window_of(window))
    if query:
        files = [database(pattern, query)]
    else:
        files = find_split_files(patterns, *spans) if patterns else find_files(pattern, *spans)
    with new_folder(examples_path) as folder:
        quarantine = Quarantine(folder, max_share)
        work = folder / "sources"
        work.mkdir()
        sources = prepare(files, reading, work, quarantine)
        schema = common_schema([source.pieces for source in sources], reading)
        division = resolve(division, schema)
        check_leakage_columns(check, division.splits, schema)
        if division.needs_a_first_look:
            division = look(division, _all_rows(sources, schema, reading))
        leaks = _leakage(check, division)
        done = convert(folder, sources, schema, reading, division, leaks, quarantine)
        _check_rows(done, files, max_share)
        found = leaks.counts() if leaks else {}
        if check.policy == "fail":
            refuse_leaks(found)
        origin: dict[str, Any] = {"pattern": hide_password(pattern)}
        if patterns:
            origin = {"patterns": dict(patterns)}
        if query:
            origin["query"] = query
        manifest = _manifest(schema, done, _source(origin, done.rows_of, division), found)
        shutil.rmtree(work)
        write_manifest(folder, manifest)
    return _metadata(manifest)


def _all_rows(
    sources: Sequence[Prepared], schema: pa.Schema, reading: Reading
) -> Iterator[pa.RecordBatch]:
    """Yield the good rows; whoever reads them again takes the malformed ones."""
    for source in sources:
        for file in source.pieces:
            yield from read_batches(file, schema, reading, lambda _: None)


def _leakage(check: LeakageCheck, division: Division) -> Leakage | None:
    """Return the check, unless nothing is to check: a hash of the row parts no equal rows."""
    rows = not (division.kind == "stratify" or (division.kind == "hash" and division.keys is None))
    if check.policy == "skip" or not (rows or check.groups or check.time):
        return None
    return Leakage(check, division.splits, rows)


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


def _source(
    origin: Mapping[str, Any], rows_of: Mapping[Prepared, int], division: Division
) -> dict[str, Any]:
    """Return what the manifest says of where the rows come from."""
    source: dict[str, Any] = dict(origin)
    if division.cuts is not None:
        cuts = [str(cut.as_py()) for cut in division.cuts]
        source["cuts"] = dict(zip(division.order[1:], cuts, strict=True))
    source["files"] = [
        {
            "path": prepared.file.name,
            "span": prepared.file.span,
            "version": prepared.file.version,
            **({"split": prepared.file.split} if prepared.file.split is not None else {}),
            "rows": rows,
            "bytes": prepared.bytes,
        }
        for prepared, rows in rows_of.items()
    ]
    return source


def _manifest(
    schema: pa.Schema, done: Conversion, source: dict[str, Any], leaks: dict[str, int]
) -> Manifest:
    types = sorted((field.name, str(field.type)) for field in schema)
    contents = {split: [s.rows, s.first, s.second] for split, s in sorted(done.sums.items())}
    return Manifest(
        columns=tuple(Column(field.name, str(field.type)) for field in schema),
        schema_digest=digest_bytes(json.dumps(types).encode()),
        content_digest=digest_bytes(json.dumps(contents).encode()),
        spans=tuple(sorted({p.file.span for p in done.rows_of if p.file.span is not None})),
        source=source,
        splits=dict(done.shards),
        accounts=done.accounts,
        leakage=leaks,
    )


def _metadata(manifest: Manifest) -> dict[str, Any]:
    rows = {split: manifest.rows(split) for split in manifest.splits}
    count = len(manifest.source["files"])
    shares = ", ".join(f"{split} {number:,}" for split, number in rows.items())
    summary = f"{sum(rows.values()):,} rows from {count} file{'s'[: count != 1]}: {shares}"
    for what in ("quarantined", "filtered"):
        if number := manifest.accounts[what]:
            summary += f"; {number:,} {what}"
    if leaks := sum(manifest.leakage.values()):
        summary += f"; {leaks:,} leaks between splits"
    return {
        "summary": summary,
        "rows": rows,
        "spans": list(manifest.spans),
        "content_digest": manifest.content_digest,
        "accounts": manifest.accounts,
        "leakage": manifest.leakage,
    }
