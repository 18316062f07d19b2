"""Ask a pushed model about three real flights: `python -m penstock.pipelines.flights.predict`."""

import calendar
import os
import sys
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from ...errors import PenstockError
from .spans import label_flights, read_flights


def newest_version(destination: Path) -> Path:
    """Return the folder that TensorFlow Serving would serve: the highest number in `destination`.

    Raises:
        PenstockError: No version lies there.
    """
    versions = [f for f in destination.glob("*") if f.name.isdecimal() and f.is_dir()]
    if not versions:
        raise PenstockError(
            f"No model has been pushed to {destination}: run `penstock run "
            "penstock.pipelines.flights` first; its blessing says why a model was not pushed."
        )
    return max(versions, key=lambda folder: int(folder.name))


def sample_flights(month: int, rows: int = 3) -> list[dict[str, Any]]:
    """Return `rows` flights spread over `month`, 1 to 12, each a dictionary of its columns."""
    flights = label_flights(read_flights())
    of_month = flights.filter(pa.compute.equal(flights["month"], month))
    step = len(of_month) // rows
    return of_month.take([step // 2 + step * i for i in range(rows)]).to_pylist()


def predict(version: Path, flights: list[dict[str, Any]]) -> list[float]:
    """Return the model's probability of being late, 0 to 1, for each flight.

    Args:
        version: A SavedModel whose default signature takes raw features.
        flights: Dictionaries that hold at least those features.
    """
    import tensorflow as tf

    # Held while it is used: the signature keeps only a weak hold on the model's variables.
    model = tf.saved_model.load(str(version))
    signature = model.signatures["serving_default"]
    inputs = {
        name: tf.constant([flight[name] for flight in flights], dtype=spec.dtype)
        for name, spec in signature.structured_input_signature[1].items()
    }
    return [float(p) for p in signature(**inputs)["predictions"].numpy().reshape(-1)]


@click.command()
@click.option("--model", default="penstock-runs/serving/flights", show_default=True, type=Path)
@click.option("--month", default=3, show_default=True, type=click.IntRange(1, 12))
def main(model: Path, month: int) -> None:
    """Ask the newest version under MODEL about three flights of a month, by default March."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        version = newest_version(model)
        flights = sample_flights(month)
        chances = predict(version, flights)
    except PenstockError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    table = Table(
        title=f"{version}, asked about three flights of {calendar.month_name[month]} 2013"
    )
    for column in ("flight", "from", "to", "scheduled", "chance of being late", "what happened"):
        table.add_column(column)
    for flight, chance in zip(flights, chances, strict=True):
        table.add_row(
            f"{flight['carrier']} {flight['flight']}",
            flight["origin"],
            flight["dest"],
            f"{calendar.day_name[flight['weekday'] - 1]} {flight['day']}, "
            f"{flight['hour']:02d}:{flight['minute']:02d}",
            f"{chance:.0%}",
            f"{'late' if flight['late'] else 'on time'} ({flight['arr_delay']:+d} min)",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
