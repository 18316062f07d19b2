"""The deployments of a product: an append-only log that everybody reads alike.

MLflow moves an alias without asking what it pointed to, so of two promotions at once the later one
would silently win. The log needs nothing of MLflow but that it numbers versions, which it does in
one transaction. An entry is a version of the registered model `<product>.deployments`, and says the
number of the entry that its writer had seen last. An entry counts if that one is the last that
counts before it; so of two entries written at once the first counts and the other does not, for
every reader. (This is optimistic concurrency control: H. T. Kung and J. T. Robinson, "On optimistic
methods for concurrency control", 1981.) Aliases follow the log.

Each entry holds a digest of itself and of the one before, so that a change to the past is noticed.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ..data.digest import digest_bytes
from ..errors import PenstockError
from .connection import DEPLOYMENTS, Registry, check_product
from .versions import TAG, make_registered, raw_versions

KINDS = ("promote", "rollback", "challenge", "withdraw")


class OvertakenError(PenstockError):
    """Somebody else wrote an entry after the ones that this one was decided on.

    Nothing was changed. A person looks what happened and decides anew; a step that only says what
    is served looks again and says it.
    """


@dataclass(frozen=True)
class Entry:
    """One entry of the log.

    Attributes:
        number: Its place, from 1; entries that did not count leave gaps. 0 before it is written.
        kind: `promote` and `rollback` make a version the champion, `challenge` the challenger,
            `withdraw` ends a challenge.
        version: The version.
        where: Where it is served from, such as a folder or an InferenceService; may be empty.
        by: Who did it.
        why: Why.
        at: When, in UTC.
        blessed: Whether the version was blessed then.
        based_on: The entry that its writer had seen last; 0 for none.
        id: Tells it from every other entry.
        chain: Digest of this entry and the one before.
    """

    number: int
    kind: str
    version: int
    where: str
    by: str
    why: str
    at: datetime
    blessed: bool
    based_on: int = 0
    id: str = ""
    chain: str = ""


@dataclass(frozen=True)
class Deployment:
    """What was champion from when to when; `until` is None for the one that is."""

    entry: Entry
    until: datetime | None


@dataclass(frozen=True)
class Standing:
    """What a product's log amounts to: version numbers, or None.

    Attributes:
        champion: What is live.
        previous: What was live before; where a rollback goes.
        challenger: What is on trial.
        last: The number of the last entry.
    """

    champion: int | None = None
    previous: int | None = None
    challenger: int | None = None
    last: int = 0


def entries(registry: Registry, product: str) -> list[Entry]:
    """Return the entries that count, in order.

    Raises:
        PenstockError: An entry was changed or removed.
    """
    counted: list[Entry] = []
    numbers = {0}
    for raw in raw_versions(registry, check_product(product) + DEPLOYMENTS):
        entry = _read(raw, product)
        numbers.add(entry.number)
        last = counted[-1] if counted else None
        if entry.based_on not in numbers:
            raise _damaged(product, f"entry {entry.based_on} is missing")
        if entry.based_on != (last.number if last else 0):
            continue
        if entry.chain != _chain(entry, last):
            raise _damaged(product, f"entry {entry.number} or the one before it was changed")
        counted.append(entry)
    return counted


def standing(log: list[Entry]) -> Standing:
    """Return what the entries amount to."""
    now = Standing()
    for entry in log:
        if entry.kind == "challenge":
            now = replace(now, challenger=entry.version)
        elif entry.kind == "withdraw":
            withdrawn = now.challenger == entry.version
            now = replace(now, challenger=None if withdrawn else now.challenger)
        else:
            challenger = None if now.challenger == entry.version else now.challenger
            previous = now.previous if now.champion == entry.version else now.champion
            now = Standing(entry.version, previous, challenger)
        now = replace(now, last=entry.number)
    return now


def deployments(log: list[Entry]) -> list[Deployment]:
    """Return what was champion from when to when, in order."""
    live = [entry for entry in log if entry.kind in ("promote", "rollback")]
    ends: list[datetime | None] = [*(entry.at for entry in live[1:]), None]
    return [Deployment(entry, end) for entry, end in zip(live, ends, strict=False)]


def append(registry: Registry, product: str, entry: Entry, log: list[Entry]) -> Entry:
    """Write an entry after the ones that were read, and return it with its number.

    Args:
        registry: The registry.
        product: The product.
        entry: What to write; number, based_on, id and chain are filled in here.
        log: What `entries` returned, on which the writer decided.

    Raises:
        OvertakenError: Somebody else wrote an entry in the meantime; nothing has changed.
    """
    last = log[-1] if log else None
    new = replace(entry, based_on=last.number if last else 0, id=uuid.uuid4().hex)
    new = replace(new, chain=_chain(new, last))
    name = product + DEPLOYMENTS
    with registry.asking(f"write to the deployments of {product}"):
        make_registered(registry, name, "deployments", "Written by Penstock alone.")
        registry.client.create_model_version(
            name,
            f"models:/{product}/{new.version}",
            tags={f"{TAG}entry": json.dumps(_document(new)), f"{TAG}chain": new.chain},
            description=f"{new.kind} version {new.version} by {new.by}: {new.why}",
        )
    # By its id: a request that was sent again after a broken connection may be there twice.
    for written in entries(registry, product):
        if written.id == new.id:
            return written
        if written.number > new.based_on:
            raise OvertakenError(
                f"{written.by} was faster: {written.kind} of version {written.version} of "
                f"{product} at {written.at:%Y-%m-%d %H:%M:%S} UTC ({written.why or 'no reason'}); "
                f"nothing was changed by this {new.kind}, so look at it and decide anew."
            )
    raise _damaged(product, "the entry that was just written is missing")


def _read(raw: Any, product: str) -> Entry:
    try:
        content = json.loads(raw.tags[f"{TAG}entry"])
        content["at"] = datetime.fromisoformat(content["at"])
        return Entry(number=int(raw.version), chain=raw.tags[f"{TAG}chain"], **content)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(product, f"entry {raw.version} is not one of ours") from error


def _document(entry: Entry) -> dict[str, Any]:
    """Return what is stored and goes into the digest; the number is MLflow's to give."""
    return {
        "kind": entry.kind,
        "version": entry.version,
        "where": entry.where,
        "by": entry.by,
        "why": entry.why,
        "at": entry.at.isoformat(),
        "blessed": entry.blessed,
        "based_on": entry.based_on,
        "id": entry.id,
    }


def _chain(entry: Entry, last: Entry | None) -> str:
    content = json.dumps(_document(entry), sort_keys=True)
    return digest_bytes(f"{last.chain if last else ''}\n{content}".encode())


def now_utc() -> datetime:
    """Return the time, to the millisecond."""
    now = datetime.now(timezone.utc)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _damaged(product: str, what: str) -> PenstockError:
    return PenstockError(
        f"The deployments of {product} cannot be trusted: {what}; restore the registered model "
        f"{product + DEPLOYMENTS!r} of the registry from a backup."
    )
