"""The record of the gate's verdict, and whether it may be relied on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..errors import PenstockError
from .verdict_file import Verdict, read_verdict

FILE = "blessing.json"


@dataclass(frozen=True)
class Forced:
    """A blessing that somebody gave against the gate's verdict.

    Attributes:
        by: Who.
        reason: Why.
        expires: Until when; after that it is no blessing.
    """

    by: str
    reason: str
    expires: datetime

    def as_record(self) -> dict[str, str]:
        """Return what blessing.json holds of it."""
        return {"by": self.by, "reason": self.reason, "expires": self.expires.isoformat()}


@dataclass(frozen=True)
class Blessing(Verdict):
    """What blessing.json says: the evaluator's own verdict, and who blessed against it.

    `model_digest` is None where predictions were evaluated alone.

    Attributes:
        forced: Set where somebody blessed the model all the same.
    """

    forced: Forced | None

    def stands(self, now: datetime | None = None) -> tuple[bool, str]:
        """Return whether the model may be used at `now`, and why, in one sentence or a few.

        This is the only place where a forced blessing counts: whoever reads `blessed` alone sees
        the gate's verdict, which a forced blessing leaves at false.

        Args:
            now: With a time zone; the present moment when left out.
        """
        if self.blessed or self.forced is None:
            return self.blessed, self.reason
        until = self.forced.expires.isoformat(timespec="minutes")
        if (now or datetime.now(timezone.utc)) >= self.forced.expires:
            return False, (
                f"The blessing forced by {self.forced.by} expired at {until}. {self.reason}"
            )
        return True, (
            f"Forced by {self.forced.by} until {until}: {self.forced.reason.rstrip('.')}. "
            f"The gate's verdict: {self.reason}"
        )


def read_blessing(folder: str | os.PathLike[str]) -> Blessing:
    """Read a Blessing artifact.

    Args:
        folder: The artifact's folder, with `blessing.json`.

    Raises:
        PenstockError: There is none, or it is not one.
    """
    found = read_verdict(folder, FILE, what="blessing", writer="evaluator")
    forced = found.record.get("forced")
    return Blessing(
        found.blessed,
        found.reason,
        found.model_digest,
        found.record,
        read_forced(forced) if forced else None,
    )


def read_forced(content: Mapping[str, Any]) -> Forced:
    """Return a forced blessing from `by`, `reason` and `expires` (ISO 8601, with a time zone).

    Raises:
        PenstockError: One of them is missing or empty, another is there, or the time is none.
    """
    expected = "give by, reason and expires, such as 2026-01-31T12:00:00+00:00"
    if not isinstance(content, Mapping) or set(content) != {"by", "reason", "expires"}:
        raise PenstockError(f"A forced blessing says who, why and until when; {expected}.")
    for name, value in content.items():
        if not isinstance(value, str) or not value.strip():
            raise PenstockError(f"{name} of the forced blessing is {value!r}; {expected}.")
    try:
        # Python 3.10 does not read the Z that others write for UTC.
        expires = datetime.fromisoformat(content["expires"].strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise PenstockError(
            f"expires of the forced blessing is {content['expires']!r}, which is no time in ISO "
            f"8601; {expected}."
        ) from error
    if expires.tzinfo is None:
        raise PenstockError(
            f"expires of the forced blessing is {content['expires']!r}, without a time zone; "
            f"{expected}."
        )
    return Forced(content["by"].strip(), content["reason"].strip(), expires)
