"""Examples without the rows that were put aside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...data.examples import (
    MANIFEST,
    Manifest,
    Shard,
    iter_shard,
    read_manifest,
    read_schema,
    shard_paths,
    split_folder,
    write_manifest,
)
from ...data.output import link_file, new_folder
from ...data.positions import open_positions
from ...data.row_hash import ContentSum, content_digest, row_hashes
from ...data.shards import ShardWriter


def clean_examples(
    examples_path: str | os.PathLike[str],
    cleaned_path: str | os.PathLike[str],
    quarantined: Mapping[str, Path],
) -> Manifest:
    """Write the examples without the rows in quarantine.

    Splits that lose nothing are the same files, linked where the file system can and copied where
    not; without any loss the manifest is the same too, and so the content's digest.

    Args:
        examples_path: The examples' folder.
        cleaned_path: The folder to write.
        quarantined: By split the Parquet file of its rows in quarantine, with `shard` and `row`.

    Returns:
        The manifest of what was written.

    Raises:
        PenstockError: The examples cannot be read.
    """
    manifest = read_manifest(examples_path)
    with new_folder(cleaned_path) as folder:
        for file in sorted(Path(examples_path).rglob("*")):
            relative = file.relative_to(examples_path)
            split = relative.parts[0].removeprefix(split_folder(""))
            if file.is_file() and relative != Path(MANIFEST) and split not in quarantined:
                link_file(file, folder / relative)
        if not quarantined:
            link_file(Path(examples_path) / MANIFEST, folder / MANIFEST)
            return manifest
        shards = dict(manifest.splits)
        for split, file in quarantined.items():
            shards[split] = _without(examples_path, folder, split, file)
        lost = sum(manifest.rows(split) for split in manifest.splits) - sum(
            shard.rows for files in shards.values() for shard in files
        )
        cleaned = replace(
            manifest,
            splits=shards,
            accounts=_accounts(manifest.accounts, lost),
        )
        write_manifest(folder, cleaned)
        cleaned = replace(cleaned, content_digest=_content(folder, cleaned))
        write_manifest(folder, cleaned)
    return cleaned


def _without(
    examples_path: str | os.PathLike[str], folder: Path, split: str, quarantined: Path
) -> tuple[Shard, ...]:
    """Write a split without the rows in quarantine, in their order."""
    table = pq.read_table(quarantined, columns=["shard", "row"])
    places = table["shard"].to_numpy()
    numbers = table["row"].to_numpy()
    writer = ShardWriter(folder, split, read_schema(examples_path, split))
    for file in shard_paths(examples_path, split):
        gone = numbers[places == f"{split_folder(split)}/{file.name}"]
        start, known = 0, open_positions(file)
        for batch in iter_shard(file, writer.schema.names):
            kept = np.ones(batch.num_rows, bool)
            here = gone[(gone >= start) & (gone < start + batch.num_rows)]
            kept[here - start] = False
            mask = pa.array(kept)
            positions = known.slice(start, batch.num_rows).filter(mask) if known else None
            writer.write(batch.filter(mask), positions)
            start += batch.num_rows
        if known:
            known.close()
    return writer.close()


def _accounts(accounts: Mapping[str, int], lost: int) -> dict[str, int]:
    """Return the accounts with the lost rows in quarantine: in = out + quarantined + filtered."""
    if not accounts:
        return {}
    return {
        **accounts,
        "out": accounts["out"] - lost,
        "quarantined": accounts["quarantined"] + lost,
    }


def _content(folder: Path, manifest: Manifest) -> str:
    sums = {}
    for split in manifest.splits:
        sums[split] = ContentSum()
        for file in shard_paths(folder, split):
            for batch in iter_shard(file, [column.name for column in manifest.columns]):
                sums[split] += ContentSum.of(row_hashes(batch))
    return content_digest(sums)
