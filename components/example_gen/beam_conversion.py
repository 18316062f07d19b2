"""The rows of files to shards of splits on a Beam runner: one element per part of a file.

Every element writes shards, a quarantine file and a record of its own, named by its number, so that
a runner may repeat it. Workers need the sources and the output folder at the same paths.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...data.beam import pipeline_options
from ...data.examples import Shard, iter_shard, split_folder
from ...data.leakage import Leakage
from ...data.parts import Part, parts_of
from ...data.quarantine import Quarantine, Reject
from ...data.row_hash import ContentSum, row_hashes
from ...data.shards import ShardWriter
from ...data.spool import Prepared
from ...errors import PenstockError
from .conversion import Conversion, Counted, Plan, account, convert_part

RECORDS = "records"


@dataclass(frozen=True)
class Element:
    """A part of a file, with a number, and the number of its source."""

    number: int
    source: int
    part: Part


def convert_on_beam(
    folder: Path,
    sources: Sequence[Prepared],
    plan: Plan,
    leakage: Leakage | None,
    quarantine: Quarantine,
    beam_pipeline_args: Sequence[str],
) -> Conversion:
    """Write the rows of the sources as shards into `folder`, as a Beam pipeline.

    Args:
        folder: The examples' folder.
        sources: What to read.
        plan: What to do to every row.
        leakage: Sees every row with its split, once all are written.
        quarantine: What was malformed so far.
        beam_pipeline_args: Beam's flags.

    Raises:
        PenstockError: An element's; the first one's when there are several.
    """
    import apache_beam as beam

    quarantine.close()
    (folder / RECORDS).mkdir()
    elements = _elements(sources, plan)
    convert_one = partial(convert_element, folder=folder, plan=plan, max_share=quarantine.max_share)
    with beam.Pipeline(options=pipeline_options(beam_pipeline_args)) as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(elements)
            | "Spread" >> beam.Reshuffle()
            | "Convert" >> beam.Map(convert_one)
        )
    return _gather(folder, sources, elements, plan, leakage, quarantine)


def convert_element(element: Element, folder: Path, plan: Plan, max_share: float) -> None:
    """Write one element's shards, quarantine and record into `folder`."""
    record: dict[str, Any] = {}
    quarantine = Quarantine(folder, max_share, element.number + 1)
    writers = plan.writers(folder, f"part-{element.number:05d}-", keep_empty=False)
    counted = Counted(sums=dict.fromkeys(plan.division.splits, ContentSum()))
    try:
        convert_part(element.part, element.source, plan, writers, counted, quarantine)
        quarantine.close()
        record = {
            "good": counted.good,
            "filtered": counted.filtered,
            "sums": {split: asdict(total) for split, total in counted.sums.items()},
            "shards": {s: [asdict(shard) for shard in w.close()] for s, w in writers.items()},
        }
    except PenstockError as error:
        # Beam would wrap it; whoever gathers the records raises it.
        record["error"] = str(error)
    record["quarantined"] = quarantine.rows
    record["first"] = [{**asdict(r), "text": r.text.hex()} for r in quarantine.first]
    text = json.dumps(record)
    (folder / RECORDS / f"{element.number}.json").write_text(text, encoding="utf-8")


def _elements(sources: Sequence[Prepared], plan: Plan) -> list[Element]:
    parts = [
        (number, part)
        for number, source in enumerate(sources)
        for piece in source.pieces
        for part in parts_of(piece, plan.reading)
    ]
    return [Element(place, number, part) for place, (number, part) in enumerate(parts)]


def _gather(
    folder: Path,
    sources: Sequence[Prepared],
    elements: Sequence[Element],
    plan: Plan,
    leakage: Leakage | None,
    quarantine: Quarantine,
) -> Conversion:
    records = {
        element: json.loads((folder / RECORDS / f"{element.number}.json").read_text("utf-8"))
        for element in elements
    }
    for record in records.values():
        if "error" in record:
            raise PenstockError(record["error"])
    rows_of = {source: source.rejected for source in sources}
    shards: dict[str, list[Shard]] = {split: [] for split in plan.division.splits}
    sums = dict.fromkeys(plan.division.splits, ContentSum())
    first = list(quarantine.first)
    for element, record in records.items():
        rows_of[sources[element.source]] += record["good"] + record["quarantined"]
        for split in shards:
            shards[split] += [Shard(**shard) for shard in record["shards"][split]]
            sums[split] += ContentSum(**record["sums"][split])
        first += [Reject(**{**r, "text": bytes.fromhex(r["text"])}) for r in record["first"]]
    for split in shards:
        if not shards[split]:
            shards[split] += ShardWriter(folder, split, plan.kept).close()
    quarantined = quarantine.rows + sum(r["quarantined"] for r in records.values())
    filtered = sum(record["filtered"] for record in records.values())
    accounts = account(rows_of, shards, quarantined, filtered)
    if leakage is not None:
        for place, split in enumerate(leakage.splits):
            for shard in shards[split]:
                for batch in iter_shard(folder / split_folder(split) / shard.file, plan.kept.names):
                    leakage.add(batch, row_hashes(batch), np.full(batch.num_rows, place))
    done = {split: tuple(parts) for split, parts in shards.items()}
    return Conversion(done, sums, rows_of, accounts, first[:3])
