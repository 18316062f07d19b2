"""Which version is champion, and how that changes: by an entry in the log, whole or not at all."""

from __future__ import annotations

import getpass
import os
import random
import socket
import time
from datetime import datetime

from ..errors import PenstockError
from .connection import Registry, check_product
from .deployments import Entry, Standing, append, deployments, entries, now_utc, standing
from .versions import Version, version

ALIASES = ("champion", "previous", "challenger")
# How often a server may refuse to set aliases before it is taken at its word.
MOST_REFUSALS = 10


def promote(
    registry: Registry,
    product: str,
    number: int,
    *,
    by: str = "",
    why: str = "",
    where: str = "",
    allow_unblessed: bool = False,
    expected: int | None = None,
) -> Entry:
    """Make a version the champion; the one before becomes `previous`.

    Args:
        registry: The registry.
        product: The product.
        number: The version.
        by: Who does it; the user and host when empty.
        why: Why; needed for a version that is not blessed.
        where: Where it is served from.
        allow_unblessed: Take a version that is not blessed, and say so in the log.
        expected: The champion this decision was made against; refused when it is another by now.
            0 for none, None for any.

    Returns:
        The entry that was written, or the last one if the version is champion there already.

    Raises:
        PenstockError: There is no such version, it is not blessed, or somebody was faster.
    """
    found = version(registry, product, number)
    blessed, reason = found.stands()
    if not blessed and not (allow_unblessed and why.strip()):
        raise PenstockError(
            f"Version {number} of {product} is not blessed: {reason.rstrip('.')}; promote a "
            "blessed one, or allow an unblessed one and say why."
        )
    return _change(registry, "promote", found, by, why, where, blessed, expected)


def roll_back(
    registry: Registry,
    product: str,
    number: int | None = None,
    *,
    by: str = "",
    why: str = "",
    where: str = "",
) -> Entry:
    """Make an earlier champion the champion again.

    Args:
        registry: The registry.
        product: The product.
        number: Which version; the one before when None.
        by: Who does it; the user and host when empty.
        why: Why.
        where: Where it is served from.

    Raises:
        PenstockError: There is no earlier champion, the version never was one, or somebody was
            faster.
    """
    found, champion = earlier_champion(registry, product, number)
    return _change(registry, "rollback", found, by, why, where, found.stands()[0], champion)


def earlier_champion(
    registry: Registry, product: str, number: int | None = None
) -> tuple[Version, int | None]:
    """Return where a rollback goes, and the champion that it comes from.

    Args:
        registry: The registry.
        product: The product.
        number: Which version; the champion before when None.

    Raises:
        PenstockError: There is no earlier champion, or the version never was one.
    """
    log = entries(registry, check_product(product))
    now = standing(log)
    if number is None and now.previous is None:
        raise PenstockError(
            f"{product} has no earlier champion to roll back to in the registry at "
            f"{registry.where}; promote a version instead."
        )
    if number is not None and number not in {e.version for e in log if e.kind == "promote"}:
        raise PenstockError(
            f"Version {number} of {product} never was champion, so there is nothing to roll back "
            "to; promote it instead."
        )
    return version(registry, product, number or now.previous or 0), now.champion


def challenge(
    registry: Registry, product: str, number: int, *, by: str = "", why: str = "", where: str = ""
) -> Entry:
    """Put a version on trial beside the champion; one that is on trial there already stays so.

    Raises:
        PenstockError: There is no such version, or somebody was faster.
    """
    found = version(registry, product, number)
    return _change(registry, "challenge", found, by, why, where, found.stands()[0], None)


def withdraw(registry: Registry, product: str, *, by: str = "", why: str = "") -> Entry:
    """End the trial of the challenger.

    Raises:
        PenstockError: There is no challenger, or somebody was faster.
    """
    now = standing(entries(registry, check_product(product)))
    if now.challenger is None:
        raise PenstockError(f"{product} has no challenger to withdraw.")
    found = version(registry, product, now.challenger)
    return _change(registry, "withdraw", found, by, why, "", found.stands()[0], None)


def project_aliases(registry: Registry, product: str) -> Standing:
    """Have MLflow's aliases say what the log says, and return that.

    Whoever writes an entry does so, and looks again afterwards: of two at once, the one that ends
    last has seen both entries. One that dies in between leaves old aliases, which the next mends;
    all that Penstock reads is the log.

    Raises:
        PenstockError: The registry could not set them, also when asked again.
    """
    from mlflow.exceptions import RestException

    refusals = 0
    while True:
        now = standing(entries(registry, product))
        try:
            _set_aliases(registry, product, now)
        except PenstockError as error:
            # The server's database lets one of two set an alias at once, and refuses the other.
            refusals += 1
            if not isinstance(error.__cause__, RestException) or refusals == MOST_REFUSALS:
                raise
            time.sleep(random.uniform(0, 0.1 * refusals))  # noqa: S311 - no secret
            continue
        if standing(entries(registry, product)) == now:
            return now


def _set_aliases(registry: Registry, product: str, now: Standing) -> None:
    with registry.asking(f"set the aliases of {product}"):
        there = registry.client.get_registered_model(product).aliases
        for alias in ALIASES:
            number = getattr(now, alias)
            if number is None and alias in there:
                registry.client.delete_registered_model_alias(product, alias)
            elif number is not None and there.get(alias) != str(number):
                registry.client.set_registered_model_alias(product, alias, str(number))


def _change(
    registry: Registry,
    kind: str,
    found: Version,
    by: str,
    why: str,
    where: str,
    blessed: bool,
    expected: int | None,
) -> Entry:
    product, number = found.product, found.number
    with registry.writing():
        log = entries(registry, product)
        now = standing(log)
        if expected is not None and (now.champion or 0) != expected:
            there = f"version {now.champion}" if now.champion else "none"
            raise PenstockError(
                f"The champion of {product} is {there} by now, not {expected or 'none'}; look at "
                "what has changed and decide anew."
            )
        live = deployments(log)
        if kind == "promote" and now.champion == number and live[-1].entry.where == where:
            # Done already, as by a step that was killed after it and runs again.
            project_aliases(registry, product)
            return live[-1].entry
        if kind == "challenge" and now.challenger == number:
            last = [entry for entry in log if entry.kind == kind][-1]
            if last.where == where:
                project_aliases(registry, product)
                return last
        entry = Entry(
            number=0,
            kind=kind,
            version=number,
            where=where,
            by=by.strip() or _whoever(),
            why=why.strip(),
            at=_later(now_utc(), log[-1].at if log else None),
            blessed=blessed,
        )
        written = append(registry, product, entry, log)
        project_aliases(registry, product)
    return written


def _later(now: datetime, last: datetime | None) -> datetime:
    """Return the time, or that of the entry before if this machine's clock is behind it."""
    return now if last is None or now > last else last


def _whoever() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
