"""The runs of a store: how they start, end, go on, and what becomes of those that were killed."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from ..errors import PenstockError
from . import reading, recording
from .connected import Connected
from .json_values import plain, readable
from .models import AssociationRow, ClaimRow, ExecutionRow, ProcessRow, RunRow
from .values import ExecutionState, Run, RunState

GONE = "The process that ran it is gone."


class Runs(Connected):
    """The runs of a store."""

    def start_run(
        self,
        run_id: str,
        pipeline: str,
        spec_digest: str,
        parameters: Mapping[str, Any],
        folder: str | Path,
        *,
        properties: Mapping[str, Any] | None = None,
    ) -> Run:
        """Record that a run starts, in this process.

        Args:
            run_id: Unique in the store.
            pipeline: The pipeline's name.
            spec_digest: Digest of the compiled pipeline.
            parameters: The pipeline's parameters.
            folder: Where the run's files lie; `penstock gc` removes it.
            properties: Whatever else is worth noting.

        Raises:
            PenstockError: A run of that id is there already.
        """
        process = self._process_id()
        known = {
            "spec_digest": spec_digest,
            "parameters": plain(parameters, "A parameter"),
            "properties": plain(properties or {}, "A property"),
            "folder": str(folder),
        }
        with self.writing() as session:
            if session.scalars(select(RunRow.run_id).filter_by(run_id=run_id)).first():
                raise PenstockError(
                    f"The metadata store {self.name} has a run {run_id} already; resume it, or "
                    "choose another id."
                )
            recording.add_run(session, process, run_id, pipeline, **known)
            session.flush()
            return reading.runs(session, RunRow.run_id == run_id)[0]

    def resume_run(self, run_id: str) -> Run:
        """Record that a run goes on, in this process.

        Executions that its earlier process left running are recorded as failed.

        Raises:
            PenstockError: There is no such run, or a living process is still at it.
        """
        process = self._process_id()
        with self.writing() as session:
            row = recording.run_row(session, run_id)
            if row.state == RunState.RUNNING.value and row.process_id != process:
                owner = session.get_one(ProcessRow, row.process_id)
                if reading.living(session, [owner.id]):
                    raise PenstockError(
                        f"Run {run_id} is still being run by {reading.identity(owner)}; wait "
                        "until it ends, or stop it."
                    )
            unfinished = _executions_of(row)
            recording.cancel_running(
                session, session.scalars(unfinished), ExecutionState.FAILED, GONE
            )
            row.state, row.error, row.end_time_since_epoch = RunState.RUNNING.value, None, None
            row.process_id = process
            session.flush()
            return reading.runs(session, RunRow.run_id == run_id)[0]

    def finish_run(self, run_id: str, state: RunState, error: str | None = None) -> None:
        """Record how a run ended. What it left running is recorded as canceled.

        Args:
            run_id: Which.
            state: `COMPLETE`, `FAILED` or `CANCELED`.
            error: Why, in one sentence.
        """
        with self.writing() as session:
            row = recording.run_row(session, run_id)
            recording.cancel_running(
                session,
                session.scalars(_executions_of(row)),
                ExecutionState.CANCELED,
                "The run ended before it did.",
            )
            row.state = RunState(state).value
            row.error = None if error is None else readable(error)
            row.end_time_since_epoch = max(reading.now_ms(session), row.create_time_since_epoch)

    def recover(self) -> list[str]:
        """Record as failed whatever is recorded as running in a process that is gone.

        Returns:
            The runs that had been left so; each can be resumed.
        """
        running = ExecutionState.RUNNING.value
        with self.writing() as session:
            runs = session.scalars(select(RunRow).filter_by(state=running)).all()
            steps = session.execute(
                select(ExecutionRow.id, ExecutionRow.process_id).filter_by(last_known_state=running)
            ).all()
            claims = session.scalars(select(ClaimRow)).all()
            owners = [row.process_id for rows in (runs, steps, claims) for row in rows]
            alive = reading.living(session, owners)
            dead = [row.id for row in steps if row.process_id not in alive]
            recording.cancel_running(session, dead, ExecutionState.FAILED, GONE)
            for claim in claims:
                if claim.process_id not in alive:
                    session.delete(claim)
            left = [row for row in runs if row.process_id not in alive]
            for row in left:
                row.state, row.error = RunState.FAILED.value, GONE
                row.end_time_since_epoch = max(reading.now_ms(session), row.create_time_since_epoch)
            return [row.run_id for row in left]

    def runs(self, pipeline: str | None = None, limit: int | None = None) -> list[Run]:
        """Return the runs, the newest first.

        Args:
            pipeline: Of this pipeline alone.
            limit: At most so many.
        """
        where = () if pipeline is None else (RunRow.pipeline == pipeline,)
        with self.reading() as session:
            return reading.runs(session, *where, limit=limit)

    def run(self, run_id: str) -> Run:
        """Return a run.

        Args:
            run_id: Its id, the beginning of it that no other has, or `latest`.

        Raises:
            PenstockError: There is none, or several begin so.
        """
        with self.reading() as session:
            if run_id == "latest":
                found = reading.runs(session, limit=1)
            else:
                found = reading.runs(session, RunRow.run_id == run_id) or reading.runs(
                    session, RunRow.run_id.startswith(run_id, autoescape=True), limit=5
                )
        if len(found) > 1:
            names = ", ".join(run.id for run in found)
            raise PenstockError(f"Several runs begin with {run_id}: {names}; write more of it.")
        if not found:
            raise PenstockError(
                f"The metadata store {self.name} knows no run {run_id}; see `penstock runs list`."
            )
        return found[0]

    def step_counts(self, run_ids: list[str]) -> dict[str, Counter[ExecutionState]]:
        """Return, per run, how many of its executions stand how."""
        counts: dict[str, Counter[ExecutionState]] = {run_id: Counter() for run_id in run_ids}
        with self.reading() as session:
            for start in range(0, len(run_ids), reading.CHUNK):
                rows = session.execute(
                    select(RunRow.run_id, ExecutionRow.last_known_state, func.count())
                    .join(AssociationRow, AssociationRow.context_id == RunRow.context_id)
                    .join(ExecutionRow, ExecutionRow.id == AssociationRow.execution_id)
                    .where(RunRow.run_id.in_(run_ids[start : start + reading.CHUNK]))
                    .group_by(RunRow.run_id, ExecutionRow.last_known_state)
                )
                for run_id, state, count in rows:
                    counts[run_id][ExecutionState(state)] = count
        return counts


def _executions_of(run: RunRow) -> Any:
    return select(AssociationRow.execution_id).filter_by(context_id=run.context_id)
