"""The blessing policy: how the thresholds of the EvalConfig decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...schemas.policy import checked_policy

SCHEMA = "blessing_policy.schema.json"


@dataclass(frozen=True)
class Policy:
    """A policy that has been checked; docs/evaluation.md says what each key does."""

    mode: str = "point"
    confidence: float = 0.95
    slices: str = "proven"
    min_slice_size: int = 0
    small_slices: str = "fail"
    first_model: str = "value_thresholds"

    @property
    def confident(self) -> bool:
        """Whether intervals decide."""
        return self.mode == "confident"

    def as_record(self) -> dict[str, Any]:
        """Return what blessing.json holds of it."""
        return asdict(self)


def read_policy(content: Mapping[str, Any] | str | None) -> Policy:
    """Check a policy.

    Args:
        content: The policy as a mapping, or as YAML or JSON text; empty for the defaults.

    Raises:
        PenstockError: It is not one, with the place and what is expected there.
    """
    found = checked_policy(content, SCHEMA, "blessing policy", "mode: confident")
    # Kubeflow hands numbers in dictionaries on as floats.
    whole = {"min_slice_size": int(found.get("min_slice_size", 0))}
    return Policy(**{**found, **whole})
