"""Whether a blessing may be relied on."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from penstock.errors import PenstockError
from penstock.evaluation.blessing import read_blessing, read_forced

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
FORCED = {"by": "ana", "reason": "the old one is worse.", "expires": "2026-01-31T12:00:00Z"}


def blessing(folder, **fields):
    record = {"blessed": False, "reason": "auc is low.", "model_digest": "sha256:1", **fields}
    (folder / "blessing.json").write_text(json.dumps(record))
    return read_blessing(folder)


def test_the_gates_verdict_stands_for_ever(tmp_path):
    assert blessing(tmp_path, blessed=True, reason="auc is high.").stands(NOON) == (
        True,
        "auc is high.",
    )
    assert blessing(tmp_path).stands() == (False, "auc is low.")


def test_a_forced_blessing_stands_until_it_expires_and_says_by_whom(tmp_path):
    found = blessing(tmp_path, forced=FORCED)

    before, said = found.stands(NOON - timedelta(seconds=1))
    after, why = found.stands(NOON)

    assert before is True and after is False and found.blessed is False
    assert said == (
        "Forced by ana until 2026-01-31T12:00+00:00: the old one is worse. "
        "The gate's verdict: auc is low."
    )
    assert why == "The blessing forced by ana expired at 2026-01-31T12:00+00:00. auc is low."
    assert read_forced(found.forced.as_record()) == found.forced


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"by": " "}, "by of the forced blessing is ' '"),
        ({"expires": "tomorrow"}, "'tomorrow', which is no time in ISO 8601"),
        ({"expires": "2026-01-31T12:00:00"}, "without a time zone"),
        ({"until": "2026"}, "says who, why and until when"),
    ],
)
def test_a_forced_blessing_that_does_not_say_who_why_and_until_when_is_refused(change, sentence):
    with pytest.raises(PenstockError) as raised:
        read_forced({**FORCED, **change})

    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"blessed": 1, "reason": "", "model_digest": ""}']
)
def test_what_is_no_blessing_is_refused(tmp_path, text):
    with pytest.raises(PenstockError, match="There is no blessing at"):
        read_blessing(tmp_path)
    (tmp_path / "blessing.json").write_text(text)
    with pytest.raises(PenstockError, match="is not a blessing"):
        read_blessing(tmp_path)
