"""The cache: earlier executions by key, and the right to compute a key that has none."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select, update

from . import reading, recording
from .connected import Connected
from .json_values import plain
from .models import ClaimRow, ExecutionRow
from .values import ArtifactState, Claim, Execution, ExecutionState

NEAR = 300  # earlier executions to look at for the nearest one
CANDIDATES = 20  # earlier executions of one cache key to look at


class Cache(Connected):
    """Finds earlier executions, and lets one process at a time compute a key."""

    def find_cached(self, cache_key: str) -> Execution | None:
        """Return the newest complete execution of a key whose artifacts have not been deleted.

        Whether the files are there and unaltered is for the caller to see: their digests tell.
        """
        with self.reading() as session:
            newest = session.scalars(
                select(ExecutionRow.id)
                .filter_by(cache_key=cache_key, last_known_state=ExecutionState.COMPLETE.value)
                .order_by(ExecutionRow.id.desc())
                .limit(CANDIDATES)
            ).all()
            for execution_id in newest:
                (found,) = reading.executions(session, ExecutionRow.id == execution_id)
                artifacts = [a for named in found.outputs.values() for a in named]
                if all(artifact.state is ArtifactState.LIVE for artifact in artifacts):
                    return found
        return None

    def nearest(self, component: str, key_parts: Mapping[str, Any]) -> Execution | None:
        """Return the complete execution of a component that shares most ingredients of a key.

        Among equals the newest; None when the component was never executed. Only the last few
        hundred executions are looked at.
        """
        wanted = plain(key_parts, "A key part")
        with self.reading() as session:
            rows = session.execute(
                select(ExecutionRow.id, ExecutionRow.key_parts)
                .filter_by(type=component, last_known_state=ExecutionState.COMPLETE.value)
                .order_by(ExecutionRow.id.desc())
                .limit(NEAR)
            ).all()
            if not rows:
                return None

            def shared(parts: Mapping[str, Any]) -> int:
                return sum(name in parts and parts[name] == wanted[name] for name in wanted)

            nearest = max(rows, key=lambda row: shared(row.key_parts))
            return reading.executions(session, ExecutionRow.id == nearest.id)[0]

    def claim(self, cache_key: str, owner: str) -> Claim | None:
        """Claim the right to compute what a key stands for; None while a living process has it.

        After a claim, look again with `find_cached`: another may just have finished. A claim ends
        with `finish_execution(..., claim=claim)`, with `release`, or with its process.

        Args:
            cache_key: The key.
            owner: Who asks, for people, such as run and step.
        """
        process = self._process_id()
        claim = Claim(cache_key, uuid.uuid4().hex)
        with self.writing() as session:
            fresh = {
                "token": claim.token,
                "owner": owner,
                "process_id": process,
                "create_time_since_epoch": reading.now_ms(session),
            }
            if recording.add_unless_there(session, ClaimRow, cache_key=cache_key, **fresh):
                return claim
            held = session.get(ClaimRow, cache_key, with_for_update=True)
            if held is None or reading.living(session, [held.process_id]):
                return None
            session.execute(
                update(ClaimRow).filter_by(cache_key=cache_key, token=held.token).values(**fresh)
            )
            return claim

    def claimed_by(self, cache_key: str) -> str | None:
        """Return who computes a key at the moment, for people; None when nobody does."""
        with self.reading() as session:
            held = session.get(ClaimRow, cache_key)
            return None if held is None else held.owner

    def release(self, claim: Claim) -> None:
        """Let go of a claim. It is no error when it is gone already."""
        with self.writing() as session:
            session.execute(delete(ClaimRow).filter_by(**asdict(claim)))
