"""From files to Examples: find, read, hash, divide, write."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
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
from ...data.parts import parts_of, read_batches
from ...data.quarantine import Quarantine, check_share, too_many
from ...data.remote import hide_password
from ...data.row_hash import Hashes
from ...data.schemas import load_schema
from ...data.selection import (
    Layout,
    Selection,
    check_selection,
    layout_of,
    selection_of,
)
from ...data.shuffle import shuffle_split
from ...data.sources import Reading, common_schema
from ...data.spans import SourceFile, database, find_files, find_split_files
from ...data.spool import Prepared, check_unchanged, prepare
from ...data.windows import window_of
from ...errors import PenstockError
from .beam_conversion import RECORDS, convert_on_beam
from .conversion import Conversion, Plan, convert

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
    columns: Sequence[str] | None = None,
    filter: str = "",
    sample_rate: float = 1.0,
    shuffle_seed: int | None = None,
    shards: Mapping[str, Any] | None = None,
    beam_pipeline_args: Sequence[str] | None = None,
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
        columns: The columns to keep, in this order; all when None.
        filter: Which rows to keep; see `penstock.data.filters`.
        sample_rate: The share of the rows to keep, in (0, 1].
        shuffle_seed: Write each split's rows in an order drawn by this seed, not in the sources'.
        shards: How shards are written; see `penstock.data.selection`.
        beam_pipeline_args: Beam's flags, to convert on a Beam runner; in this process without one
            when None.

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
    selection = selection_of(columns, filter, sample_rate)
    layout = layout_of(shards, shuffle_seed)
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
    with _room_on_disk(examples_path), new_folder(examples_path) as folder:
        quarantine = Quarantine(folder, max_share)
        work = folder / "sources"
        work.mkdir()
        sources = prepare(files, reading, work, quarantine)
        schema = common_schema([source.pieces for source in sources], reading)
        plan = _plan(schema, reading, selection, division, layout, check, sources)
        leaks = _leakage(check, plan.division, work / "leakage")
        if beam_pipeline_args is None:
            done = convert(folder, sources, plan, leaks, quarantine)
        else:
            done = convert_on_beam(folder, sources, plan, leaks, quarantine, beam_pipeline_args)
            shutil.rmtree(folder / RECORDS)
        check_unchanged(sources)
        _check_rows(done, files, max_share)
        found = leaks.counts() if leaks else {}
        if check.policy == "fail":
            refuse_leaks(found)
        if shuffle_seed is not None:
            shuffled = {
                split: shuffle_split(folder, split, parts, plan.kept, layout)
                for split, parts in done.shards.items()
            }
            done = replace(done, shards=shuffled, span_rows={})
        manifest = _manifest(
            plan, done, _source(_origin(pattern, patterns, query), done, plan), found
        )
        shutil.rmtree(work)
        write_manifest(folder, manifest)
    return _metadata(manifest)


@contextmanager
def _room_on_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise PenstockError(
            f"There is no room to write {path} ({error.strerror or error}); free some, or write "
            "elsewhere. Nothing was left there."
        ) from error


def _plan(
    schema: pa.Schema,
    reading: Reading,
    selection: Selection,
    division: Division,
    layout: Layout,
    check: LeakageCheck,
    sources: Sequence[Prepared],
) -> Plan:
    """Check the parameters against the columns there are, and look where to cut."""
    check_selection(selection, schema)
    division = resolve(division, schema)
    kept = selection.kept_schema(schema)
    check_leakage_columns(check, division.splits, kept)
    others = [division.column] if division.column else list(division.keys or ())
    read = selection.read_schema(schema, others)
    if division.needs_a_first_look:
        division = look(division, _kept_rows(sources, read, reading, selection))
    return Plan(read, kept, reading, selection, division, layout)


def _kept_rows(
    sources: Sequence[Prepared], schema: pa.Schema, reading: Reading, selection: Selection
) -> Iterator[tuple[pa.RecordBatch, Hashes]]:
    """Yield the rows that are kept; whoever reads them again takes the malformed ones."""
    for source in sources:
        for file in source.pieces:
            for part in parts_of(file, reading):
                for batch, lines in read_batches(part, schema, reading, lambda _: None):
                    rows, hashes, _ = selection.rows(batch, lines)
                    yield rows, hashes


def _leakage(check: LeakageCheck, division: Division, folder: Path) -> Leakage | None:
    """Return the check, unless nothing is to check: a hash of the row parts no equal rows."""
    rows = not (division.kind == "stratify" or (division.kind == "hash" and division.keys is None))
    if check.policy == "skip" or not (rows or check.groups or check.time):
        return None
    return Leakage(check, division.splits, rows, folder)


def _check_rows(done: Conversion, files: Sequence[SourceFile], max_share: float) -> None:
    total, rejected = done.accounts["in"], done.accounts["quarantined"]
    if rejected > max_share * total:
        raise too_many(rejected, total, done.first_rejects, max_share)
    if done.accounts["filtered"] and not done.accounts["out"]:
        raise PenstockError(
            f"The filter and the sample leave none of {done.accounts['filtered']:,} rows; widen "
            "them, or give other files."
        )
    if not done.accounts["out"]:
        names = ", ".join(file.label for file in files[:5])
        raise PenstockError(
            f"There is not one {'good ' if rejected else ''}row in {names}"
            f"{' and more' if files[5:] else ''}; give files with at least one row of data."
        )


def _origin(pattern: str, patterns: Mapping[str, str] | None, query: str) -> dict[str, Any]:
    """Return what was asked for, as the manifest tells it."""
    if patterns:
        return {"patterns": dict(patterns)}
    return {"pattern": hide_password(pattern), **({"query": query} if query else {})}


def _source(origin: dict[str, Any], done: Conversion, plan: Plan) -> dict[str, Any]:
    """Return what the manifest says of where the rows come from and which were kept."""
    source = dict(origin)
    if plan.selection.where:
        source["filter"] = plan.selection.where
    if plan.selection.sample_rate < 1:
        source["sample_rate"] = plan.selection.sample_rate
    division = plan.division
    if division.cuts is not None:
        cuts = [str(cut.as_py()) for cut in division.cuts]
        source["cuts"] = dict(zip(division.order[1:], cuts, strict=True))
    if any(done.span_rows.values()):
        source["span_rows"] = {
            split: [[span, rows] for span, rows in stretches]
            for split, stretches in sorted(done.span_rows.items())
        }
    source["files"] = [
        {
            "path": prepared.file.name,
            "span": prepared.file.span,
            "version": prepared.file.version,
            "format": prepared.format,
            **({"split": prepared.file.split} if prepared.file.split is not None else {}),
            "rows": rows,
            "bytes": prepared.bytes,
        }
        for prepared, rows in done.rows_of.items()
    ]
    return source


def _manifest(
    plan: Plan, done: Conversion, source: dict[str, Any], leaks: dict[str, int]
) -> Manifest:
    types = sorted((field.name, str(field.type)) for field in plan.kept)
    contents = {split: [s.rows, s.first, s.second] for split, s in sorted(done.sums.items())}
    return Manifest(
        columns=tuple(Column(field.name, str(field.type)) for field in plan.kept),
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
