import datetime

import pytest

from penstock.data.spans import find_files
from penstock.errors import PenstockError


def found(pattern, folder, *args, **kwargs):
    return [(f.name, f.span, f.version) for f in find_files(pattern, folder, *args, **kwargs)]


def test_without_placeholders_every_match_is_taken_in_order(folder):
    root = folder("b.csv", "a.csv", "deep/c.csv", ".hidden.csv", "a.txt")
    assert found("*.csv", root) == [("a.csv", None, None), ("b.csv", None, None)]
    assert found("**/*.csv", root) == [
        ("a.csv", None, None),
        ("b.csv", None, None),
        ("deep/c.csv", None, None),
    ]


def test_latest_span_is_the_highest_number_not_the_last_word(folder):
    root = folder("span-2/x.csv", "span-10/x.csv", "span-9/x.csv")
    assert found("span-{SPAN}/x.csv", root) == [("span-10/x.csv", 10, None)]


def test_latest_version_is_taken_of_the_latest_span_only(folder):
    root = folder("1/v99/x.csv", "2/v9/x.csv", "2/v10/x.csv", "2/v10/y.csv")
    assert found("{SPAN}/v{VERSION}/*.csv", root) == [
        ("2/v10/x.csv", 2, 10),
        ("2/v10/y.csv", 2, 10),
    ]


def test_a_range_takes_the_latest_version_of_each_span(folder):
    root = folder("1/v1/x.csv", "1/v2/x.csv", "2/v1/x.csv", "3/v7/x.csv")
    assert found("{SPAN}/v{VERSION}/x.csv", root, 1, 2) == [
        ("1/v2/x.csv", 1, 2),
        ("2/v1/x.csv", 2, 1),
    ]


def test_one_bound_alone_reaches_to_the_other_end(folder):
    root = folder("1.csv", "2.csv", "3.csv")
    assert [span for _, span, _ in found("{SPAN}.csv", root, first_span=2)] == [2, 3]
    assert [span for _, span, _ in found("{SPAN}.csv", root, last_span=2)] == [1, 2]


def test_a_date_is_the_days_since_1970(folder):
    root = folder("1970-01-02.csv", "2013-12-31.csv")
    days = (datetime.date(2013, 12, 31) - datetime.date(1970, 1, 1)).days
    assert found("{YYYY}-{MM}-{DD}.csv", root) == [("2013-12-31.csv", days, None)]
    assert found("{YYYY}-{MM}-{DD}.csv", root, 1, 1) == [("1970-01-02.csv", 1, None)]


def test_date_parts_may_stand_in_any_order_and_place(folder):
    root = folder("31/2013-12/v3/x.csv")
    assert found("{DD}/{YYYY}-{MM}/v{VERSION}/*.csv", root)[0][1:] == (16070, 3)


def test_a_width_takes_exactly_so_many_digits(folder):
    root = folder("span-01.csv", "span-2.csv", "span-003.csv")
    assert found("span-{SPAN:2}.csv", root) == [("span-01.csv", 1, None)]
    assert found("span-{SPAN:3}.csv", root) == [("span-003.csv", 3, None)]


def test_a_width_separates_span_from_version_without_a_mark_between(folder):
    root = folder("0102.csv", "0103.csv")
    assert found("{SPAN:2}{VERSION:2}.csv", root) == [("0103.csv", 1, 3)]


def test_special_characters_of_globs_and_expressions_stand_for_themselves(folder):
    root = folder("a[1]+(x).csv", "a1.csv")
    assert found("a[1]+(x).csv", root) == [("a[1]+(x).csv", None, None)]


