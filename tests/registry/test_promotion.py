"""The champion changes by one entry in a log that loses nothing and that everybody reads alike."""

import subprocess
import sys
from datetime import timedelta

import pytest
from mlflow.exceptions import RestException

from penstock.errors import PenstockError
from penstock.registry.champion import resolve
from penstock.registry.connection import open_registry
from penstock.registry.deployments import Entry, append, deployments, entries, now_utc, standing
from penstock.registry.promotion import (
    MOST_REFUSALS,
    challenge,
    project_aliases,
    promote,
    roll_back,
    withdraw,
)
from penstock.registry.registration import register_version


@pytest.fixture
def three(registry, product, trained):
    """Versions 1 and 2 are blessed, 3 is not."""
    for number, blessed in enumerate((True, True, False), start=1):
        register_version(registry, product, *trained(str(number), blessed=blessed))
    return registry


def aliases(registry, product):
    found = registry.client.get_registered_model(product).aliases
    return {alias: int(number) for alias, number in found.items()}


def test_promotions_and_a_rollback_move_the_aliases_and_leave_a_history(three, product):
    promote(three, product, 1, by="ann", why="first", where="/models/1")
    promote(three, product, 2, by="ben", why="better", where="/models/2")
    assert aliases(three, product) == {"champion": 2, "previous": 1}

    roll_back(three, product, by="ann", why="too slow")

    assert aliases(three, product) == {"champion": 1, "previous": 2}
    log = entries(three, product)
    history = [
        (d.entry.kind, d.entry.version, d.entry.by, d.entry.why, d.entry.where, d.until)
        for d in deployments(log)
    ]
    assert history == [
        ("promote", 1, "ann", "first", "/models/1", log[1].at),
        ("promote", 2, "ben", "better", "/models/2", log[2].at),
        ("rollback", 1, "ann", "too slow", "", None),
    ]
    assert log[0].at <= log[1].at <= log[2].at
    assert [entry.blessed for entry in log] == [True, True, True]


def test_a_challenger_comes_and_goes_or_becomes_champion(three, product):
    promote(three, product, 1)
    challenge(three, product, 2)
    assert aliases(three, product) == {"champion": 1, "challenger": 2}

    withdraw(three, product, why="lost")
    assert aliases(three, product) == {"champion": 1}

    challenge(three, product, 2)
    promote(three, product, 2)
    assert aliases(three, product) == {"champion": 2, "previous": 1}


def test_an_unblessed_version_is_promoted_only_with_a_reason(three, product):
    with pytest.raises(PenstockError, match=r"is not blessed: auc is 0\.7"):
        promote(three, product, 3, why="because")
    with pytest.raises(PenstockError, match="say why"):
        promote(three, product, 3, allow_unblessed=True)
    assert entries(three, product) == []

    promote(three, product, 3, allow_unblessed=True, why="the old one is broken")

    (entry,) = entries(three, product)
    assert (entry.version, entry.blessed, entry.why) == (3, False, "the old one is broken")


def test_the_same_promotion_again_is_no_second_one(three, product):
    first = promote(three, product, 1, where="/models/1")
    three.client.delete_registered_model_alias(product, "champion")  # killed before it was set

    again = promote(three, product, 1, where="/models/1")

    assert again == first
    assert len(entries(three, product)) == 1
    assert aliases(three, product) == {"champion": 1}


def test_rolling_back_goes_only_where_it_has_been(three, product):
    with pytest.raises(PenstockError, match="no earlier champion to roll back to"):
        roll_back(three, product)
    promote(three, product, 1)
    with pytest.raises(PenstockError, match="no earlier champion"):
        roll_back(three, product)
    with pytest.raises(PenstockError, match=r"Version 2 .* never was champion"):
        roll_back(three, product, 2)
    with pytest.raises(PenstockError, match="has no challenger"):
        withdraw(three, product)


def test_of_two_promotions_decided_on_the_same_state_the_second_is_told(three, product):
    promote(three, product, 1, by="ann")
    seen = entries(three, product)
    mine = Entry(0, "promote", 2, "", "ben", "better", now_utc(), True)
    append(three, product, mine, seen)

    with pytest.raises(PenstockError, match=r"ben was faster: promote of version 2 .* \(better\)"):
        append(three, product, Entry(0, "rollback", 1, "", "cy", "", now_utc(), True), seen)

    assert standing(entries(three, product)).champion == 2
    # The entry that did not count does not stop the next one.
    project_aliases(three, product)
    roll_back(three, product, by="cy")
    assert aliases(three, product) == {"champion": 1, "previous": 2}


