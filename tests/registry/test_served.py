"""What the registry calls champion is what the folder's newest version holds."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

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

KILLS = int(os.environ.get("PENSTOCK_KILLS", "3"))


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


WORK = """
import random, sys
from penstock.components.pusher.executor import push
from penstock.errors import PenstockError
from penstock.registry.connection import open_registry
from penstock.registry.served import promote_served, roll_back_served

root, seed = sys.argv[1:]
rng = random.Random(seed)
registry = open_registry(root + "/registry")
while True:
    number = rng.randint(1, 3)
    try:
        deed = rng.choice(("push", "promote", "rollback"))
        if deed == "push":
            trained = f"{root}/trained-{number}"
            push(trained + "/model", trained + "/blessing", f"{root}/pushed-{seed}",
                 root + "/serve", registry=root + "/registry", product="flights", run=seed)
        elif deed == "promote":
            promote_served(registry, "flights", number, root + "/serve", by=seed)
        else:
            roll_back_served(registry, "flights", destination=root + "/serve", by=seed)
    except PenstockError as error:
        known = ("was faster", "no earlier champion", "has no version", "does not hold", "by now")
        assert any(words in str(error) for words in known), error
    print(deed, flush=True)
"""


def test_kills_at_random_moments_lose_nothing_and_tear_nothing(folder, trained, tmp_path):
    """Three processes push, promote and roll back; one after the other is killed and replaced.

    PENSTOCK_KILLS says how many kills; a few by default.
    """
    digests = {trained(name)[1].model_digest for name in ("1", "2", "3")}
    rng = random.Random(7)

    def start(seed):
        command = [sys.executable, "-c", WORK, str(tmp_path), str(seed)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    workers = [start(seed) for seed in range(3)]
    for worker in workers:
        assert worker.stdout.readline(), worker.stderr.read()
    for kill in range(KILLS):
        time.sleep(rng.uniform(0, 0.5))
        place = rng.randrange(3)
        workers[place].send_signal(signal.SIGKILL)
        errors = workers[place].communicate()[1]
        assert "Traceback" not in errors, errors
        workers[place] = start(3 + kill)
        assert workers[place].stdout.readline(), workers[place].stderr.read()
    for worker in workers:
        worker.kill()
        assert "Traceback" not in worker.communicate()[1]

    # Then every version in sight is whole, in the folder and in the registry
    registry, serve = open_registry(folder), tmp_path / "serve"
    assert {digest_path(serve / str(number)) for number in versions(serve)} <= digests
    for one in registered(registry, "flights"):
        assert digest_path(f"{one.source}/serving") == one.digest
    assert len({one.digest for one in registered(registry, "flights")}) == len(
        registered(registry, "flights")
    )
    # and the history is one line of entries, without a gap in time
    log = entries(registry, "flights")
    assert all(a.at <= b.at for a, b in itertools.pairwise(log))
    # and doing it once more makes the folder and the registry agree.
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
