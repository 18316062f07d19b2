"""The executions of a store: each starts with what it consumes and ends with what it produced."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select

from ..errors import PenstockError
from . import reading, recording
from .connected import Connected
from .models import AssociationRow, ClaimRow, ExecutionRow, RunRow
from .values import Artifact, Artifacts, Claim, Execution, ExecutionState


class Executions(Connected):
    """The executions of a store."""

    def start_execution(
        self,
        run_id: str,
        task: str,
        component: str,
        *,
        cache_key: str | None = None,
        key_parts: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        inputs: Artifacts | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> int:
        """Record that a step starts, in this process, and what it consumes.

        Args:
            run_id: The run it belongs to.
            task: The step's path in the pipeline.
            component: What is executed.
            cache_key: What its outputs shall be found by; None when they shall not.
            key_parts: The cache key's ingredients by name.
            parameters: The input parameters.
            inputs: The input artifacts by input name. One without an id is looked up by URI and
                digest, and added when it is not known.
            properties: Whatever else is worth noting, such as the log's path.

        Returns:
            The execution's id.

        Raises:
            ArtifactGone: An input has been deleted.
        """
        process = self._process_id()
        with self.writing() as session:
            row = recording.add_execution(
                session,
                process,
                recording.run_row(session, run_id),
                task=task,
                component=component,
                cache_key=cache_key,
                key_parts=key_parts or {},
                parameters=parameters or {},
                inputs=inputs or {},
                properties=properties or {},
            )
            return row.id

    def finish_execution(
        self,
        execution_id: int,
        state: ExecutionState,
        *,
        outputs: Artifacts | None = None,
        parameters: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        error: str | None = None,
        claim: Claim | None = None,
    ) -> dict[str, tuple[Artifact, ...]]:
        """Record how a step ended, what it produced, and let go of its claim: all or nothing.

        Args:
            execution_id: Which.
            state: `COMPLETE`, `CACHED`, `FAILED` or `CANCELED`; the last two have no outputs.
            outputs: The output artifacts by output name: new ones without an id, or those of an
                earlier execution.
            parameters: The output parameters.
            properties: Added to what was noted at the start.
            error: Why, in one sentence.
            claim: The claim under which it was computed.

        Returns:
            The outputs with their ids.

        Raises:
            ArtifactGone: An output of an earlier execution has been deleted.
            PenstockError: The execution has ended already.
        """
        state = ExecutionState(state)
        _check_end(state, outputs)
        with self.writing() as session:
            row = session.get(ExecutionRow, execution_id, with_for_update=True)
            if row is None or row.last_known_state != ExecutionState.RUNNING.value:
                how = "is not in the metadata store" if row is None else "has ended already"
                raise PenstockError(
                    f"Execution {execution_id} {how}; another process took this one for dead, "
                    "run the pipeline again."
                )
            context = session.scalars(
                select(AssociationRow.context_id).filter_by(execution_id=execution_id)
            ).one()
            recorded = recording.end_execution(
                session,
                row,
                context,
                state,
                outputs=outputs or {},
                parameters=parameters or {},
                properties=properties or {},
                error=error,
            )
            if claim is not None:
                session.execute(delete(ClaimRow).filter_by(**asdict(claim)))
            return recorded

    def record(
        self,
        run_id: str,
        task: str,
        component: str,
        state: ExecutionState,
        *,
        cache_key: str | None = None,
        key_parts: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        inputs: Artifacts | None = None,
        outputs: Artifacts | None = None,
        output_parameters: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> Execution:
        """Record at once a step that took no time: cached, skipped, not taken or imported.

        Args and errors are those of `start_execution` and `finish_execution`.
        """
        state = ExecutionState(state)
        _check_end(state, outputs)
        process = self._process_id()
        with self.writing() as session:
            run = recording.run_row(session, run_id)
            row = recording.add_execution(
                session,
                process,
                run,
                task=task,
                component=component,
                cache_key=cache_key,
                key_parts=key_parts or {},
                parameters=parameters or {},
                inputs=inputs or {},
                properties=properties or {},
            )
            recording.end_execution(
                session,
                row,
                run.context_id,
                state,
                outputs=outputs or {},
                parameters=output_parameters or {},
                properties={},
                error=error,
            )
            session.flush()
            return reading.executions(session, ExecutionRow.id == row.id)[0]

    def executions(self, run_id: str) -> list[Execution]:
        """Return a run's executions, the earliest first; a resumed step has several."""
        with self.reading() as session:
            return reading.executions(session, RunRow.run_id == run_id)

    def execution(self, execution_id: int) -> Execution:
        """Return an execution.

        Raises:
            PenstockError: There is none of that id.
        """
        with self.reading() as session:
            found = reading.executions(session, ExecutionRow.id == execution_id)
        if not found:
            raise PenstockError(f"The metadata store {self.name} has no execution {execution_id}.")
        return found[0]


def _check_end(state: ExecutionState, outputs: Artifacts | None) -> None:
    if state is ExecutionState.RUNNING:
        raise ValueError("an execution does not end as RUNNING")
    if outputs and state not in (ExecutionState.COMPLETE, ExecutionState.CACHED):
        raise ValueError(f"an execution that is {state.value} has no outputs")
