"""Rules of the author's over the table of statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from tensorflow_metadata.proto.v0 import statistics_pb2

from ...data.statistics import statistics_table
from ...errors import PenstockError
from .policy import CustomRule
from .sql import answered, check_rule, literal, locked_database, reason_of, select

Datasets = Mapping[str, statistics_pb2.DatasetFeatureStatistics]


def broken_rules(
    rules: Sequence[CustomRule],
    current: Datasets,
    previous: Datasets,
    serving: Datasets,
    spill: Path,
) -> list[tuple[CustomRule, str, str]]:
    """Return which rules are broken, where.

    The rules see the tables `statistics`, `previous` and `serving`, the last two without rows when
    there are none; docs/validation.md lists their columns.

    Args:
        rules: The policy's rules over statistics.
        current: The statistics by split.
        previous: Those of the previous span, by the split that is compared with them.
        serving: Likewise of serving.
        spill: A folder to make, for the tables and for what does not fit into memory.

    Returns:
        The rule, the split and the feature of every row of `statistics` for which it is false.

    Raises:
        PenstockError: A rule is not an SQL expression that is true or false, or cannot be computed.
    """
    broken = []
    spill.mkdir(parents=True, exist_ok=True)
    tables = {"statistics": current, "previous": previous, "serving": serving}
    files = {name: spill / f"{name}.parquet" for name in tables}
    for name, datasets in tables.items():
        pq.write_table(_table(datasets), files[name])
    with locked_database(list(files.values()), spill) as database:
        for name, file in files.items():
            view = select(["*"], f"read_parquet({literal(str(file))})")
            database.sql(view).create_view(name)
        for rule in rules:
            check_rule(database, rule.name, rule.sql, "statistics")
            query = select(
                ["split", "feature"],
                answered([rule.sql], "statistics"),
                "WHERE NOT r0 ORDER BY ALL",
            )
            try:
                found = database.sql(query).fetchall()
            except duckdb.Error as error:
                raise PenstockError(
                    f"The rule {rule.name!r} of the data policy cannot be computed "
                    f"({reason_of(error)}); mend it."
                ) from error
            broken += [
                (rule, split, feature)
                for split, feature in found
                if rule.is_about(split) and any(fnmatchcase(feature, f) for f in rule.features)
            ]
    return broken


def _table(datasets: Datasets) -> pa.Table:
    table = statistics_table({split: [dataset] for split, dataset in datasets.items()})
    return table.drop(["slice"])
