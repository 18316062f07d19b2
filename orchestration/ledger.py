"""The runner's side of the metadata store: what a run writes, and what it finds of earlier ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..metadata import values as md
from ..metadata.store import ArtifactGone, Store
from .cache import changes
from .copies import Copies
from .pipeline_root import in_store
from .report import State, StepReport
from .values import Artifact, Values

ENDED = {
    State.SUCCEEDED: md.ExecutionState.COMPLETE,
    State.CACHED: md.ExecutionState.CACHED,
    State.FAILED: md.ExecutionState.FAILED,
}


@dataclass(frozen=True)
class Ticket:
    """A step that has started, as the store knows it."""

    execution: int
    claim: md.Claim | None


@dataclass(frozen=True)
class Sought:
    """What a step is looked up by.

    Attributes:
        component: What is executed, for people.
        parts: The cache key's ingredients; empty when the step is not cached.
        key: The cache key; None when the step is not cached.
    """

    component: str
    parts: Mapping[str, str]
    key: str | None


class Ledger:
    """Writes one run into a store. Several threads may use it."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        copies: Copies,
        *,
        shared: bool = False,
        kept: Iterable[md.Execution] = (),
        taken: Iterable[md.Execution] = (),
    ) -> None:
        """Write a run.

        Args:
            store: Where.
            run_id: The run.
            copies: Of artifacts that lie elsewhere.
            shared: Find only what others can reach too, such as artifacts in object stores.
            kept: What the run did before.
            taken: What another run did that this one goes on from.
        """
        self.store = store
        self.run_id = run_id
        self._copies = copies
        self._shared = shared
        self._kept = _last_successes(kept)
        self._taken = _last_successes(taken)

    def keep(self, step: StepReport) -> StepReport | None:
        """Return a step as this run finished it before it was interrupted, if it did.

        What it was given must be the same, and its artifacts must be there unaltered.
        """
        before = self._kept.get(step.path)
        if before is None or not _same_inputs(before, step.inputs):
            return None
        found = _restored(step, before, "kept from before")
        return None if self._damage(found.outputs) else found

    def take(self, step: StepReport) -> StepReport | None:
        """Return a step as the earlier run did it, if it did."""
        before = self._taken.get(step.path)
        if before is None:
            return None
        return self._reused(_restored(step, before, f"taken from run {before.run_id}"), before)

    def look(self, step: StepReport, sought: Sought) -> tuple[StepReport | None, str]:
        """Return a step as an earlier execution did it, or None and why not."""
        if sought.key is None:
            return None, ""
        before = self.store.find_cached(sought.key)
        if before is None:
            return None, ""
        found = _restored(step, before, f"same as in run {before.run_id}")
        broken = self._damage(found.outputs)
        if broken:
            return None, f"of run {before.run_id} {broken}"
        try:
            return self._reused(found, before), ""
        except ArtifactGone as gone:
            return None, str(gone)

    def claim(self, step: StepReport, sought: Sought) -> md.Claim | None:
        """Claim to be the only one who computes this; None while another process does."""
        assert sought.key is not None
        return self.store.claim(sought.key, f"{self.run_id}/{step.path}")

    def explain(self, sought: Sought) -> tuple[str, ...]:
        """Return what differs from the nearest earlier execution."""
        before = self.store.nearest(sought.component, sought.parts)
        if before is None:
            return (f"{sought.component} was never executed",)
        return tuple(changes(before.key_parts, sought.parts)) or (
            f"the same as in run {before.run_id}, which is not cached",
        )

    def start(self, step: StepReport, sought: Sought, claim: md.Claim | None) -> Ticket:
        """Record that a step starts."""
        execution = self.store.start_execution(
            self.run_id,
            step.path,
            sought.component,
            cache_key=sought.key,
            key_parts=dict(sought.parts),
            parameters=step.inputs.parameters,
            inputs=stored(step.inputs),
            properties={"log": str(step.log), "name": step.name},
        )
        return Ticket(execution, claim)

    def finish(self, ticket: Ticket, step: StepReport) -> StepReport:
        """Record how a step ended; its artifacts come back with the store's numbers."""
        state = ENDED.get(step.state, md.ExecutionState.CANCELED)
        succeeded = step.state.is_success
        known = self.store.finish_execution(
            ticket.execution,
            state,
            outputs=stored(step.outputs) if succeeded else None,
            parameters=step.outputs.parameters if succeeded else None,
            properties={"attempts": step.attempts},
            error=step.reason or None,
            claim=ticket.claim,
        )
        return replace(step, outputs=_numbered(step.outputs, known)) if succeeded else step

    def note(self, step: StepReport) -> StepReport:
        """Record a step that took no time: imported, skipped, not taken, stopped."""
        recorded = self.store.record(
            self.run_id,
            step.path,
            step.name,
            ENDED.get(step.state, md.ExecutionState.CANCELED),
            parameters=step.inputs.parameters,
            outputs=stored(step.outputs) if step.state.is_success else None,
            properties={"name": step.name, "state": step.state.value, "cause": step.cause},
            error=step.reason or None,
        )
        return replace(step, outputs=_numbered(step.outputs, recorded.outputs))

    def _damage(self, outputs: Values) -> str:
        for artifacts in outputs.artifacts.values():
            for artifact in artifacts:
                if self._shared and not in_store(artifact.uri):
                    return f"{artifact.uri} lies on this machine alone"
                broken = self._copies.damage(artifact)
                if broken:
                    return broken
        return ""

    def _reused(self, found: StepReport, before: md.Execution) -> StepReport:
        self.store.record(
            self.run_id,
            found.path,
            before.component,
            md.ExecutionState.CACHED,
            cache_key=before.cache_key,
            key_parts=before.key_parts,
            parameters=found.inputs.parameters,
            inputs=stored(found.inputs),
            outputs=before.outputs,
            output_parameters=before.output_parameters,
            properties={"name": found.name, "of": before.run_id},
        )
        return found


