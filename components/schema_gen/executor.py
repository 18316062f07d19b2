"""A schema: reviewed by people and taken as it is, or inferred from statistics."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.output import new_folder
from ...data.schemas import ARROW, JSON, SCHEMA, parse_schema
from ...data.statistics import read_statistics
from ...errors import PenstockError
from ...schemas import schema_digest as digest_of
from ...schemas.arrow import arrow_schema, write_parquet
from ...schemas.inference import infer_schema
from ...schemas.json_schema import json_schema
from ...schemas.proposal import propose_update
from ...schemas.text import write


def generate_schema(
    schema_path: str | os.PathLike[str],
    statistics_path: str | os.PathLike[str] | None = None,
    schema_text: str = "",
    infer_split: str = "train",
    *,
    schema_digest: str = "",
    proposal_path: str | os.PathLike[str] | None = None,
    environment: str = "",
    infer_ranges: bool = False,
    infer_shapes: bool = True,
    max_string_domain_size: int = 100,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write `schema.pbtxt`: the given text byte for byte, or what is inferred from statistics.

    Args:
        schema_path: The folder to write.
        statistics_path: The statistics' folder; not needed with a text.
        schema_text: A reviewed schema; `""` to infer one.
        infer_split: The split to infer or to propose from.
        schema_digest: The digest that the text must have; `""` for any.
        proposal_path: Where to write, as Markdown, what the statistics would need of the reviewed
            schema; nowhere when None.
        environment: The environment of the reviewed schema that the statistics belong to.
        infer_ranges: See `penstock.schemas.inference.infer_schema`, as for the next ones.
        infer_shapes: Infer fixed shapes.
        max_string_domain_size: The most words of a domain that is inferred, at least 0.
        labels: Features that serving rows do not have.

    Returns:
        Metadata: summary, features (their number), digest, proposed (the number of changes).

    Raises:
        PenstockError: The text is not a schema, has no features or another digest, neither text nor
            statistics are given, the split, environment or a label is unknown, or there are no
            rows.
    """
    _check_pin(schema_text, schema_digest)
    if schema_text:
        text, origin = schema_text, "as reviewed"
    elif statistics_path is not None:
        statistics = _counted(statistics_path, infer_split)
        text, origin = (
            write(
                infer_schema(
                    statistics,
                    ranges=infer_ranges,
                    max_string_domain_size=int(max_string_domain_size),
                    shapes=infer_shapes,
                    labels=labels or (),
                )
            ),
            f"inferred from {infer_split}",
        )
    else:
        raise PenstockError(
            "schema_gen got neither schema_text nor statistics; give a reviewed schema, or "
            "statistics to infer one from."
        )
    schema = parse_schema(text, "schema_text" if schema_text else "The inferred schema")
    proposal, proposed = "Nothing is proposed: the schema was inferred.\n", 0
    if schema_text:
        proposal, proposed = _propose(
            text, statistics_path, infer_split, environment, int(max_string_domain_size)
        )
    with new_folder(schema_path) as folder:
        (folder / SCHEMA).write_bytes(text.encode("utf-8"))
        document = json.dumps(json_schema(schema), indent=2, ensure_ascii=False)
        (folder / JSON).write_text(document + "\n", encoding="utf-8")
        write_parquet(arrow_schema(schema), folder / ARROW)
        if proposal_path is not None:
            Path(proposal_path).parent.mkdir(parents=True, exist_ok=True)
            Path(proposal_path).write_text(proposal, encoding="utf-8")
    count = len(schema.feature)
    summary = f"{count} feature{'s'[: count != 1]}, {origin}"
    if proposed:
        summary += f"; {proposed} change{'s'[: proposed != 1]} proposed"
    return {
        "summary": summary,
        "features": count,
        "digest": digest_of(text),
        "proposed": proposed,
    }


def _check_pin(text: str, digest: str) -> None:
    if digest and not text:
        raise PenstockError(
            "schema_gen got a schema_digest without schema_text; an inferred schema cannot be "
            "pinned, so give the reviewed text as well."
        )
    if digest and digest_of(text) != digest:
        raise PenstockError(
            f"schema_text has the digest {digest_of(text)}, expected {digest}: it is not the "
            "schema that was reviewed; compile the pipeline again, or give the reviewed text."
        )


def _counted(path: str | os.PathLike[str], split: str) -> Any:
    statistics = read_statistics(path, split)
    if not statistics.datasets[0].num_examples:
        raise PenstockError(
            f"Split {split!r} has no rows, so no schema can be inferred from it; give more data, "
            "another infer_split, or a reviewed schema."
        )
    return statistics


def _propose(
    text: str,
    statistics_path: str | os.PathLike[str] | None,
    split: str,
    environment: str,
    most_words: int,
) -> tuple[str, int]:
    """Return the proposal as Markdown, and its number of changes."""
    if statistics_path is None:
        return "Nothing is proposed: no statistics were given beside the reviewed schema.\n", 0
    statistics = read_statistics(statistics_path, split)
    rows = int(statistics.datasets[0].num_examples)
    source = f"the statistics of {split} ({rows:,} rows)"
    if not rows:
        return f"Nothing is proposed: split `{split}` has no rows.\n", 0
    found = propose_update(
        text,
        statistics,
        environment=environment,
        max_string_domain_size=most_words,
        source=source,
    )
    if not found.diff:
        return f"Nothing is proposed: the schema accepts {source}.\n", 0
    return f"```diff\n{found.diff}```\n", len(found.changes)
