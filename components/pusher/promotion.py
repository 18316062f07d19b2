"""What the registry is told of a push."""

from __future__ import annotations

from dataclasses import dataclass

from ...registry.connection import Registry
from ...registry.deployments import OvertakenError, entries, standing
from ...registry.promotion import ALIASES, challenge, promote
from ...registry.versions import Version
from ...registry.versions import versions as registered_versions


@dataclass(frozen=True)
class Promotion:
    """A version of the registry that is about to be served.

    Attributes:
        registry: The registry.
        version: The version.
        by: Who does it.
        why: Why.
    """

    registry: Registry
    version: Version
    by: str
    why: str

    @property
    def reason(self) -> str:
        """Say what it comes to."""
        return f"Version {self.version.number} of {self.version.product} is champion."

    def carry_out(self, where: str, *, on_trial: bool = False) -> str:
        """Make the version champion, or challenger; that it is blessed has been seen to.

        A pusher decides on nothing that others could have changed, so it does not give way to them.

        Returns:
            What it came to, in words.
        """
        product, number = self.version.product, self.version.number
        while True:
            try:
                if on_trial:
                    challenge(self.registry, product, number, by=self.by, why=self.why, where=where)
                    return f"Version {number} of {product} is challenger."
                promote(
                    self.registry,
                    product,
                    number,
                    by=self.by,
                    why=self.why,
                    where=where,
                    allow_unblessed=True,
                )
                return self.reason
            except OvertakenError:
                continue

    def needed(self) -> set[str]:
        """Return the digests of the versions that an alias points to."""
        now = standing(entries(self.registry, self.version.product))
        numbers = {getattr(now, alias) for alias in ALIASES}
        return {
            one.digest
            for one in registered_versions(self.registry, self.version.product)
            if one.number in numbers
        }
