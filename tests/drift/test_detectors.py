"""Detectors on streams: they find changes, and a restart is not noticed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.drift.detectors.detector import MEMORY, Detector
from penstock.drift.detectors.methods import METHODS, river_detector
from penstock.errors import PenstockError

random = np.random.default_rng(11)
# A stream of each method's own kind, which changes at 1,500.
NUMBERS = np.concatenate([random.normal(0, 1, 1500), random.normal(2, 1, 1500)])
ERRORS = np.concatenate([random.random(1500) < 0.1, random.random(1500) < 0.5]).astype(float)
STREAMS = {"adwin": NUMBERS, "page_hinkley": NUMBERS, "hddm_a": ERRORS, "hddm_w": ERRORS}
SMALL = {"page_hinkley": {"delta": 0.25, "threshold": 50.0}}

EACH = pytest.mark.parametrize("method", METHODS)


def detector(method, memory=MEMORY):
    return Detector(method, SMALL.get(method, {}), memory)


@EACH
def test_the_change_is_found_soon_and_nothing_before(method):
    changes = detector(method).feed(STREAMS[method])

    assert changes and 1500 <= changes[0].position < 1700
    assert changes[0].value == STREAMS[method][changes[0].position]


@EACH
def test_within_its_memory_a_detector_is_rivers(method):
    ours, rivers = detector(method), river_detector(method, detector(method).parameters)
    expected = []
    for position, value in enumerate(STREAMS[method]):
        rivers.update(value)
        if rivers.drift_detected:
            expected.append(position)

    assert [change.position for change in ours.feed(STREAMS[method])] == expected


@EACH
@given(cuts=st.lists(st.integers(0, 2999), max_size=4), memory=st.sampled_from([100, 400, 5000]))
@settings(max_examples=15, deadline=None)
def test_a_restart_is_not_noticed(method, cuts, memory):
    stream = STREAMS[method]
    expected = detector(method, memory).feed(stream)

    found, running = [], detector(method, memory)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        found += running.feed(stream[start:end])
        running = Detector.from_state(json.loads(json.dumps(running.state(), allow_nan=False)))

    assert found == expected
    assert running.seen == len(stream)


@EACH
def test_the_state_is_bounded(method):
    running = detector(method, memory=200)
    running.feed(STREAMS[method])

    assert len(running.state()["values"]) < 400


def test_adwin_is_the_default():
    assert Detector().state()["method"] == "adwin"


@EACH
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "many"])
def test_a_value_that_is_no_number_is_refused_and_nothing_taken_in(method, value):
    running = detector(method)
    running.feed([0.0, 1.0])

    with pytest.raises(PenstockError, match=r"Value 3 of the stream .* no finite number"):
        running.feed([1.0, value])

    assert running.state()["values"] == [0.0, 1.0]


def test_counting_methods_take_only_zero_and_one():
    with pytest.raises(PenstockError, match=r"Value 1 of the stream is 0\.5: hddm_a takes 0 and 1"):
        Detector("hddm_a").feed([1, 0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adwinn",), "There is no detector 'adwinn'.* did you mean 'adwin'"),
        (("adwin", {"detla": 0.1}), "adwin has no parameter 'detla'; it has delta"),
        (("adwin", {"clock": "often"}), "'clock' of the detector adwin is 'often': .* type int"),
        (("page_hinkley", {"mode": "sideways"}), "river refuses parameters of page_hinkley"),
        (("adwin", {}, 5), "memory of a detector is 5 values"),
    ],
)
def test_what_cannot_be_made_says_why(arguments, message):
    with pytest.raises(PenstockError, match=message):
        Detector(*arguments)


def test_whole_numbers_may_arrive_as_floats():
    assert Detector("adwin", {"clock": 16.0}).parameters["clock"] == 16


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"values": "none"},
        {"memory": "5000"},
        {"seen": 1},
        {"values": [0.0] * 20_000, "seen": 20_000},
    ],
)
def test_what_is_no_state_is_refused(change):
    running = Detector()
    running.feed([0.0, 1.0, 0.0])

    with pytest.raises(PenstockError, match="no state of a detector of format 1"):
        Detector.from_state({**running.state(), **change})
    with pytest.raises(PenstockError, match="no state of a detector"):
        Detector.from_state([])


def test_a_river_that_finds_other_changes_is_not_trusted_with_the_state():
    running = Detector()
    running.feed(NUMBERS)
    state = running.state()
    assert state["changes"] == 1

    with pytest.raises(PenstockError, match=r"finds 1 changes .* where river 0.1 found 2; start"):
        Detector.from_state({**state, "changes": 2, "river": "0.1"})


def test_without_river_the_error_names_the_extra():
    program = (
        "import sys; sys.modules['river'] = None\n"
        "from penstock.drift.detectors.detector import Detector\n"
        "from penstock.errors import PenstockError\n"
        "try:\n    Detector()\nexcept PenstockError as error:\n    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "pip install 'penstock[streams]'" in done.stdout
