"""From rows to values."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import islice

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.orm import Session

from .models import INPUT, ArtifactRow, AssociationRow, EventRow, ExecutionRow, ProcessRow, RunRow
from .process import Process, is_alive
from .values import Artifact, ArtifactState, Execution, ExecutionState, Run, RunState

# Below the number of variables that any SQLite allows in one statement.
CHUNK = 900


def now_ms(session: Session) -> int:
    """Return the time in milliseconds, by the clock that all users of the store share."""
    clock = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    if session.get_bind().dialect.name == "postgresql":
        return int(session.execute(text(clock)).scalar_one())
    return int(datetime.now(timezone.utc).timestamp() * 1000)


def moment(milliseconds: int) -> datetime:
    """Return a time of the store as a datetime in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """Yield `ids` in lists short enough for one statement."""
    waiting = iter(ids)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk


def artifact_of(row: ArtifactRow) -> Artifact:
    """Return an artifact's value."""
    return Artifact(
        uri=row.uri,
        type=row.type,
        name=row.name,
        digest=row.digest,
        metadata=row.properties,
        id=row.id,
        state=ArtifactState(row.state),
        created=moment(row.create_time_since_epoch),
    )


def artifacts(session: Session, ids: Iterable[int]) -> dict[int, Artifact]:
    """Return artifacts by id."""
    return {
        row.id: artifact_of(row)
        for chunk in chunks(ids)
        for row in session.scalars(select(ArtifactRow).where(ArtifactRow.id.in_(chunk)))
    }


def living(session: Session, process_ids: Iterable[int]) -> set[int]:
    """Return which of these processes still live."""
    now = now_ms(session)
    rows = (
        row
        for chunk in chunks(sorted(set(process_ids)))
        for row in session.scalars(select(ProcessRow).where(ProcessRow.id.in_(chunk)))
    )
    return {row.id for row in rows if is_alive(identity(row), now - row.heartbeat_time_since_epoch)}


def identity(row: ProcessRow) -> Process:
    """Return who a process is."""
    return Process(row.host, row.boot_id, row.pid_namespace, row.pid, row.start_ticks)


def runs(session: Session, *where: ColumnElement[bool], limit: int | None = None) -> list[Run]:
    """Return runs, the newest first."""
    order = (RunRow.create_time_since_epoch.desc(), RunRow.context_id.desc())
    rows = session.scalars(select(RunRow).where(*where).order_by(*order).limit(limit)).all()
    alive = living(session, {r.process_id for r in rows if r.state == RunState.RUNNING.value})
    return [
        Run(
            id=row.run_id,
            pipeline=row.pipeline,
            state=RunState(row.state),
            spec_digest=row.spec_digest,
            parameters=row.parameters,
            properties=row.properties,
            folder=row.folder,
            error=row.error,
            started=moment(row.create_time_since_epoch),
            ended=None if row.end_time_since_epoch is None else moment(row.end_time_since_epoch),
            lost=row.state == RunState.RUNNING.value and row.process_id not in alive,
        )
        for row in rows
    ]


def executions(session: Session, *where: ColumnElement[bool]) -> list[Execution]:
    """Return executions with what they consumed and produced, the earliest first."""
    found = session.execute(
        select(ExecutionRow, RunRow.run_id, RunRow.pipeline)
        .join(AssociationRow, AssociationRow.execution_id == ExecutionRow.id)
        .join(RunRow, RunRow.context_id == AssociationRow.context_id)
        .where(*where)
        .order_by(ExecutionRow.id)
    ).all()
    running = ExecutionState.RUNNING.value
    alive = living(session, {r.process_id for r, _, _ in found if r.last_known_state == running})
    events = _events(session, [row.id for row, _, _ in found])
    known = artifacts(session, sorted({event.artifact_id for event in events}))
    inputs: dict[int, dict[str, list[Artifact]]] = {}
    outputs: dict[int, dict[str, list[Artifact]]] = {}
    for event in events:
        side = inputs if event.type == INPUT else outputs
        named = side.setdefault(event.execution_id, {}).setdefault(event.name, [])
        named.append(known[event.artifact_id])
    return [
        Execution(
            id=row.id,
            run_id=run_id,
            pipeline=pipeline,
            task=row.name,
            component=row.type,
            state=ExecutionState(row.last_known_state),
            cache_key=row.cache_key,
            key_parts=row.key_parts,
            parameters=row.parameters,
            inputs={name: tuple(found) for name, found in inputs.get(row.id, {}).items()},
            outputs={name: tuple(found) for name, found in outputs.get(row.id, {}).items()},
            output_parameters=row.output_parameters,
            properties=row.properties,
            error=row.error,
            started=moment(row.create_time_since_epoch),
            ended=None if row.end_time_since_epoch is None else moment(row.end_time_since_epoch),
            lost=row.last_known_state == running and row.process_id not in alive,
        )
        for row, run_id, pipeline in found
    ]


def _events(session: Session, execution_ids: Sequence[int]) -> list[EventRow]:
    return [
        event
        for chunk in chunks(execution_ids)
        for event in session.scalars(
            select(EventRow)
            .where(EventRow.execution_id.in_(chunk))
            .order_by(EventRow.execution_id, EventRow.type, EventRow.name, EventRow.position)
        )
    ]
