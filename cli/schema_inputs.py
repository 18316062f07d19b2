"""What the schema commands take: schemas, statistics, and data whose statistics are computed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..errors import PenstockError

# All rows of a file are one split.
ALL = "all"
FILES = (".csv", ".parquet", ".jsonl", ".avro", ".tfrecord")


def is_schema(path: Path) -> bool:
    """Return whether a path is a schema: a text file, or the folder of a Schema artifact."""
    from ..data.schemas import SCHEMA

    if path.is_dir():
        return (path / SCHEMA).is_file()
    return path.suffix not in FILES and not any(path.name.endswith(f"{f}.gz") for f in FILES)


def read_text(path: Path) -> str:
    """Return a schema's text, from a file or a Schema artifact.

    Raises:
        PenstockError: There is no schema there, or it is not one.
    """
    from ..data.schemas import SCHEMA, parse_schema

    file = path / SCHEMA if path.is_dir() else path
    if not file.is_file():
        raise PenstockError(
            f"There is no schema at {path}; give a file in text form, or a folder that schema_gen "
            "wrote."
        )
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise PenstockError(f"{file} is not UTF-8 text; write the schema in text form.") from error
    parse_schema(text, str(file))
    return text


def read_counts(path: Path, split: str | None) -> tuple[Any, str]:
    """Return statistics, with what they are called: read, or computed from data.

    Args:
        path: The folder of a Statistics or an Examples artifact, or a data file.
        split: The split of an artifact; `train`, or the only one, when None.

    Raises:
        PenstockError: It is none of these, or the split is unknown.
    """
    from ..data.examples import MANIFEST
    from ..data.statistics import read_statistics, statistics_splits

    if not path.exists():
        raise PenstockError(
            f"There is nothing at {path}; give a schema, the folder of Statistics or Examples, or "
            "a data file."
        )
    with tempfile.TemporaryDirectory(prefix="penstock-schema-") as work:
        if path.is_file():
            counted = _count(_convert(path, Path(work)), Path(work))
            return read_statistics(counted, ALL), str(path)
        counted = _count(path, Path(work)) if (path / MANIFEST).is_file() else path
        splits = statistics_splits(counted)
        chosen = split or (splits[0] if len(splits) == 1 else "train")
        return read_statistics(counted, chosen), f"{path}, split {chosen}"


def _convert(file: Path, work: Path) -> Path:
    """Write a data file as Examples."""
    from ..components.artifacts import Examples
    from ..components.example_gen.component import example_gen

    examples = Examples(uri=str(work / "examples"), metadata={})
    example_gen.python_func(
        examples=examples,
        pattern=str(file.absolute()),
        splits={ALL: 1.0},
        leakage={"policy": "skip"},
    )
    return Path(examples.path)


def _count(examples: Path, work: Path) -> Path:
    """Compute the statistics of Examples."""
    from kfp import dsl

    from ..components.artifacts import Examples, Statistics
    from ..components.statistics_gen.component import statistics_gen

    statistics = Statistics(uri=str(work / "statistics"), metadata={})
    statistics_gen.python_func(
        examples=Examples(uri=str(examples), metadata={}),
        statistics=statistics,
        report=dsl.HTML(uri=str(work / "statistics.html"), metadata={}),
    )
    return Path(statistics.path)