def test_a_pattern_without_folder_is_a_path(folder):
    root = folder("x.csv")
    assert find_files(f"{root}/x.csv")[0].path == root / "x.csv"


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("{SPAN}-{YYYY}{MM}{DD}.csv", "mixes {SPAN} with a date; use one or the other."),
        ("{YYYY}-{MM}.csv", "needs all of {YYYY}, {MM} and {DD} for a date."),
        ("{SPAN}/{SPAN}.csv", "uses a placeholder twice; use each once."),
        ("{YYYY}{MM}{DD}/{DD}.csv", "uses a placeholder twice; use each once."),
        ("v{VERSION}.csv", "has {VERSION} without a span; add {SPAN} or a date."),
        ("{SPAN:x}.csv", "gives SPAN the width 'x'; write a whole number above 0."),
        ("{SPAN:0}.csv", "gives SPAN the width '0'; write a whole number above 0."),
        (
            "{Span}.csv",
            "has braces around no placeholder; known are {SPAN}, {VERSION}, {YYYY}, {MM}, {DD}.",
        ),
    ],
)
def test_rules_for_placeholders(tmp_path, pattern, sentence):
    with pytest.raises(PenstockError) as error:
        find_files(pattern, tmp_path)
    assert str(error.value) == f"The pattern {pattern!r} {sentence}"


def refusal(*args, **kwargs):
    with pytest.raises(PenstockError) as error:
        find_files(*args, **kwargs)
    return str(error.value)


def test_no_match_is_an_error(tmp_path):
    assert refusal("*.csv", tmp_path) == (
        f"No file matches the pattern '*.csv' in {tmp_path}; check the path."
    )
    assert refusal("no/such/{SPAN}.csv") == (
        "No file matches the pattern 'no/such/{SPAN}.csv'; check the path and what stands for "
        "the placeholders."
    )


def test_missing_spans_of_a_range_are_named(folder):
    root = folder("1.csv", "3.csv", "4.csv")
    assert refusal("{SPAN}.csv", root, 1, 9) == (
        "No file matches the pattern '{SPAN}.csv' for span 2, 5, 6, 7, 8 and 1 more of the range "
        "1 to 9; there is 3 spans from 1 to 4, so give a range without gaps."
    )
    assert refusal("{SPAN}.csv", root, 10, 10).startswith(
        "No file matches the pattern '{SPAN}.csv' for span 10 of the range 10 to 10;"
    )


def test_a_huge_range_is_refused_at_once(folder):
    assert "and 999999994 more" in refusal("{SPAN}.csv", folder("1.csv"), 1, 10**9)


def test_a_range_that_ends_before_it_starts_is_refused(folder):
    assert refusal("{SPAN}.csv", folder("1.csv"), 2, 1) == (
        "first_span 2 is after last_span 1; give the earlier one first."
    )


def test_a_range_needs_a_placeholder(folder):
    assert refusal("*.csv", folder("1.csv"), 1, 1) == (
        "The pattern '*.csv' has no placeholder, so first_span and last_span mean nothing; add "
        "{SPAN} or {YYYY}, {MM} and {DD} where the span stands."
    )


def test_a_word_where_digits_belong_is_refused(folder):
    assert refusal("{SPAN}.csv", folder("1.csv", "old.csv")) == (
        "old.csv has 'old' where the pattern has {SPAN}, which stands for digits; rename the file "
        "or narrow the pattern."
    )


def test_a_date_that_is_none_is_refused(folder):
    assert refusal("{YYYY}-{MM}-{DD}.csv", folder("2013-02-30.csv")) == (
        "2013-02-30.csv has 2013-02-30 where the pattern has a date, which is none; rename the "
        "file or narrow the pattern."
    )


def test_one_span_in_two_spellings_is_refused(folder):
    root = folder("span-1/x.csv", "span-01/x.csv")
    assert refusal("span-{SPAN}/*.csv", root) == (
        "Span 1 is spelled in two ways, one of them span-1/x.csv; keep one spelling, or give the "
        "width in the pattern 'span-{SPAN}/*.csv', such as {SPAN:2}."
    )


def test_an_absolute_pattern_contradicts_a_source_folder(tmp_path):
    assert refusal("/data/*.csv", tmp_path) == (
        "The pattern '/data/*.csv' is absolute although a source is given; make it relative to "
        "the source's folder."
    )
    assert refusal(" ", tmp_path).startswith("The pattern is empty;")
