"""The Statistics format: one `DatasetFeatureStatisticsList` per split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from ..errors import PenstockError
from .examples import split_folder

if TYPE_CHECKING:
    import os

    from tensorflow_metadata.proto.v0 import statistics_pb2

STATISTICS = "stats.binpb"


def statistics_splits(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the splits that have statistics in the folder `path`, sorted.

    Raises:
        PenstockError: There are none.
    """
    files = f"{split_folder('*')}/{STATISTICS}"
    found = sorted(file.parent.name for file in Path(path).glob(files))
    if not found:
        raise PenstockError(
            f"There are no statistics at {path}: no {files}; give the folder that statistics_gen "
            "wrote."
        )
    return [name.removeprefix(split_folder("")) for name in found]


def read_statistics(
    path: str | os.PathLike[str], split: str
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Read the statistics of one split: a list with one dataset, named after the split.

    Raises:
        PenstockError: There are none of this split, or the file is not a statistics proto.
    """
    from tensorflow_metadata.proto.v0 import statistics_pb2

    known = statistics_splits(path)
    if split not in known:
        raise PenstockError(
            f"There is no split {split!r} in the statistics; they have {', '.join(known)}."
        )
    file = Path(path) / split_folder(split) / STATISTICS
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    try:
        statistics.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise PenstockError(
            f"{file} is not a DatasetFeatureStatisticsList; run statistics_gen again."
        ) from error
    if len(statistics.datasets) != 1:
        raise PenstockError(
            f"{file} holds {len(statistics.datasets)} datasets, expected one; run statistics_gen "
            "again."
        )
    return statistics
