"""The page of a study: what it shows, and that what it is given stays text."""

import json
from xml.etree import ElementTree

import pytest

from penstock.reports.tuning import tuning_markdown, tuning_page
from penstock.reports.tuning_plots import HEIGHT, plot_history, plot_parallel


def trial(number, score=None, state="complete", reason=None, **chosen):
    return {
        "trial": number,
        "slot": number,
        "state": state,
        "score": score,
        "standard_deviation": None if score is None else 0.1,
        "fold_scores": [],
        "hyperparameters": json.dumps(chosen),
        "reason": reason,
        "same_as": None,
        "began": 0,
        "seconds": 1.5,
    }


TRIALS = [
    trial(0, 0.5, units=8, kind="a", rate=0.001),
    trial(1, None, "failed", "run_fn raised <b>&", units=16, kind="b", rate=0.5),
    trial(2, 0.9, units=32, kind="<script>", rate=0.5),
    trial(3, 0.7, units=64, kind=None, rate=0.01),
]


def content(best=2, **changes):
    chosen = json.loads(TRIALS[best]["hyperparameters"])
    score = {"metric": "eval_auc", "direction": "maximize", "mean": 0.9, "standard_deviation": 0.1}
    fold = {"score": 0.9, "train_rows": 100, "eval_rows": 50, "begins": "2013-01-02"}
    return {
        "hyperparameters": chosen,
        "score": {**score, "folds": [fold]},
        "validation": "1 fold in order of day",
        "trial": best,
        "study": {"name": "trips-1", "trials": {"complete": 3, "failed": 1}},
        **changes,
    }


def test_the_page_shows_trials_reasons_and_the_best_as_text():
    page = tuning_page(content(), TRIALS, {"units": 0.75, "rate": 0.25})
    for shown in ("trips-1", "75.0%", "run_fn raised &lt;b&gt;&amp;", "2013-01-02", "3 complete"):
        assert shown in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    svgs = page.split("<svg")[1:]
    for svg in svgs:
        ElementTree.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")
    assert len(svgs) == 2


def test_one_trial_without_hyperparameters_needs_no_charts():
    given = content(hyperparameters={}, trial=0)
    page = tuning_page(given, [trial(0, 0.9)], {})
    assert "none were given" in page and "<svg" not in page


def test_the_summary_is_markdown_that_no_value_breaks():
    text = tuning_markdown(content(), TRIALS, {"units": 0.75})
    assert "| units | 32 | 75% |" in text
    assert "| kind | \\<script\\> |  |" in text
    assert "1 failed, the first because: run\\_fn raised \\<b\\>&" in text


@pytest.mark.parametrize(("maximize", "record"), [(True, [0.5, 0.9]), (False, [0.5])])
def test_the_line_of_the_best_so_far_goes_only_one_way(maximize, record):
    history = plot_history(TRIALS, maximize, 2)
    assert (history.low, history.high) == pytest.approx((0.4, 1.0))
    heights = [HEIGHT * (1 - score) / 0.6 for score in record]
    assert sorted({round(y, 3) for _, y in history.best}) == sorted(round(y, 3) for y in heights)
    assert [state for _, state, _ in history.others] == ["failed"]
    assert [mark.best for mark in history.marks] == [False, True, False]


def test_axes_span_what_was_tried_and_the_best_is_drawn_last():
    axes, lines = plot_parallel(TRIALS, ["units", "kind", "rate"], "eval_auc", True)
    assert [axis.name for axis in axes] == ["units", "kind", "rate", "eval_auc"]
    assert [axis.logarithmic for axis in axes] == [False, False, True, False]
    assert [label for _, label in axes[1].ticks] == ["<script>", "a", "null"]
    assert lines[-1].rank == 0 and lines[-1].points[-1][1] == 0
    assert [line.points[0][1] for line in lines] == pytest.approx([HEIGHT, 0, HEIGHT * 32 / 56])
