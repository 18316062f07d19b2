"""A schema: reviewed by people and taken as it is, or inferred by TFDV."""

from __future__ import annotations

import os
from typing import Any

from ...data.digest import digest_bytes
from ...data.output import new_folder
from ...data.schemas import SCHEMA, parse_schema
from ...data.statistics import read_statistics
from ...errors import PenstockError


def generate_schema(
    schema_path: str | os.PathLike[str],
    statistics_path: str | os.PathLike[str] | None = None,
    schema_text: str = "",
    infer_split: str = "train",
) -> dict[str, Any]:
    """Write `schema.pbtxt`: the given text byte for byte, or what TFDV infers from statistics.

    Args:
        schema_path: The folder to write.
        statistics_path: The statistics' folder; not needed with a text.
        schema_text: A reviewed schema; `""` to infer one.
        infer_split: The split to infer from.

    Returns:
        Metadata: summary, features (their number), digest.

    Raises:
        PenstockError: The text is not a schema or has no features, neither text nor statistics are
            given, the split is unknown or without rows.
    """
    if schema_text:
        text = schema_text
        origin = "as reviewed"
    elif statistics_path is not None:
        text = _infer(statistics_path, infer_split)
        origin = f"inferred from {infer_split}"
    else:
        raise PenstockError(
            "schema_gen got neither schema_text nor statistics; give a reviewed schema, or "
            "statistics to infer one from."
        )
    schema = parse_schema(text, "schema_text" if schema_text else "The inferred schema")
    content = text.encode("utf-8")
    with new_folder(schema_path) as folder:
        (folder / SCHEMA).write_bytes(content)
    count = len(schema.feature)
    return {
        "summary": f"{count} feature{'s'[: count != 1]}, {origin}",
        "features": count,
        "digest": digest_bytes(content),
    }


def _infer(statistics_path: str | os.PathLike[str], split: str) -> str:
    import tensorflow_data_validation as tfdv
    from google.protobuf import text_format

    statistics = read_statistics(statistics_path, split)
    if not statistics.datasets[0].num_examples:
        raise PenstockError(
            f"Split {split!r} has no rows, so no schema can be inferred from it; give more data, "
            "another infer_split, or a reviewed schema."
        )
    return str(text_format.MessageToString(tfdv.infer_schema(statistics)))
