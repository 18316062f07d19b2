import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.data.spans import find_files, find_split_files
from penstock.data.windows import Window, spans_in, window_of
from penstock.errors import PenstockError


def spans(pattern, folder, *args, **kwargs):
    return [(f.span, f.version) for f in find_files(pattern, folder, *args, **kwargs)]


def refusal(function, *args, **kwargs):
    with pytest.raises(PenstockError) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_a_window_takes_the_newest_spans_there_are(folder):
    root = folder(*(f"{n}.csv" for n in (1, 2, 3, 5, 8, 13)))
    assert spans("{SPAN}.csv", root, window=Window(3)) == [(5, None), (8, None), (13, None)]
    assert spans("{SPAN}.csv", root, window=Window(2, skip=1)) == [(5, None), (8, None)]
    window = Window(3, skip=1, exclude=(5, 13))
    assert spans("{SPAN}.csv", root, window=window) == [(3, None), (8, None)]


# What TFX's own tests and documentation expect of the spans 1, 2, 3, 3, 7, 8 with the versions
# 0, 0, 1, 0, 1, 2: ops/latest_span_op_test.py, ops/skip_if_less_than_n_spans_op.py and
# canned_resolver_functions.py in tfx/dsl/input_resolution. Fewer than the minimum is a skip there.
TFX = [
    ({"last": 1}, 0, [(8, 2)]),
    ({"last": 1, "skip": 1}, 0, [(7, 1)]),
    ({"last": 1, "skip": 2}, 0, [(3, 1)]),
    ({"last": 2, "skip": 2}, 0, [(2, 0), (3, 1)]),
    ({"last": 2, "skip": 3}, 0, [(1, 0), (2, 0)]),
    ({"last": 1, "skip": 6}, 0, None),
    ({"last": 6, "skip": 6, "minimum": 1}, 0, None),
    ({"last": 1}, 9, None),
    ({"last": 3, "minimum": 1}, 7, [(7, 1), (8, 2)]),
    ({"last": 3}, 2, [(3, 1), (7, 1), (8, 2)]),
    ({"last": 2, "skip": 1}, 3, [(3, 1), (7, 1)]),
    ({"last": 5, "skip": 1}, 3, None),
    ({"last": 5, "skip": 1, "exclude": [7], "minimum": 1}, 3, [(3, 1)]),
    ({"last": 1, "exclude": [8], "minimum": 1}, 0, None),
    ({"last": 2, "exclude": [8], "minimum": 1}, 0, [(7, 1)]),
    ({"last": 2, "exclude": [8]}, 0, None),
]


@pytest.mark.parametrize(("window", "first", "expected"), TFX)
def test_tfxs_own_cases_come_out_as_in_tfx(folder, window, first, expected):
    root = folder("1/0", "2/0", "3/1", "3/0", "7/1", "8/2")
    call = ("{SPAN}/{VERSION}", root, first)
    if expected is None:
        assert "spans that it needs" in refusal(find_files, *call, window=window_of(window))
    else:
        assert spans(*call, window=window_of(window)) == expected


def test_a_window_takes_each_spans_latest_version(folder):
    root = folder("1/v1.csv", "1/v2.csv", "2/v9.csv", "2/v10.csv")
    assert spans("{SPAN}/v{VERSION}.csv", root, window=Window(5)) == [(1, 2), (2, 10)]


def test_a_window_may_start_at_a_span(folder):
    root = folder("1.csv", "2.csv", "3.csv")
    assert spans("{SPAN}.csv", root, first_span=2, window=Window(9)) == [(2, None), (3, None)]


