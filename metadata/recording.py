"""From values to rows; each function is part of one of the store's transactions."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..errors import PenstockError
from .json_values import plain, readable
from .models import (
    INPUT,
    OUTPUT,
    PIPELINE,
    PIPELINE_RUN,
    ArtifactRow,
    AssociationRow,
    AttributionRow,
    ContextRow,
    EventRow,
    ExecutionRow,
    ParentContextRow,
    RunRow,
    Table,
)
from .reading import artifact_of, now_ms
from .values import Artifact, Artifacts, ArtifactState, ExecutionState, RunState

LINK_LOCK = 7_305_421  # any number that nobody else locks


class ArtifactGone(PenstockError):
    """An artifact that was to be used has been deleted, or is about to be."""


def linking(session: Session, *, alone: bool = False) -> None:
    """Keep out, until the transaction ends, whoever marks artifacts for deletion.

    Without it an artifact could be linked after it was found to be unused and before it is marked.
    SQLite has one writer at a time in any case.

    Args:
        session: In a write transaction.
        alone: For the one who marks: keep out everyone who links.
    """
    if session.get_bind().dialect.name == "postgresql":
        kind = "" if alone else "_shared"
        session.execute(text(f"SELECT pg_advisory_xact_lock{kind}({LINK_LOCK})"))


def add_unless_there(session: Session, table: type[Table], **values: Any) -> bool:
    """Add a row unless its key is taken; return whether it was added."""
    dialect = session.get_bind().dialect.name
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement: Insert = insert(table).values(**values).on_conflict_do_nothing()
    counted = session.connection().execute(statement, execution_options={"preserve_rowcount": True})
    return bool(counted.rowcount == 1)


def context_id(session: Session, kind: str, name: str) -> int:
    """Return the id of the context of a type and name; it is made if there is none."""
    values = {"type": kind, "name": name}
    add_unless_there(session, ContextRow, **values, create_time_since_epoch=now_ms(session))
    return session.scalars(select(ContextRow.id).filter_by(**values)).one()


def add_run(session: Session, process_id: int, run_id: str, pipeline: str, **known: Any) -> None:
    """Add a run that starts now, with its context in the pipeline's."""
    parent = context_id(session, PIPELINE, pipeline)
    own = context_id(session, PIPELINE_RUN, run_id)
    session.add(ParentContextRow(context_id=own, parent_context_id=parent))
    session.add(
        RunRow(
            context_id=own,
            run_id=run_id,
            pipeline=pipeline,
            state=RunState.RUNNING.value,
            process_id=process_id,
            create_time_since_epoch=now_ms(session),
            **known,
        )
    )


def run_row(session: Session, run_id: str) -> RunRow:
    """Return a run's row, locked until the transaction ends.

    Raises:
        PenstockError: There is none.
    """
    statement = select(RunRow).where(RunRow.run_id == run_id).with_for_update()
    row = session.scalars(statement).one_or_none()
    if row is None:
        raise PenstockError(f"The metadata store knows no run {run_id}; see `penstock runs list`.")
    return row


def add_execution(
    session: Session,
    process_id: int,
    run: RunRow,
    *,
    task: str,
    component: str,
    cache_key: str | None,
    key_parts: Mapping[str, Any],
    parameters: Mapping[str, Any],
    inputs: Artifacts,
    properties: Mapping[str, Any],
) -> ExecutionRow:
    """Add an execution that starts now, with what it consumes."""
    linking(session)
    row = ExecutionRow(
        type=component,
        name=task,
        last_known_state=ExecutionState.RUNNING.value,
        cache_key=cache_key,
        key_parts=plain(key_parts, f"A key part of {task}"),
        parameters=plain(parameters, f"A parameter of {task}"),
        output_parameters={},
        properties=plain(properties, f"A property of {task}"),
        output_count=0,
        process_id=process_id,
        create_time_since_epoch=now_ms(session),
    )
    session.add(row)
    session.flush()
    session.add(AssociationRow(context_id=run.context_id, execution_id=row.id))
    for name, given in inputs.items():
        for position, artifact in enumerate(given):
            known = _same(session, artifact) if artifact.id is None else artifact
            _link(session, row, INPUT, name, position, known or artifact)
    return row


