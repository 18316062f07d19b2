"""Ask a pushed model about real flights: `python -m penstock.pipelines.flights.predict`."""

import calendar
import sys
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from ...data.remarks import remarks_held_back
from ...errors import PenstockError
from ...models.loading import load_model
from .spans import label_flights, read_flights


def newest_version(destination: Path) -> Path:
    """Return the folder that a server would serve: the highest number in `destination`.

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


def flights_of(month: int) -> list[dict[str, Any]]:
    """Return the flights of `month`, 1 to 12, each a dictionary of its columns."""
    flights = label_flights(read_flights())
    return flights.filter(pc.equal(flights["month"], month)).to_pylist()


def predict(version: Path, flights: list[dict[str, Any]]) -> list[float]:
    """Return the model's probability of being late, 0 to 1, for each flight.

    Args:
        version: A model of any kind that takes raw features.
        flights: Dictionaries that hold at least those features.
    """
    with remarks_held_back():
        model = load_model(version)
        columns = {name: [flight[name] for flight in flights] for name in model.signature.inputs}
        return [float(chance) for chance in model.predict(pa.table(columns))[:, 0]]


@click.command()
@click.option("--model", default="penstock-runs/serving/flights", show_default=True, type=Path)
@click.option("--month", default=3, show_default=True, type=click.IntRange(1, 12))
def main(model: Path, month: int) -> None:
    """Ask the newest version under MODEL about the flights of a month, and show three of them."""
    try:
        version = newest_version(model)
        flights = flights_of(month)
        chances = predict(version, flights)
    except PenstockError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    ranked = sorted(zip(chances, flights, strict=True), key=lambda pair: pair[0])
    click.echo(f"{version}, asked about {calendar.month_name[month]} 2013:")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("late?", "flight", "route", "scheduled", "chance", "what happened"):
        table.add_column(column)
    names = ("least likely", "in the middle", "most likely")
    for name, place in zip(names, (0, len(ranked) // 2, -1), strict=True):
        chance, flight = ranked[place]
        table.add_row(
            name,
            f"{flight['carrier']} {flight['flight']}",
            f"{flight['origin']}-{flight['dest']}",
            f"{calendar.day_abbr[flight['weekday'] - 1]} {flight['day']}, "
            f"{flight['hour']:02d}:{flight['minute']:02d}",
            f"{chance:.0%}",
            f"{'late' if flight['late'] else 'on time'}, {flight['arr_delay']:+d} min",
        )
    Console().print(table)
    tenth = len(ranked) // 10
    least, most = (sum(f["late"] for _, f in t) / tenth for t in (ranked[:tenth], ranked[-tenth:]))
    click.echo(
        f"Late were {least:.0%} of the tenth it held least likely to be late, "
        f"{most:.0%} of the tenth it held most likely."
    )


if __name__ == "__main__":
    main()
