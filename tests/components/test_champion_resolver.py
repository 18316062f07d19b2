"""The champion comes out as it was registered, or the answer that there is none yet."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from penstock.components import artifacts
from penstock.components.champion_resolver.component import champion_resolver
from penstock.components.champion_resolver.executor import resolve_champion
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.evaluation.blessing import Blessing, Forced, read_blessing
from penstock.evaluation.champion import read_champion
from penstock.evaluation.clearance import read_blessing_of
from penstock.registry.connection import open_registry
from penstock.registry.promotion import promote
from penstock.registry.registration import register_version


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Two versions, of which the second is champion after the first."""
    folder = tmp_path_factory.mktemp("registry")
    opened = open_registry(folder / "registry")
    entries = []
    for number in (1, 2):
        model = folder / f"model-{number}"
        (model / "serving").mkdir(parents=True)
        (model / "serving" / "saved_model.pb").write_text(str(number))
        register_version(opened, "flights", model)
        entries.append(promote(opened, "flights", number, why="test", allow_unblessed=True))
    return opened, entries


def resolved(tmp_path, registry, **arguments):
    champion = artifacts.Model(name="champion", uri=str(tmp_path / "champion"), metadata={})
    blessing = artifacts.Blessing(name="blessing", uri=str(tmp_path / "blessing"), metadata={})
    answer = champion_resolver.python_func(
        champion=champion,
        blessing=blessing,
        registry=registry[0].where,
        product="flights",
        **arguments,
    )
    return champion, answer


def test_the_champion_comes_out_as_it_was_registered(registry, tmp_path):
    champion, answer = resolved(tmp_path, registry)

    assert (answer.found, answer.version) == (True, 2)
    assert answer.reason == "Version 2 of flights is the champion"
    assert (tmp_path / "champion" / "serving" / "saved_model.pb").read_text() == "2"
    assert champion.metadata["digest"] == digest_path(tmp_path / "champion" / "serving")
    assert read_champion(tmp_path / "champion") == tmp_path / "champion"


def test_its_blessing_comes_out_with_it(tmp_path):
    # Given a version that the gate refused, and that somebody blessed until tomorrow
    opened = open_registry(tmp_path / "registry")
    model = tmp_path / "model"
    (model / "serving").mkdir(parents=True)
    (model / "serving" / "saved_model.pb").write_text("1")
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    forced = Forced(by="Ada", reason="The old one is broken.", expires=tomorrow)
    given = Blessing(
        blessed=False,
        reason="auc is 0.61, at least 0.65 is asked for.",
        model_digest=digest_path(model / "serving"),
        forced=forced,
        record={},
    )
    register_version(opened, "flights", model, given)
    promote(opened, "flights", 1, why="test")

    resolved(tmp_path, (opened,))

    found = read_blessing_of(
        tmp_path / "blessing", "champion", digest_path(tmp_path / "champion" / "serving")
    )
    assert (found.blessed, found.reason, found.forced) == (False, given.reason, forced)
    assert found.stands()[0]
    assert not found.stands(tomorrow + timedelta(minutes=1))[0]


def test_a_champion_without_a_blessing_has_one_that_says_no(registry, tmp_path):
    resolved(tmp_path, registry)

    assert read_blessing(tmp_path / "blessing").stands() == (
        False,
        "It was registered without a blessing.",
    )


def test_another_time_has_another_champion(registry, tmp_path):
    moment = registry[1][1].at - timedelta(milliseconds=1)

    _, answer = resolved(tmp_path, registry, as_of=moment.isoformat().replace("+00:00", "Z"))

    assert (answer.found, answer.version) == (True, 1)
    assert (tmp_path / "champion" / "serving" / "saved_model.pb").read_text() == "1"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"which": "challenger"}, "flights has no challenger in "),
        ({"which": "latest_blessed"}, "flights has no blessed version in "),
        ({"as_of": "2001-01-01T00:00:00Z"}, "flights has no champion as of 2001-01-01T00:00:00Z"),
    ],
)
def test_none_yet_is_an_answer_that_the_evaluator_understands(
    registry, tmp_path, arguments, reason
):
    champion, answer = resolved(tmp_path, registry, **arguments)

    assert (answer.found, answer.version, champion.metadata["none"]) == (False, 0, True)
    assert answer.reason.startswith(reason)
    assert read_champion(tmp_path / "champion") is None
    assert read_blessing(tmp_path / "blessing").stands() == (False, answer.reason)
    assert json.loads((tmp_path / "champion" / "none.json").read_text())["reason"] == answer.reason


def test_what_cannot_be_asked_fails_with_a_sentence(registry, tmp_path):
    def refused(sentence, where=registry[0].where, product="flights", **arguments):
        with pytest.raises(PenstockError) as raised:
            resolve_champion(
                tmp_path / "champion", tmp_path / "blessing", where, product, **arguments
            )
        assert sentence in str(raised.value)
        assert list(tmp_path.iterdir()) == []

    refused("which is 'best'", which="best")
    refused("is no time in ISO 8601", as_of="yesterday")
    refused("without a time zone", as_of="2026-01-31T12:00:00")
    refused("cannot be a product's name", product="a/b")
    refused("The registry is not said", where="")
