"""What the registry calls champion is what the folder's newest version holds."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.registry.connection import open_registry
from penstock.registry.deployments import deployments, entries, standing
from penstock.registry.registration import register_version
from penstock.registry.served import promote_served, roll_back_served
from penstock.registry.serving_folder import remove_old, versions
from penstock.registry.versions import version
from penstock.registry.versions import versions as registered

KILLS = int(os.environ.get("PENSTOCK_KILLS", "10"))


@pytest.fixture
def three(folder, trained):
    registry = open_registry(folder)
    for name in ("1", "2", "3"):
        register_version(registry, "flights", *trained(name))
    return registry


def served(folder):
    """The digest of what TensorFlow Serving loads: the highest number."""
    return digest_path(folder / str(versions(folder)[-1]))


def test_promotion_serves_the_version_and_rollback_the_one_before(three, tmp_path):
    serve = tmp_path / "serve"
    first = promote_served(three, "flights", 1, str(serve))
    promote_served(three, "flights", 2, None, why="better")

    back = roll_back_served(three, "flights", why="slow")

    assert first.where == str(serve / "1")
    assert back.where == str(serve / "3")
    assert served(serve) == version(three, "flights", 1).digest
    assert standing(entries(three, "flights")).champion == 1
    # By links: no time and no space.
    assert (serve / "3" / "saved_model.pb").samefile(serve / "1" / "saved_model.pb")


def test_a_version_that_is_served_already_is_not_copied(three, tmp_path):
    serve = tmp_path / "serve"
    promote_served(three, "flights", 1, str(serve))

    again = promote_served(three, "flights", 1, None)

    assert versions(serve) == [1]
    assert again.where == str(serve / "1")
    assert len(entries(three, "flights")) == 1


def test_without_a_folder_the_registry_alone_changes(three, tmp_path):
    serve = tmp_path / "serve"
    promote_served(three, "flights", 1, str(serve))

    promote_served(three, "flights", 2, "")
    roll_back_served(three, "flights", destination="")

    assert versions(serve) == [1]
    assert [d.entry.where for d in deployments(entries(three, "flights"))][1:] == ["", ""]


def test_what_is_refused_changes_neither(three, tmp_path, trained):
    serve = tmp_path / "serve"
    register_version(three, "flights", *trained("4", blessed=False))
    promote_served(three, "flights", 1, str(serve))

    with pytest.raises(PenstockError, match="is not blessed"):
        promote_served(three, "flights", 4, None)
    with pytest.raises(PenstockError, match="is version 1 by now, not 2"):
        promote_served(three, "flights", 3, None, expected=2)
    with pytest.raises(PenstockError, match="never was champion"):
        roll_back_served(three, "flights", 2)

    assert versions(serve) == [1]
    assert len(entries(three, "flights")) == 1
    assert not (serve / ".penstock" / "incoming").exists()


def test_a_rollback_needs_the_version_in_the_folder(three, tmp_path):
    serve = tmp_path / "serve"
    promote_served(three, "flights", 1, str(serve))
    promote_served(three, "flights", 2, None)
    assert remove_old(serve, 1) == [1]

    with pytest.raises(PenstockError, match="does not hold version 1 of flights any more"):
        roll_back_served(three, "flights")

    promote_served(three, "flights", 1, None)
    assert served(serve) == version(three, "flights", 1).digest


def test_retention_keeps_the_newest_and_what_is_needed(three, tmp_path):
    serve = tmp_path / "serve"
    for number in (1, 2, 3):
        promote_served(three, "flights", number, str(serve))
    needed = version(three, "flights", 1).digest

    assert remove_old(serve, 1, {needed}) == [2]
    assert remove_old(serve, 1) == [1]
    assert versions(serve) == [3]
    assert [p.name for p in (serve / ".penstock").iterdir() if "removed" in p.name] == []


def test_kills_at_random_moments_lose_nothing_and_tear_nothing(folder, trained, tmp_path):
    """PENSTOCK_KILLS says how many kills; a few by default."""
    digests = {trained(name)[1].model_digest for name in ("1", "2", "3")}
    script = Path(__file__).with_name("killing.py")

    subprocess.run([sys.executable, script, tmp_path, str(KILLS), "7"], check=True)

    faults = tmp_path / "faults"
    assert not faults.exists(), faults.read_text()
    journal = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    # Every version in sight is whole, in the folder and in the registry,
    registry, serve = open_registry(folder), tmp_path / "serve"
    there = {number: digest_path(serve / str(number)) for number in versions(serve)}
    known = {one.number: one.digest for one in registered(registry, "flights")}
    assert set(there.values()) <= digests
    assert sorted(known.values()) == sorted(set(known.values()))
    for one in registered(registry, "flights"):
        assert digest_path(f"{one.source}/serving") == one.digest
    # what somebody was told is there, under the number that he was told,
    log = entries(registry, "flights")
    counted = {entry.number: entry for entry in log}
    for line in journal:
        if line["deed"] == "push":
            assert there[line["version"]] == known[line["registered"]] == line["content_digest"]
        else:
            entry = counted[line["entry"]]
            assert (entry.version, entry.where) == (line["version"], line["where"])
            assert there[int(Path(entry.where).name)] == known[entry.version]
    # and the history is one line of entries, without a gap in time.
    assert all(a.at <= b.at for a, b in itertools.pairwise(log))
    # Doing it once more makes the folder and the registry agree.
    final = promote_served(registry, "flights", 1, str(serve))
    assert standing(entries(registry, "flights")).champion == 1
    assert served(serve) == version(registry, "flights", 1).digest
    assert final.where == str(serve / str(versions(serve)[-1]))


def test_pusher_names_the_champion_and_keeps_what_it_needs(three, trained, tmp_path):
    from penstock.components.pusher.executor import push

    serve = tmp_path / "serve"
    results = [
        push(
            tmp_path / f"trained-{name}" / "model",
            tmp_path / f"trained-{name}" / "blessing",
            tmp_path / f"pushed-{name}",
            str(serve),
            registry=three.where,
            product="flights",
            run=f"run-{name}",
            keep=1,
        )
        for name in ("1", "2", "3")
    ]

    assert [r["registered"] for r in results] == [1, 2, 3]
    now = standing(entries(three, "flights"))
    assert (now.champion, now.previous) == (3, 2)
    assert results[2]["reason"] == (
        f"Pushed as version 3 to {serve / '3'}. Version 3 of flights is champion. "
        "Removed version 1."
    )
    assert versions(serve) == [2, 3]
    last = entries(three, "flights")[-1]
    assert (last.by, last.why, last.where) == ("run run-3", "auc is 0.7.", str(serve / "3"))
    assert json.loads((tmp_path / "pushed-3" / "pushed.json").read_text())["registered"] == 3


def test_pusher_to_a_registry_alone(three, tmp_path):
    from penstock.components.pusher.executor import push

    place = tmp_path / "trained-2"
    result = push(
        place / "model",
        place / "blessing",
        tmp_path / "pushed",
        registry=three.where,
        product="flights",
    )

    assert (result["pushed"], result["destination"], result["registered"]) == (True, None, 2)
    assert standing(entries(three, "flights")).champion == 2


def test_pusher_refuses_what_nobody_validated_unless_told(three, tmp_path):
    from penstock.components.pusher.executor import push

    model, serve = tmp_path / "trained-1" / "model", tmp_path / "serve"

    refused = push(model, None, tmp_path / "p1", str(serve))
    assert refused["pushed"] is False and "no blessing is wired" in refused["reason"]
    assert not serve.exists()

    allowed = push(model, None, tmp_path / "p2", str(serve), allow_unvalidated=True)
    assert allowed["pushed"] is True and versions(serve) == [1]
    for wrong, sentence in (
        ({"registry": three.where}, "give both or neither"),
        ({"product": "flights"}, "give both or neither"),
        ({"keep": -1}, "keep is -1"),
    ):
        with pytest.raises(PenstockError, match=sentence):
            push(model, None, tmp_path / "p3", str(serve), **wrong)