def _last_successes(executions: Iterable[md.Execution]) -> dict[str, md.Execution]:
    good = (md.ExecutionState.COMPLETE, md.ExecutionState.CACHED)
    last = {execution.task: execution for execution in executions}
    return {task: execution for task, execution in last.items() if execution.state in good}


def _same_inputs(before: md.Execution, given: Values) -> bool:
    return dict(before.parameters) == given.parameters and {
        name: [artifact.digest for artifact in artifacts]
        for name, artifacts in before.inputs.items()
    } == {
        name: [artifact.digest for artifact in artifacts]
        for name, artifacts in given.artifacts.items()
    }


def _restored(step: StepReport, before: md.Execution, how: str) -> StepReport:
    outputs = Values(
        dict(before.output_parameters),
        {
            name: [
                Artifact(a.name, a.type, "0.0.1", a.uri, dict(a.metadata), a.digest, a.id)
                for a in artifacts
            ]
            for name, artifacts in before.outputs.items()
        },
    )
    return replace(
        step,
        state=State.CACHED,
        outputs=outputs,
        explanation=(how,),
        log=Path(before.properties["log"]) if "log" in before.properties else None,
    )


def stored(values: Values) -> dict[str, tuple[md.Artifact, ...]]:
    """Return the artifacts among `values` as the metadata room knows them, by name."""
    return {
        name: tuple(
            md.Artifact(
                uri=a.uri,
                type=a.schema_title,
                name=a.name,
                digest=a.digest,
                metadata=a.metadata,
                id=a.id,
            )
            for a in artifacts
        )
        for name, artifacts in values.artifacts.items()
    }


def _numbered(values: Values, recorded: Mapping[str, Any]) -> Values:
    return Values(
        values.parameters,
        {
            name: [
                replace(artifact, id=known.id)
                for artifact, known in zip(artifacts, recorded.get(name, ()), strict=True)
            ]
            for name, artifacts in values.artifacts.items()
        },
    )
