"""A model may be used if every verdict on it is good, and somebody has given one."""

from datetime import datetime, timedelta, timezone

import pytest

from penstock.errors import PenstockError
from penstock.evaluation.blessing import Blessing, Forced
from penstock.evaluation.clearance import check_of_model, clearance, read_blessing_of
from penstock.evaluation.infra_blessing import InfraBlessing

GOOD = Blessing(True, "auc is 0.7.", "sha256:a", {}, None)
BAD = Blessing(False, "auc is 0.5.", "sha256:a", {}, None)
SERVABLE = InfraBlessing(True, "p99 is 4 ms.", "sha256:a", {})
BROKEN = InfraBlessing(False, "It answers NaN.", "sha256:a", {})


def cleared(blessing, infra, anyway):
    return clearance(blessing, anyway, component="pusher", done="Pushed", infra_blessing=infra)


@pytest.mark.parametrize(
    ("blessing", "infra", "anyway", "expected"),
    [
        (GOOD, None, False, (True, "auc is 0.7.")),
        (GOOD, SERVABLE, False, (True, "auc is 0.7. p99 is 4 ms.")),
        (None, SERVABLE, False, (True, "p99 is 4 ms.")),
        (BAD, SERVABLE, True, (False, "The model is not blessed: auc is 0.5.")),
        (GOOD, BROKEN, True, (False, "The model cannot be served: It answers NaN.")),
        (None, BROKEN, True, (False, "The model cannot be served: It answers NaN.")),
    ],
)
def test_every_verdict_that_is_given_must_be_good(blessing, infra, anyway, expected):
    assert cleared(blessing, infra, anyway) == expected


def test_without_any_verdict_only_allow_unvalidated_helps():
    allowed, reason = cleared(None, None, False)
    assert not allowed
    assert "no blessing is wired to the pusher" in reason
    assert cleared(None, None, True) == (
        True,
        "Pushed without validation, as allow_unvalidated says.",
    )


def test_a_forced_blessing_counts_until_it_expires():
    now = datetime.now(timezone.utc)
    for days, expected in ((1, True), (-1, False)):
        forced = Forced("ann", "demo", now + timedelta(days=days))
        assert cleared(Blessing(False, "No.", "x", {}, forced), None, False)[0] is expected


def test_a_verdict_on_another_model_is_an_error():
    assert read_blessing_of(None, "model", "sha256:b") is None
    check_of_model(GOOD, "model", "sha256:a")
    with pytest.raises(PenstockError, match=r"The blessing is of another model \(sha256:a\)"):
        check_of_model(GOOD, "model", "sha256:b")
    with pytest.raises(PenstockError, match="that the infra_validator wrote for this model"):
        check_of_model(SERVABLE, "model", "sha256:b")