def end_execution(
    session: Session,
    row: ExecutionRow,
    context: int,
    state: ExecutionState,
    *,
    outputs: Artifacts,
    parameters: Mapping[str, Any],
    properties: Mapping[str, Any],
    error: str | None,
) -> dict[str, tuple[Artifact, ...]]:
    """Record how an execution ended, with what it produced; return that with its ids."""
    linking(session)
    recorded: dict[str, tuple[Artifact, ...]] = {}
    for name, made in outputs.items():
        recorded[name] = tuple(
            _link(session, row, OUTPUT, name, position, artifact)
            for position, artifact in enumerate(made)
        )
    produced = {artifact.id for artifacts in recorded.values() for artifact in artifacts}
    for artifact_id in sorted(id for id in produced if id is not None):
        add_unless_there(session, AttributionRow, context_id=context, artifact_id=artifact_id)
    row.last_known_state = state.value
    row.output_count = sum(len(artifacts) for artifacts in recorded.values())
    row.output_parameters = plain(parameters, f"An output parameter of {row.name}")
    if properties:
        row.properties = {**row.properties, **plain(properties, f"A property of {row.name}")}
    row.error = None if error is None else readable(error)
    row.end_time_since_epoch = max(now_ms(session), row.create_time_since_epoch)
    return recorded


def _link(
    session: Session, row: ExecutionRow, kind: str, name: str, position: int, artifact: Artifact
) -> Artifact:
    if artifact.id is None:
        if kind == OUTPUT and artifact.digest is not None:
            _overwritten(session, artifact)
        linked = _new(session, artifact)
    else:
        found = session.get(ArtifactRow, artifact.id, populate_existing=True)
        if found is None or found.state != ArtifactState.LIVE.value:
            raise ArtifactGone(
                f"{artifact.uri}, {kind.lower()} {name} of {row.name}, has been deleted by "
                "`penstock gc`; run the step that makes it again."
            )
        linked = artifact_of(found)
    event = EventRow(
        artifact_id=linked.id,
        execution_id=row.id,
        type=kind,
        name=name,
        position=position,
        time_since_epoch=now_ms(session),
    )
    session.add(event)
    return linked


def _new(session: Session, artifact: Artifact) -> Artifact:
    now = now_ms(session)
    row = ArtifactRow(
        type=artifact.type,
        name=readable(artifact.name),
        uri=readable(artifact.uri),
        state=ArtifactState.LIVE.value,
        digest=artifact.digest,
        properties=plain(artifact.metadata, f"The metadata of {artifact.uri}"),
        create_time_since_epoch=now,
        last_update_time_since_epoch=now,
    )
    session.add(row)
    session.flush()
    return artifact_of(row)


def _same(session: Session, artifact: Artifact) -> Artifact | None:
    """Return the newest artifact that is known to lie there with the same content."""
    row = session.scalars(
        select(ArtifactRow)
        .where(
            ArtifactRow.uri == artifact.uri,
            ArtifactRow.digest == artifact.digest
            if artifact.digest is not None
            else ArtifactRow.digest.is_(None),
            ArtifactRow.state == ArtifactState.LIVE.value,
        )
        .order_by(ArtifactRow.id.desc())
        .limit(1)
    ).one_or_none()
    return artifact_of(row) if row else None


def _overwritten(session: Session, artifact: Artifact) -> None:
    """Note that other content which lay at the same place is no more."""
    session.execute(
        update(ArtifactRow)
        .where(
            ArtifactRow.uri == artifact.uri,
            ArtifactRow.state != ArtifactState.DELETED.value,
            ArtifactRow.digest != artifact.digest,
        )
        .values(state=ArtifactState.DELETED.value, last_update_time_since_epoch=now_ms(session))
    )


def cancel_running(
    session: Session, execution_ids: Iterable[int], state: ExecutionState, error: str
) -> None:
    """End executions that will not end by themselves."""
    session.execute(
        update(ExecutionRow)
        .where(
            ExecutionRow.id.in_(list(execution_ids)),
            ExecutionRow.last_known_state == ExecutionState.RUNNING.value,
        )
        .values(last_known_state=state.value, error=error, end_time_since_epoch=now_ms(session))
    )
