"""Three processes push, promote and roll back; one after the other is killed and replaced.

Run as `python killing.py FOLDER KILLS SEED`, on a folder with `registry/` and `trained-1/` to
`trained-3/`. The workers are forked from one process that has loaded everything, so that a thousand
kills take minutes. Each notes what it was told has succeeded in `FOLDER/journal`; what none of them
expected goes to `FOLDER/faults`.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

from penstock.components.pusher.executor import push
from penstock.errors import PenstockError
from penstock.registry.connection import open_registry
from penstock.registry.served import promote_served, roll_back_served

WORKERS = 3
EXPECTED = ("was faster", "no earlier champion", "has no version", "does not hold", "by now")


def work(root: str, seed: str) -> None:
    """Push, promote and roll back at random until killed."""
    rng = random.Random(seed)
    registry = open_registry(f"{root}/registry")
    while True:
        try:
            note(root, "journal", {"by": seed, **do(registry, root, rng, seed)})
        except PenstockError as error:
            if not any(words in str(error) for words in EXPECTED):
                raise


def do(registry, root: str, rng: random.Random, seed: str) -> dict:
    number = rng.randint(1, 3)
    deed = rng.choice(("push", "promote", "rollback"))
    if deed == "push":
        trained, pushed = f"{root}/trained-{number}", f"{root}/pushed-{seed}"
        done = push(
            *(f"{trained}/model", f"{trained}/blessing", pushed, f"{root}/serve"),
            registry=f"{root}/registry",
            product="flights",
            run=seed,
        )
        return {"deed": deed, **{k: done[k] for k in ("version", "content_digest", "registered")}}
    if deed == "promote":
        entry = promote_served(registry, "flights", number, f"{root}/serve", by=seed)
    else:
        entry = roll_back_served(registry, "flights", destination=f"{root}/serve", by=seed)
    return {"deed": deed, "entry": entry.number, "version": entry.version, "where": entry.where}


def note(root: str, file: str, content: dict) -> None:
    """Add a line, in one write."""
    line = os.open(f"{root}/{file}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(line, (json.dumps(content) + "\n").encode())
    os.close(line)


def start(root: str, seed: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            work(root, str(seed))
        except BaseException:
            note(root, "faults", {"by": seed, "fault": traceback.format_exc()})
        os._exit(1)
    return child


def succeeded(root: str) -> int:
    """How many deeds have been noted."""
    try:
        with open(f"{root}/journal", "rb") as journal:
            return journal.read().count(b"\n")
    except FileNotFoundError:
        return 0


def wait_for(root: str, deeds: int) -> None:
    while succeeded(root) < deeds and not os.path.exists(f"{root}/faults"):
        time.sleep(0.01)


def warm_up(root: str) -> None:
    """Load and compile all that a worker needs, on a registry that is thrown away."""
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(f"{root}/registry", f"{work}/registry")
        shutil.copytree(f"{root}/trained-1", f"{work}/trained-1")
        trained = f"{work}/trained-1"
        push(
            *(f"{trained}/model", f"{trained}/blessing", f"{work}/pushed", f"{work}/serve"),
            registry=f"{work}/registry",
            product="flights",
        )


def main(root: str, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    warm_up(root)
    workers = [start(root, number) for number in range(WORKERS)]
    for kill in range(kills):
        wait_for(root, succeeded(root) + 1)
        time.sleep(rng.uniform(0, 0.3))
        place = rng.randrange(WORKERS)
        os.kill(workers[place], signal.SIGKILL)
        os.waitpid(workers[place], 0)
        workers[place] = start(root, WORKERS + kill)
    wait_for(root, succeeded(root) + WORKERS)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    sys.stdout.write(f"{kills} kills, {succeeded(root)} deeds\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
