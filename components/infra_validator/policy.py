"""The policy of infra_validator: budgets, and what wild rows may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...schemas.policy import checked_policy

SCHEMA = "infra_policy.schema.json"
# A row that the schema allows must be answered.
WILD = {
    "missing_optional": "answer",
    "unseen_category": "answer_or_refuse",
    "nan": "answer_or_refuse",
    "empty_string": "answer_or_refuse",
    "long_string": "answer_or_refuse",
}


@dataclass(frozen=True)
class Batch:
    """Rows per request, and the budgets of the median and the 99th percentile, if there are any."""

    rows: int
    p50_ms: float | None = None
    p99_ms: float | None = None


BATCHES = (Batch(1, 250.0, 1000.0), Batch(32, 500.0, 2000.0), Batch(1024, 2000.0, 5000.0))


@dataclass(frozen=True)
class Policy:
    """A policy that has been checked; the README says what each key does."""

    signatures: tuple[str, ...] = ()
    output: str = ""
    batches: tuple[Batch, ...] = BATCHES
    startup_seconds: float = 180.0
    peak_memory_mib: float = 4096.0
    timeout_seconds: float = 600.0
    tolerance: float | None = None
    threads: int = 8
    wild: Mapping[str, str] = field(default_factory=lambda: dict(WILD))

    @property
    def rows(self) -> int:
        """Rows of the largest request."""
        return max(batch.rows for batch in self.batches)

    def batch(self, rows: int) -> Batch:
        """Return the budgets of requests with so many rows."""
        return next(batch for batch in self.batches if batch.rows == rows)

    def as_record(self) -> dict[str, Any]:
        """Return what infra_blessing.json holds of it."""
        return asdict(self)


def read_policy(content: Mapping[str, Any] | str | None) -> Policy:
    """Check a policy.

    Args:
        content: The policy as a mapping, or as YAML or JSON text; empty for the defaults.

    Raises:
        PenstockError: It is not one, with the place and what is expected there.
    """
    found = checked_policy(content, SCHEMA, "infra policy", "startup_seconds: 30")
    if "signatures" in found:
        found["signatures"] = tuple(found["signatures"])
    if "batches" in found:
        # Kubeflow hands numbers in dictionaries on as floats.
        by_rows = {int(each["rows"]): each for each in found["batches"]}
        found["batches"] = tuple(
            Batch(rows, each.get("p50_ms"), each.get("p99_ms"))
            for rows, each in sorted(by_rows.items())
        )
    if "threads" in found:
        found["threads"] = int(found["threads"])
    return Policy(**found | {"wild": {**WILD, **found.get("wild", {})}})
