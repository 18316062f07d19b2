"""Examples for whoever thinks in tables: read in place by other libraries.

With `dataset = arrow_dataset("examples", "train")`:

- pandas: `dataset.to_table(columns=["carrier", "distance"]).to_pandas()`
- Arrow, filtered while read: `dataset.to_table(filter=pyarrow.dataset.field("distance") > 500)`
- Polars: `polars.scan_pyarrow_dataset(dataset).group_by("carrier").len().collect()`

and with `files = [str(file) for file in penstock.data.examples.shard_paths("examples", "train")]`

- DuckDB: `duckdb.read_parquet(files).aggregate("carrier, avg(distance)")`

Each hands column selections and filters down to the files, and holds no second copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from ..errors import PenstockError
from .examples import field_steps, read_schema, shard_paths

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd


def arrow_dataset(path: str | os.PathLike[str], split: str) -> ds.Dataset:
    """Return a split as an Arrow dataset: its files, read when and as far as something asks.

    Raises:
        PenstockError: The split is unknown, or a shard is missing or unreadable.
    """
    files = [str(file) for file in shard_paths(path, split)]
    return ds.dataset(files, schema=read_schema(path, split), format="parquet")


def data_frame(
    path: str | os.PathLike[str],
    split: str,
    columns: Sequence[str] | None = None,
    where: ds.Expression | None = None,
) -> pd.DataFrame:
    """Return rows of a split as a pandas frame, in the order on disk.

    Args:
        path: The examples' folder.
        split: Which split.
        columns: Which columns, in this order; all when None.
        where: Which rows, such as `pyarrow.dataset.field("distance") > 500`; all when None.

    Raises:
        PenstockError: The split or a column is unknown, the filter does not fit the columns, or a
            shard cannot be read.
    """
    names = read_schema(path, split, columns).names
    dataset = arrow_dataset(path, split)
    try:
        fields = {name: pc.field(*(field_steps(dataset.schema, name) or [name])) for name in names}
        table = dataset.to_table(columns=fields, filter=where)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"Split {split!r} of {path} cannot be read ({reason}); mend the filter {where}, or run "
            "example_gen again."
        ) from error
    return table.to_pandas()
