"""Faults planted in the flights of February: each is caught, its rows named by their lines."""

import csv
from importlib import resources

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pytest

from penstock.components.example_gen.executor import generate_examples
from penstock.pipelines.flights.spans import label_flights, read_flights
from penstock.schemas import schema_text

from .validating import validate

POLICY = resources.files("penstock.pipelines.flights").joinpath("data_policy.yaml").read_text()


@pytest.fixture(scope="module")
def months():
    """Every fourth flight of January and of February."""
    flights = label_flights(read_flights())
    found = []
    for month in (1, 2):
        rows = flights.filter(pc.equal(flights["month"], month))
        found.append(rows.take(pa.array(range(0, len(rows), 4))).to_pandas())
    return found


def write_as_csv(folder, splits, shards):
    """Write the rows of train as two files, with a blank line here and there, and as Examples."""
    source = folder.parent / "february"
    source.mkdir()
    half = round(len(splits["train"]) / 2)
    for number, table in enumerate((splits["train"].slice(0, half), splits["train"].slice(half))):
        file = source / f"{number}.csv"
        pacsv.write_csv(table, file)
        lines = file.read_text().splitlines(keepends=True)
        lines[10::400] = [f"\n{line}" for line in lines[10::400]]
        file.write_text("".join(lines))
    generate_examples(folder, "*.csv", source, splits={"train": 1.0})
    return folder


@pytest.fixture
def check(tmp_path, months):
    """Validates February as a fault left it, against January where drift shall be found."""

    def run(february, drift=False):
        table = pa.Table.from_pandas(february, preserve_index=False)
        return validate(
            tmp_path,
            {"train": table},
            schema_text("flights"),
            "sample_rows: 100000\n" + POLICY,
            write_examples=write_as_csv,
            previous={"train": pa.Table.from_pandas(months[0], preserve_index=False)}
            if drift
            else None,
        )

    return run


def named(done, rule, feature=None):
    """The numbers of the rows that a rule names, by their files and lines as csv counts them."""
    anomaly = done.anomalies()[feature, rule]
    assert anomaly["outcome"] == "fail"
    assert f"[{rule}]" in done.sentence
    places = {}
    for file in ("0.csv", "1.csv"):
        with (done.folder / "february" / file).open(newline="") as stream:
            reader = csv.reader(stream)
            next(reader)
            for row in reader:
                if row:
                    places[file, reader.line_num] = len(places)
    rows = done.rows("offending_rows.parquet")
    found = [
        (row["file"], row["line"])
        for row in rows
        if (row["rule"], row["feature"]) == (rule, feature)
    ]
    file, line = found[0]
    assert anomaly["examples"][0]["place"] == f"{file}, line {line:,}"
    return [places[place] for place in found]


def test_february_as_it_was_passes(check, months):
    done = check(months[1], drift=True)
    assert done.sentence is None
    counted = {key for key, a in done.anomalies().items() if a["outcome"] not in ("ignored",)}
    # Every fourth flight is too few for the hundred destinations, and the answer says so.
    assert counted == {(None, "COMPARISON_INSUFFICIENT_ROWS")}


def test_kilometres_in_place_of_miles(check, months):
    february = months[1].assign(distance=(months[1].distance * 1.609).round().astype(int))
    done = check(february)
    too_fast = february.distance / february.air_time > 9.5
    assert named(done, "plausible_speed") == list(np.flatnonzero(too_fast))
    assert too_fast.mean() > 0.5


def test_a_renamed_category(check, months):
    carrier = months[1].carrier.replace("UA", "United")
    done = check(months[1].assign(carrier=carrier), drift=True)
    rows = named(done, "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "carrier")
    assert rows == list(np.flatnonzero(months[1].carrier == "UA"))
    # The other carriers hold, so the distance is that of one category among many.
    (moved,) = [
        each
        for each in done.verdict["splits"]["train"]["comparisons"]
        if (each["feature"], each["measure"]) == ("carrier", "jensen_shannon_distance")
    ]
    assert moved["verdict"] == "DRIFT"
    assert done.anomalies()["carrier", "DRIFT_HIGH"]["outcome"] == "warn"


def test_local_times_five_hours_off(check, months):
    shifted = months[1].copy()
    for column in ("sched_dep_time", "dep_time", "sched_arr_time", "arr_time"):
        shifted[column] = (shifted[column] // 100 + 5) % 24 * 100 + shifted[column] % 100
    shifted["hour"] = shifted.sched_dep_time // 100
    done = check(shifted, drift=True)
    assert named(done, "new_york_time") == list(range(len(shifted)))
    assert done.anomalies()["hour", "DRIFT_HIGH"]["outcome"] == "warn"


def test_a_tenth_of_the_values_missing(check, months):
    gone = np.random.default_rng(0).random(len(months[1])) < 0.1
    done = check(months[1].assign(tailnum=months[1].tailnum.where(~gone)), drift=True)
    rows = named(done, "FEATURE_TYPE_LOW_FRACTION_PRESENT", "tailnum")
    assert rows == list(np.flatnonzero(gone))
    assert done.anomalies()["tailnum", "DRIFT_HIGH"]["outcome"] == "warn"


def test_a_day_twice(check, months):
    day = months[1][months[1].day == 5]
    twice = pd.concat([months[1], day], ignore_index=True)
    done = check(twice)
    assert named(done, "one_flight_once") == list(np.flatnonzero(twice.day == 5))


def test_a_label_leaked_as_a_new_column(check, months):
    done = check(months[1].assign(was_late=months[1].late))
    assert done.anomalies()["was_late", "SCHEMA_NEW_COLUMN"]["outcome"] == "fail"
    assert "feature 'was_late': New column" in done.sentence


def test_a_label_leaked_into_a_feature(check, months):
    # What is known when the flight has landed stands where its departure's delay should.
    done = check(months[1].assign(dep_delay=months[1].arr_delay))
    differ = (months[1].arr_delay - months[1].dep_delay) % 1440 != 0
    assert named(done, "departure_adds_up") == list(np.flatnonzero(differ))


def test_a_value_from_the_future_among_what_is_served(tmp_path, months):
    known = months[1].drop(columns=["dep_time", "dep_delay", "arr_time", "air_time", "late"])
    table = pa.Table.from_pandas(known, preserve_index=False)
    done = validate(tmp_path, {"train": table}, schema_text("flights"), environment="SERVING")
    assert list(done.anomalies()) == [("arr_delay", "SCHEMA_NEW_COLUMN")]
    assert "not in the environment SERVING" in done.sentence


def test_truncated_text(check, months):
    cut = months[1].index % 50 == 7
    tailnum = months[1].tailnum.where(~cut, months[1].tailnum.str[:4])
    dest = months[1].dest.where(~cut, months[1].dest.str[:2])
    done = check(months[1].assign(tailnum=tailnum, dest=dest))
    expected = list(np.flatnonzero(cut))
    assert named(done, "whole_tail_number") == expected
    assert named(done, "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "dest") == expected


def test_two_columns_swapped(check, months):
    swapped = months[1].assign(dep_time=months[1].sched_dep_time, sched_dep_time=months[1].dep_time)
    done = check(swapped)
    late_or_early = np.flatnonzero((2 * months[1].dep_delay) % 1440 != 0)
    assert named(done, "departure_adds_up") == list(late_or_early)


def test_two_columns_of_words_swapped(check, months):
    done = check(months[1].assign(origin=months[1].dest, dest=months[1].origin))
    airports = ("EWR", "JFK", "LGA")
    rows = named(done, "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "origin")
    assert rows == list(np.flatnonzero(~months[1].dest.isin(airports)))
