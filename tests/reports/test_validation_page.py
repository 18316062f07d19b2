import re

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_data_validation.statistics.stats_options import StatsOptions

from penstock.reports.validation import LISTED, advice, validation_markdown, validation_page


def dataset(**columns):
    arrays = [pa.array([[value] for value in values]) for values in columns.values()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    (found,) = generate_statistics_in_memory(batch, StatsOptions()).datasets
    return found


def anomaly(**more):
    return {
        "feature": "carrier",
        "type": "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
        "rule": "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
        "description": "Examples contain values missing from the schema: <b>ZZ</b> (~1%).",
        "severity": "fail",
        "outcome": "fail",
        "offending": 3,
        "share": 3 / 1000,
        "tolerate": 0.0,
        "examples": [
            {"place": "span-02/flights.csv, line 4,711", "value": "<b>ZZ</b>"},
            {"place": "span-02/flights.csv, line 4,712", "value": None},
            {"place": "<i>x</i>.csv, line 2", "value": ""},
        ],
        "times": 1,
        "since_span": None,
    } | more


def measured(feature, **more):
    return {
        "against": "previous span",
        "feature": feature,
        "measure": "jensen_shannon_distance",
        "value": 0.418,
        "threshold": 0.1,
        "verdict": "DRIFT",
        "effect": 4.18,
        "sentence": f"{feature} moved.",
    } | more


def verdict(word, anomalies=(), comparisons=(), **more):
    return {
        "verdict": word,
        "environment": "SERVING",
        "spans": [2, 3],
        "source": ["span-02/flights.csv"],
        "notes": ["Something was not checked."],
        "splits": {
            "train": {
                "verdict": word,
                "rows": 1000,
                "quarantined": 0,
                "anomalies": list(anomalies),
                "comparisons": list(comparisons),
            }
        },
    } | more


@pytest.fixture(scope="module")
def datasets():
    draw = np.random.default_rng(0)
    before = dataset(distance=draw.normal(100, 10, 500), carrier=["UA", "AA"] * 250)
    after = dataset(distance=draw.normal(160, 10, 500), carrier=["United", "AA"] * 250)
    return {"train": {"previous span": before, "current": after}}


def text_of(page):
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.S).split())


@pytest.mark.parametrize(
    ("word", "title", "tone"),
    [
        ("pass", "The data passed", "good"),
        ("warn", "The data passed with warnings", "warn"),
        ("quarantine", "The data passed without the rows in quarantine", "warn"),
        ("fail", "The data failed", "bad"),
    ],
)
def test_the_verdict_comes_first(word, title, tone):
    page = validation_page(verdict(word), {"train": {}})
    body = page.partition("<main>")[2]
    assert body.lstrip().startswith(f'<header class="verdict {tone}">\n  <h1>{title}</h1>')
    assert text_of(body).startswith(f"{title} train: {word} 1,000 rows Spans 2, 3. From span-02/")
    assert "Something was not checked." in page


def test_each_anomaly_says_what_how_much_which_rows_and_what_to_do():
    page = validation_page(verdict("fail", [anomaly()]), {"train": {}})
    assert (
        "failed carrier ENUM_TYPE_UNEXPECTED_STRING_VALUES Examples contain values missing from "
        "the schema: &lt;b&gt;ZZ&lt;/b&gt; (~1%). First of them: span-02/flights.csv, line 4,711 "
        "( &lt;b&gt;ZZ&lt;/b&gt; ); span-02/flights.csv, line 4,712 (missing); "
        "&lt;i&gt;x&lt;/i&gt;.csv, line 2 "
        "( ) Mend the data at its source, or review the schema if the data is right. 3 rows 0.3%"
    ) in text_of(page)
    assert "<b>ZZ" not in page


def test_an_anomaly_that_was_there_before_says_since_when():
    page = validation_page(verdict("fail", [anomaly(times=3, since_span=7)]), {"train": {}})
    assert "For 3 verdicts in a row, since span 7. Mend the data" in text_of(page)


def test_what_is_tolerated_or_ignored_is_listed_apart():
    aside = [anomaly(outcome="tolerated", tolerate=0.01), anomaly(outcome="ignored")]
    text = text_of(validation_page(verdict("pass", aside), {"train": {}}))
    assert "2 anomalies that the policy tolerates or ignores" in text
    assert "tolerated up to 1.0%" in text


def test_what_moved_is_drawn_before_and_after_with_its_numbers(datasets):
    comparisons = [
        measured("carrier", effect=1.5, value=0.15),
        measured("distance"),
        measured("minute", verdict="OK", value=None, threshold=None, effect=0.0),
    ]
    page = validation_page(verdict("warn", comparisons=comparisons), datasets)
    articles = page.split("<article>")[1:]
    # The strongest first: a number's histograms over one axis, then a category's values.
    assert "<h2>distance</h2>" in articles[0] and "<svg" in articles[0]
    assert "previous span" in articles[0] and "0.418" in articles[0]
    assert "<h2>carrier</h2>" in articles[1] and "United" in articles[1]
    assert len(articles) == 2
    assert "3 measurements against other data" in page


def test_the_page_loads_nothing(datasets):
    page = validation_page(verdict("fail", [anomaly()], [measured("carrier")]), datasets)
    assert not re.search(r"https?://|@import|url\(|<script|<link|src=", page)


def test_thousands_of_anomalies_make_a_page_that_says_what_it_left_out():
    many = [anomaly(feature=f"f{n}") for n in range(LISTED + 7)]
    page = validation_page(verdict("fail", many), {"train": {}})
    assert page.count('class="item"') == LISTED
    assert "and 7 more, in verdict.json" in page


def test_markdown_has_the_verdict_the_splits_and_no_markup_from_the_data():
    text = validation_markdown(verdict("fail", [anomaly(feature="a|b", description="*<b>* x")]))
    assert text.splitlines()[:3] == [
        "## The data failed",
        "",
        "- **train**: fail, 1,000 rows, 1 anomaly",
    ]
    kind = "ENUM\\_TYPE\\_UNEXPECTED\\_STRING\\_VALUES"
    row = f"| train | a\\|b | {kind} | \\*\\<b\\>\\* x | 3 (0.3%), first at span-02/flights.csv, "
    assert f"{row}line 4,711 |" in text


def test_every_type_of_anomaly_has_advice():
    assert advice(anomaly(type="SCHEMA_NEW_COLUMN")).startswith("Leave the column out")
    assert advice(anomaly(type="ANYTHING")).startswith("Mend the data at its source")