def test_a_champion_other_than_expected_is_not_replaced(three, product):
    promote(three, product, 1, expected=0)
    with pytest.raises(PenstockError, match="is version 1 by now, not none"):
        promote(three, product, 2, expected=0)
    promote(three, product, 2, expected=1)
    assert aliases(three, product) == {"champion": 2, "previous": 1}


def test_a_past_that_was_changed_or_removed_is_noticed(three, product):
    for number in (1, 2, 1):
        promote(three, product, number)
    name = f"{product}.deployments"
    whole = three.client.get_model_version(name, "2").tags["penstock.entry"]

    three.client.set_model_version_tag(name, "2", "penstock.entry", whole.replace("2,", "1,", 1))
    with pytest.raises(PenstockError, match="entry 2 or the one before it was changed"):
        entries(three, product)
    three.client.set_model_version_tag(name, "2", "penstock.entry", whole)
    assert len(entries(three, product)) == 3

    three.client.delete_model_version(name, "2")
    with pytest.raises(PenstockError, match="entry 2 is missing"):
        promote(three, product, 2)


def test_the_champion_is_found_now_and_as_of_a_time(three, product):
    assert resolve(three, product) is None
    assert resolve(three, f"{product}-other") is None
    first = promote(three, product, 1)
    second = promote(three, product, 2)

    def number(which="champion", as_of=None):
        found = resolve(three, product, which, as_of)
        return found and found.number

    assert number() == 2
    assert number("previous") == 1
    assert number("challenger") is None
    assert number("latest_blessed") == 2
    assert number(as_of=second.at - timedelta(milliseconds=1)) == 1
    assert number(as_of=first.at - timedelta(milliseconds=1)) is None
    assert number("latest_blessed", first.at - timedelta(days=1)) is None
    with pytest.raises(PenstockError, match="which is 'best'; use one of champion"):
        resolve(three, product, "best")


PROMOTE = """
import sys, random
from penstock.errors import PenstockError
from penstock.registry.connection import open_registry
from penstock.registry.promotion import promote
registry = open_registry(sys.argv[1])
rng = random.Random(sys.argv[3])
for _ in range(int(sys.argv[4])):
    try:
        entry = promote(registry, sys.argv[2], rng.randint(1, 2), where=str(rng.random()))
        print("won", entry.number, entry.version, flush=True)
    except PenstockError as error:
        assert "was faster" in str(error), error
        print("told", flush=True)
"""


@pytest.mark.parametrize("refusals", [2, 10])
def test_an_alias_that_the_server_refuses_while_another_sets_it_is_set_again(
    three, product, monkeypatch, refusals
):
    refused = RestException({"error_code": "BAD_REQUEST", "message": "duplicate key value"})
    answers = [refused] * refusals
    asked = three.client.set_registered_model_alias

    def refusing(*given):
        if answers:
            raise answers.pop()
        asked(*given)

    monkeypatch.setattr(three.client, "set_registered_model_alias", refusing)
    if refusals < MOST_REFUSALS:
        promote(three, product, 1)
        assert aliases(three, product) == {"champion": 1}
    else:
        with pytest.raises(PenstockError, match=r"could not set the aliases of .*duplicate key"):
            promote(three, product, 1)
    # The log is what counts, and has it either way.
    assert [entry.version for entry in entries(three, product)] == [1]


def test_promotions_from_many_processes_are_all_won_or_told(
    registry, product, trained, request, tmp_path
):
    for number in ("1", "2"):
        register_version(registry, product, *trained(number))
    command = [sys.executable, "-c", PROMOTE, registry.where, product]

    processes = [
        subprocess.Popen([*command, str(seed), "5"], stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    lines = [line for p in processes for line in p.communicate()[0].splitlines()]

    assert [p.returncode for p in processes] == [0, 0, 0]
    log = entries(registry, product)
    won = sorted(tuple(map(int, line.split()[1:])) for line in lines if line.startswith("won"))
    assert len(lines) == 15
    assert won == [(entry.number, entry.version) for entry in log]
    assert aliases(registry, product)["champion"] == log[-1].version


def test_a_registry_folder_is_opened_by_name_or_path(folder, trained):
    register_version(open_registry(folder), "flights", *trained("one"))

    assert resolve(open_registry(str(folder)), "flights", "latest_blessed").number == 1