@given(
    found=st.sets(st.integers(0, 30)).map(sorted),
    last=st.integers(1, 9),
    skip=st.integers(0, 9),
    exclude=st.sets(st.integers(0, 30)),
    first=st.none() | st.integers(0, 30),
)
def test_a_window_follows_tfxs_order(found, last, skip, exclude, first):
    # The steps of tfx.dsl.input_resolution's rolling_range, one by one.
    expected = [span for span in found if first is None or span >= first]
    for _ in range(min(skip, len(expected))):
        expected.pop()
    while len(expected) > last:
        expected.pop(0)
    expected = [span for span in expected if span not in exclude]
    window = Window(last, skip, tuple(exclude), 1)
    if expected:
        assert spans_in(window, found, first) == expected
    else:
        with pytest.raises(PenstockError):
            spans_in(window, found, first)


def test_too_few_spans_are_refused(folder):
    root = folder("1.csv", "2.csv", "3.csv", "4.csv")
    assert refusal(find_files, "{SPAN}.csv", root, window=Window(7, 1, (2,), 3)) == (
        "The window holds 2 of the 3 spans that it needs: of 4 that there are, 1 of the newest are "
        "skipped, and of the 3 taken 1 are excluded; wait for more spans, or lower the window's "
        "minimum."
    )


def test_a_window_needs_spans_and_ends_at_the_newest(folder):
    root = folder("1.csv")
    assert refusal(find_files, "*.csv", root, window=Window(1)).startswith(
        "The pattern '*.csv' has no placeholder, so window means nothing; add {SPAN} or"
    )
    assert refusal(find_files, "{SPAN}.csv", root, last_span=1, window=Window(1)).startswith(
        "Both last_span 1 and a window are given;"
    )


def test_the_parameter_window_is_a_dictionary():
    assert window_of({}) is None
    assert window_of({"last": 3.0}) == Window(3, minimum=3)
    given_all = {"last": 3, "skip": 1, "exclude": [7.0], "minimum": 2}
    assert window_of(given_all) == Window(3, 1, (7,), 2)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ({"skip": 1}, "window lacks the key last; say how many spans to read"),
        ({"last": 0}, "window gives last as 0; expected a whole number from 1 on."),
        ({"last": 1.5}, "window gives last as 1.5; expected a whole number from 1 on."),
        ({"last": True}, "window gives last as True; expected a whole number from 1 on."),
        ({"last": 2, "skip": -1}, "window gives skip as -1; expected a whole number from 0 on."),
        ({"last": 2, "exclude": 3}, "window gives exclude as 3; expected a list of spans."),
        ({"last": 2, "exclude": ["a"]}, "window gives exclude as 'a'; expected a whole number."),
        ({"last": 2, "minimum": 3}, "window wants at least 3 spans but reads 2;"),
        ({"last": 2, "newest": 3}, "window has the unknown key 'newest'; known are last, skip,"),
    ],
)
def test_a_wrong_window_is_refused(window, sentence):
    assert refusal(window_of, window).startswith(sentence)


def test_several_splits_have_files_of_the_same_spans(folder):
    root = folder("train/1.csv", "train/2.csv", "eval/1.csv", "eval/2.csv")
    patterns = {"train": "train/{SPAN}.csv", "eval": "eval/{SPAN}.csv"}
    found = find_split_files(patterns, root, window=Window(2))
    assert [(f.split, f.span) for f in found] == [
        ("eval", 1),
        ("eval", 2),
        ("train", 1),
        ("train", 2),
    ]


def test_splits_of_different_spans_or_versions_are_refused(folder):
    root = folder("train/1/v1.csv", "train/2/v1.csv", "eval/1/v1.csv", "eval/1/v2.csv")
    patterns = {s: s + "/{SPAN}/v{VERSION}.csv" for s in ("train", "eval")}
    assert refusal(find_split_files, patterns, root) == (
        "Split 'eval' has span 1 version 2, split 'train' has span 2 version 1; give both the same "
        "spans and versions."
    )
    assert refusal(find_split_files, patterns, root, 1, 1) == (
        "Split 'eval' has span 1 version 2, split 'train' has span 1 version 1; give both the same "
        "spans and versions."
    )
