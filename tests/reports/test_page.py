import re

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from penstock.reports.distribution import bars_of_values, plot_numbers
from penstock.reports.page import render_page

TEMPLATE = """{% extends "page.html" %}
{% import "parts.html" as parts %}
{% block title %}{{ title }}{% endblock %}
{% block content %}"""


@pytest.fixture
def render(tmp_path):
    """Renders a page's content, as a component's own template does."""

    def run(content, **values):
        template = tmp_path / "mine.html"
        template.write_text(TEMPLATE + content + "{% endblock %}")
        return render_page(template, **{"title": "Mine", **values})

    return run


def histogram(low, high, *counts):
    """NumericStatistics with equal-width buckets."""
    stats = statistics_pb2.NumericStatistics()
    width = (high - low) / len(counts)
    buckets = stats.histograms.add().buckets
    for place, count in enumerate(counts):
        buckets.add(
            low_value=low + place * width, high_value=low + (place + 1) * width, sample_count=count
        )
    return stats


def test_a_template_of_another_room_gets_the_shared_look(render):
    page = render("<section>{{ words }}</section>", words="<b>&", title="A <i>title</i>")
    assert page.startswith("<!doctype html>")
    assert "<title>A &lt;i&gt;title&lt;/i&gt;</title>" in page
    assert "<section>&lt;b&gt;&amp;</section>" in page
    assert "prefers-color-scheme: dark" in page


def test_a_value_that_the_template_lacks_is_an_error(render):
    with pytest.raises(Exception, match="'absent' is undefined"):
        render("{{ absent }}")


def test_the_verdict_has_its_tone_its_sentence_and_what_the_caller_adds(render):
    page = render(
        '{{ parts.verdict("Failed", "bad", "Why <b>.") }}'
        '{% call parts.verdict("Passed", "good") %}<p class="soft">3 rows</p>{% endcall %}'
    )
    failed, passed = re.findall(r"<header.*?</header>", page, re.S)
    assert 'class="verdict bad"' in failed and "<p>Why &lt;b&gt;.</p>" in failed
    assert 'class="verdict good"' in passed and '<p class="soft">3 rows</p>' in passed


def test_overlaid_distributions_share_one_axis(render):
    # Given: the second lies one bucket to the right, and is twice as wide
    plots = plot_numbers([histogram(0, 2, 10, 10), histogram(2, 4, 0, 5)])
    page = render(
        '{{ parts.overlaid("x", ["before", "after", "absent"], plots) }}', plots=[*plots, None]
    )
    # Then: the first is filled, the second an outline, over 0 to 4
    assert re.findall(r'<rect x="([\d.]+)"', page) == ["0.20", "25.20"]
    assert re.findall(r'<path d="([^"]*)"', page) == ["M75.00 100V0.00H100.00V100"]
    assert "<span>0</span><span>4</span>" in page
    assert "absent (nothing to plot)" in page


def test_overlaid_without_any_distribution_says_so(render):
    page = render('{{ parts.overlaid("x", ["a", "b"], [none, none]) }}')
    assert "<svg" not in page and "nothing to plot" in page


def test_top_values_are_drawn_in_proportion_to_the_largest_share(render):
    stats = []
    for counts in ({"UA": 80, "AA": 20}, {"UA": 50, "<i>": 50}):
        stat = statistics_pb2.StringStatistics()
        stat.common_stats.tot_num_values = 100
        for value, count in counts.items():
            stat.top_values.add(value=value, frequency=count)
        stats.append(stat)
    page = render('{{ parts.top_values(["before", "after"], bars) }}', bars=bars_of_values(stats))
    assert re.findall(r"width:([\d.]+)%", page) == ["100.0", "62.5", "62.5", "25.0"]
    assert re.findall(r"<b>([^<]*)</b>", page)[:3] == ["80.0%", "50.0%", "\u2013"]
    assert "&lt;i&gt;" in page
