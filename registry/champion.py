"""Which version of a product a pipeline compares with, starts from, or serves."""

from __future__ import annotations

from datetime import datetime, timezone

from ..errors import PenstockError
from .connection import Registry, check_product
from .deployments import entries, standing
from .promotion import ALIASES
from .versions import Version, version, versions

LATEST_BLESSED = "latest_blessed"
CHOICES = (*ALIASES, LATEST_BLESSED)


def resolve(
    registry: Registry, product: str, which: str = "champion", as_of: datetime | None = None
) -> Version | None:
    """Return the version that is asked for; None if there is none, which is a normal answer.

    Args:
        registry: The registry.
        product: The product; one that is not there has no version.
        which: `champion`, `previous`, `challenger`, or `latest_blessed`: the newest version whose
            blessing stands.
        as_of: As it was at this time; now when None.

    Raises:
        PenstockError: `which` is none of these.
    """
    check_product(product)
    if which not in CHOICES:
        raise PenstockError(f"which is {which!r}; use one of {', '.join(CHOICES)}.")
    moment = as_of or datetime.now(timezone.utc)
    if which == LATEST_BLESSED:
        found = [
            one
            for one in versions(registry, product)
            if one.created <= moment and one.stands(moment)[0]
        ]
        return found[-1] if found else None
    log = [entry for entry in entries(registry, product) if entry.at <= moment]
    number = getattr(standing(log), which)
    return None if number is None else version(registry, product, number)
