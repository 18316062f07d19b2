"""Folds for cross-validation: selections of shards over one copy of a split's rows.

The rows are written once, divided into pieces; a fold's training and evaluation splits are links to
the shards of the pieces that they are made of, so that k folds take the room of one. The folder is
an Examples folder like any other, with the splits `fold-0-train`, `fold-0-eval`, `fold-1-train` and
so on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import PenstockError
from .digest import digest_bytes
from .examples import Manifest, Shard, read_manifest, split_folder, write_manifest
from .fold_plan import Plan, Rows, plan_folds
from .fold_rule import FoldRule
from .output import new_folder
from .shards import ShardWriter

PIECES = "pieces"


@dataclass(frozen=True)
class Fold:
    """A pair of splits of a folder that `write_folds` wrote.

    Attributes:
        train: The split to learn from.
        eval: The split to score on.
        train_rows: Its rows.
        eval_rows: Its rows.
        begins: In order of time, the validation's first time, in words; else empty.
    """

    train: str
    eval: str
    train_rows: int
    eval_rows: int
    begins: str = ""


def write_folds(
    examples: str | os.PathLike[str], path: str | os.PathLike[str], split: str, rule: FoldRule
) -> tuple[Fold, ...]:
    """Divide the rows of a split into folds.

    In order of time the rows are cut into `folds + 1` blocks of about as many rows, equal times
    staying together; fold i learns from blocks 0 to i and is scored on block i + 1, so that no
    training row is as late as the first that is scored. Otherwise the rows are parted into `folds`
    parts, and each is scored on by a model of the others: by a hash of the row (equal rows stay
    together), by groups (the largest first, each to the smallest part, as scikit-learn's
    GroupKFold does), or within each stratum by a hash.

    Args:
        examples: Folder of the Examples.
        path: The folder to write.
        split: The split whose rows are divided.
        rule: How.

    Raises:
        PenstockError: The split or a column is unknown, a time is missing, or the rows, times,
            groups or strata do not suffice for so many folds.
    """
    manifest = read_manifest(examples)
    if not manifest.rows(split):
        raise PenstockError(
            f"Split {split!r} of the examples has no rows, so there is nothing to divide into "
            "folds; look at example_gen's pattern and weights."
        )
    rows = Rows(examples, manifest, split, rule)
    plan = plan_folds(rows, rule)
    with new_folder(path) as folder:
        written = _write_pieces(folder, rows, plan)
        splits: dict[str, tuple[Shard, ...]] = {}
        folds = []
        for number, (train, evaluation, begins) in enumerate(plan.folds):
            names = (f"fold-{number}-train", f"fold-{number}-eval")
            for name, pieces in zip(names, (train, evaluation), strict=True):
                splits[name] = _link(folder, name, written, pieces)
            learned, scored = (sum(shard.rows for shard in splits[name]) for name in names)
            if not (learned and scored):
                raise PenstockError(
                    f"Of {rule.describe()}, fold {number} has {learned:,} training and {scored:,} "
                    f"evaluation rows of the {manifest.rows(split):,} of split {split!r}; ask for "
                    "fewer folds or a smaller gap."
                )
            folds.append(Fold(*names, learned, scored, begins))
        write_manifest(folder, _manifest(manifest, split, rule, splits))
    return tuple(folds)


def _write_pieces(folder: Path, rows: Rows, plan: Plan) -> list[tuple[str, tuple[Shard, ...]]]:
    """Write every row into its piece; return each piece's name and shards."""
    names = [f"piece-{number:03d}" for number in range(plan.pieces)]
    (folder / PIECES).mkdir()
    writers = [ShardWriter(folder / PIECES, name, rows.schema, keep_empty=False) for name in names]
    for batch, hashes in rows.batches():
        places = plan.places(batch, hashes)
        kept = pa.RecordBatch.from_arrays(batch.columns[: len(rows.schema)], schema=rows.schema)
        for place in np.unique(places):
            writers[place].write(kept.filter(pa.array(places == place)))
    return [(name, writer.close()) for name, writer in zip(names, writers, strict=True)]


def _link(
    folder: Path,
    split: str,
    written: Sequence[tuple[str, tuple[Shard, ...]]],
    pieces: Sequence[int],
) -> tuple[Shard, ...]:
    """Make a split of links to the shards of its pieces."""
    place = folder / split_folder(split)
    place.mkdir()
    shards = []
    for name, parts in (written[piece] for piece in pieces):
        for shard in parts:
            link = f"{name}-{shard.file}"
            (place / link).symlink_to(Path("..") / PIECES / split_folder(name) / shard.file)
            shards.append(replace(shard, file=link))
    return tuple(shards)


def _manifest(
    manifest: Manifest, split: str, rule: FoldRule, splits: dict[str, tuple[Shard, ...]]
) -> Manifest:
    told = f"{manifest.content_digest} {split} {sorted(asdict(rule).items())}"
    return replace(
        manifest,
        content_digest=digest_bytes(told.encode()),
        source={"folds_of": manifest.content_digest, "split": split, "rule": rule.describe()},
        splits=splits,
        accounts={},
        leakage={},
    )
