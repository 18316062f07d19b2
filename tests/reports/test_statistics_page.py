import html.parser
import re

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_data_validation.statistics.stats_options import StatsOptions

from penstock.data.statistics import TABLE_SCHEMA, statistics_table
from penstock.reports.distribution import plot_numbers
from penstock.reports.page import number, share
from penstock.reports.statistics import PLOTTED, statistics_page


def dataset(name, **columns):
    """TFDV's statistics of columns, a None being a missing value."""
    arrays = []
    for values in columns.values():
        flat = pa.array(values)
        lists = [None if value is None else [value] for value in flat.to_pylist()]
        kind = pa.large_list(flat.type) if flat.null_count < len(flat) else pa.null()
        arrays.append(pa.array(lists, kind))
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    (found,) = generate_statistics_in_memory(batch, StatsOptions()).datasets
    found.name = name
    return found


@pytest.fixture(scope="module")
def train():
    draw = np.random.default_rng(0)
    return dataset(
        "train",
        distance=[None, *draw.normal(100, 10, 999).tolist()],
        carrier=["UA"] * 600 + ["<script>alert(1)</script>"] * 400,
        nothing=[None] * 1000,
        constant=[7] * 1000,
        infinite=[float("inf"), *draw.random(999).tolist()],
        far=[1e9, *draw.normal(0, 1, 999).tolist()],
    )


@pytest.fixture(scope="module")
def evaluation():
    return dataset("eval", distance=[1.0, None, None, 4.0], carrier=["UA", "AA", "AA", None])


class Reader(html.parser.HTMLParser):
    """Collects what a page loads, its text, and whether its tags match."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in ("meta", "input", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def articles(page):
    return {
        re.search(r'data-name="([^"]*)"', part).group(1): part.split("</article>")[0]
        for part in page.split("<article")[1:]
    }


def test_the_page_is_whole_and_loads_nothing(train, evaluation):
    page = statistics_page([train, evaluation])
    reader = Reader(page)
    assert reader.open == []
    assert reader.loads == []
    assert not re.search(r"https?://|@import|url\(", page)


def test_values_from_the_data_are_text_never_markup(train):
    page = statistics_page([train], title="<b>x</b>")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>x</b>" not in page


def test_every_split_stands_beside_the_others(train, evaluation):
    shown = articles(statistics_page([train, evaluation]))
    assert list(shown) == ["distance", "carrier", "nothing", "constant", "infinite", "far"]
    assert shown["distance"].count("<svg") == 2
    rows = re.findall(r'<th scope="row">missing</th>(.*)</tr>', shown["distance"])
    assert re.findall(r">([^<]+)</td>", rows[0]) == ["0.1%", "50.0%"]
    # The feature that eval does not have is missing there, and there is nothing to plot.
    assert shown["far"].count("<svg") == 1
    assert "nothing to plot" in shown["far"]


def test_what_is_worth_a_look_is_said(train, evaluation):
    shown = articles(statistics_page([train]))
    notes = {name: re.findall(r'class="note">([^<]*)<', part) for name, part in shown.items()}
    assert notes == {
        "distance": [],
        "carrier": [],
        "nothing": ["no values"],
        "constant": ["one value only"],
        "infinite": ["infinite values"],
        "far": [],
    }
    both = articles(statistics_page([train, evaluation]))
    assert "missing differs between splits" in both["distance"]


def test_top_values_have_their_shares_and_the_empty_string_shows():
    shown = articles(statistics_page([dataset("all", word=["", "a", "a", "a"])]))["word"]
    assert "(empty)" in shown
    assert re.findall(r"<b>([^<]*)</b>", shown) == ["75.0%", "25.0%"]


def test_bars_cover_what_their_buckets_hold():
    values = [0.0] * 10 + [10.0] * 30 + [5.0] * 60
    (stat,) = [f.num_stats for f in dataset("all", x=values).features]
    (plot,) = plot_numbers([stat])
    assert (plot.low, plot.high, plot.whole) == (0, 10, True)
    # TFDV leaves traces of a value in the neighbouring buckets.
    tall = [r for r in plot.rects if r.share > 0.01]
    assert [round(r.share, 2) for r in tall] == [0.1, 0.6, 0.3]
    assert [round(r.height) for r in tall] == [17, 100, 50]
    assert all(r.left >= 0 and r.left + r.width <= 100.001 for r in plot.rects)


def test_one_far_value_does_not_squeeze_the_plot(train):
    far = next(f.num_stats for f in train.features if f.path.step[0] == "far")
    (plot,) = plot_numbers([far])
    assert not plot.whole
    assert -6 < plot.low < plot.high < 6
    assert len(plot.rects) == 10


def test_five_thousand_features_stay_small_and_the_page_says_what_it_left_out():
    stats = dataset("train", **{f"feature_{n}": [n, n + 1.5, None] for n in range(50)})
    for copy in range(1, 110):
        for feature in list(stats.features[:50]):
            new = stats.features.add()
            new.CopyFrom(feature)
            new.path.step[0] = f"{feature.path.step[0]}_{copy}"
    page = statistics_page([stats, stats])
    assert len(articles(page)) == PLOTTED
    assert "300 more are in statistics.parquet alone" in " ".join(page.split())
    assert len(page) < 6_000_000


def test_no_rows_and_no_features_make_a_page():
    empty = type(dataset("x", a=[1]))(name="empty")
    assert "0 features" in statistics_page([empty])
    shown = articles(statistics_page([dataset("train", a=[1, 2]), empty]))["a"]
    assert "no rows" in shown


def test_numbers_are_short_and_never_say_none_or_all_of_a_share_between():
    assert [number(n) for n in (0, -1234567, 0.000123456, 12345.678, float("inf"), 3e20)] == [
        "0",
        "\u22121,234,567",
        "0.00012346",
        "12,345.7",
        "∞",
        "3.000e+20",
    ]
    assert [share(s) for s in (0, 1, 0.5, 1e-6, 1 - 1e-6, None)] == [
        "0%",
        "100%",
        "50.0%",
        "< 0.1%",
        "> 99.9%",
        "\u2013",
    ]


def test_the_table_has_a_row_per_split_and_feature(train, evaluation):
    table = statistics_table({"train": [train], "eval": [evaluation]})
    assert table.schema == TABLE_SCHEMA
    rows = {(row["split"], row["feature"]): row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == 8
    distance = rows["train", "distance"]
    assert (distance["rows"], distance["missing"], distance["values"]) == (1000, 1, 999)
    assert distance["type"] == "float"
    assert len(distance["quantiles"]) == 11
    assert distance["quantiles"][0] == distance["min"]
    assert distance["quantiles"] == sorted(distance["quantiles"])
    assert rows["eval", "carrier"]["top_values"] == [
        {"value": "AA", "count": 2.0},
        {"value": "UA", "count": 1.0},
    ]
    assert rows["train", "nothing"]["missing"] == 1000
    assert rows["train", "nothing"]["mean"] is None
