"""How many features alarm where nothing is wrong: census by year, and flights by month.

The census is ACS employment data of Massachusetts, 2015 to 2018, about 69,000 rows a year, on which
a model of 2015 keeps its quality; it lies in the wheel of `nannyml`, which is downloaded and read,
not installed. The flights are those of the running example, each month against the one before: in a
year there are seasons, so some drift is true. Compared are the defaults of `penstock.drift`, TFDV's
comparators at thresholds of its tutorial, and hypothesis tests at 5%.

    python benchmarks/drift_no_harm.py --write    # a minute; writes the tables to docs/drift.md
"""

from __future__ import annotations

import argparse
import io
import itertools
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from drift_chance import write
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.drift.columns import distributions_of_batches
from penstock.drift.comparison import compare
from penstock.drift.distribution import Distribution
from penstock.drift.findings import DRIFT, INSUFFICIENT
from penstock.drift.p_values import correct, p_value
from penstock.drift.statistics import distributions_of_statistics
from penstock.pipelines.flights.spans import label_flights, read_flights

WHEEL = "nannyml==0.13.1"
CENSUS = "nannyml/datasets/data/employment_MA_{}.pq"
NOT_FEATURES = ("id", "employed", "year", "prediction", "predicted_probability")
# The year is the same in all flights, and month and time_hour are the span itself.
SPAN_ITSELF = ("year", "month", "time_hour")
L_INFINITY = 0.01
JENSEN_SHANNON = 0.01
ALPHA = 0.05


@dataclass(frozen=True)
class Side:
    """A data set, as each method wants it."""

    name: str
    raw: dict[str, Distribution]
    statistics: object


def census(cache: Path) -> list[pa.Table]:
    """Return the census, a table of 16 features a year."""
    wheels = list(cache.glob("nannyml-*.whl"))
    if not wheels:
        cache.mkdir(parents=True, exist_ok=True)
        command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(cache), WHEEL]
        subprocess.run([sys.executable, "-m", *command], check=True)
        wheels = list(cache.glob("nannyml-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        parts = [
            pq.read_table(io.BytesIO(wheel.read(CENSUS.format(part)))).to_pandas()
            for part in ("reference", "analysis")
        ]
    rows = pd.concat(parts)
    features = rows.drop(columns=[name for name in NOT_FEATURES if name in rows]).astype(
        {name: str for name in rows if isinstance(rows[name].dtype, pd.CategoricalDtype)}
    )
    return [
        pa.Table.from_pandas(features[rows["year"] == year], preserve_index=False)
        for year in sorted(rows["year"].unique())
    ]


def flights() -> list[pa.Table]:
    """Return the flights that arrived, a table a month."""
    rows = label_flights(read_flights()).to_pandas()
    features = rows.drop(columns=list(SPAN_ITSELF))
    return [
        pa.Table.from_pandas(features[rows["month"] == month], preserve_index=False)
        for month in range(1, 13)
    ]


def side(name: str, table: pa.Table) -> Side:
    """Return a table as distributions and as TFDV's statistics."""
    statistics = tfdv.generate_statistics_from_dataframe(table.to_pandas())
    return Side(name, distributions_of_batches([table]), statistics)


def alarms(reference: Side, current: Side) -> dict[str, set[str]]:
    """Return by method which features alarm."""
    said = {}
    for name, one, other in (
        ("our defaults, from columns", reference.raw, current.raw),
        ("our defaults, from statistics", *map(from_statistics, (reference, current))),
    ):
        findings = compare(one, other)
        said[name] = {f.feature for f in findings if f.verdict == DRIFT}
        said[f"{name}: INSUFFICIENT"] = {f.feature for f in findings if f.verdict == INSUFFICIENT}
    said["TFDV, 0.01"] = tfdv_alarms(reference, current)
    p_values = {f: p_value(reference.raw[f], current.raw[f]) for f in reference.raw}
    said["chi-square and KS at 5%"] = {f for f, p in p_values.items() if p <= ALPHA}
    corrected = zip(p_values, correct(list(p_values.values())), strict=True)
    said["the same, Benjamini-Hochberg"] = {f for f, p in corrected if p <= ALPHA}
    return said


def from_statistics(side: Side) -> dict[str, Distribution]:
    """Return the distributions of TFDV's statistics."""
    return distributions_of_statistics(side.statistics.datasets[0])


def tfdv_alarms(reference: Side, current: Side) -> set[str]:
    """Return the features of which TFDV's comparators say drift."""
    schema = tfdv.infer_schema(reference.statistics)
    for feature in schema.feature:
        if feature.type == schema_pb2.BYTES:
            feature.drift_comparator.infinity_norm.threshold = L_INFINITY
        else:
            feature.drift_comparator.jensen_shannon_divergence.threshold = JENSEN_SHANNON
    found = tfdv.validate_statistics(
        current.statistics, schema, previous_statistics=reference.statistics
    )
    return {
        ".".join(info.path.step)
        for info in found.drift_skew_info
        if any(m.value > m.threshold for m in info.drift_measurements)
    }


def census_table(years: list[Side]) -> Iterator[str]:
    """Yield the table of the census: features that alarm, by year and method."""
    found = [alarms(years[0], year) for year in years[1:]]
    yield (
        f"| of {len(years[0].raw)} features of the census | "
        + " | ".join(f"2015 to {year.name}" for year in years[1:])
        + " |"
    )
    yield "|---|" + "---:|" * len(found)
    for method in found[0]:
        yield f"| {method} | " + " | ".join(str(len(said[method])) for said in found) + " |"


def flights_table(months: list[Side]) -> Iterator[str]:
    """Yield the table of flights: how often each method alarms, and which features most."""
    found = [alarms(one, other) for one, other in itertools.pairwise(months)]
    count = len(months[0].raw)
    yield (
        f"| of {count} features of flights, a month against the one before | alarms a month | "
        "features, with how many of 11 months |"
    )
    yield "|---|---:|---|"
    for method in found[0]:
        by_feature = Counter(feature for said in found for feature in said[method])
        named = ", ".join(f"{feature} {times}" for feature, times in by_feature.most_common(9))
        more = f" and {len(by_feature) - 9} more" if len(by_feature) > 9 else ""
        yield f"| {method} | {by_feature.total() / len(found):.1f} | {named}{more} |"


def main() -> None:
    """Compare, print, and on request write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the tables to docs/drift.md")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "penstock")
    options = parser.parse_args()
    years = [side(str(2015 + i), table) for i, table in enumerate(census(options.cache))]
    months = [side(f"{i + 1:02d}", table) for i, table in enumerate(flights())]
    text = "\n".join(census_table(years)) + "\n\n" + "\n".join(flights_table(months))
    print(text)
    if options.write:
        write("no-harm", text)


if __name__ == "__main__":
    main()
