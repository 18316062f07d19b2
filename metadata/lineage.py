"""Where an artifact came from, and what it led to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Integer, and_, cast, func, literal, select
from sqlalchemy.orm import Session, aliased

from . import reading
from .connected import Connected
from .models import INPUT, OUTPUT, AssociationRow, EventRow, ExecutionRow, RunRow
from .values import Artifact, ExecutionState

LIMIT = 1000
VISITS = 5  # how often one artifact may be come upon, by ways of different length
COMPLETE, CACHED = ExecutionState.COMPLETE.value, ExecutionState.CACHED.value


@dataclass(frozen=True)
class Step:
    """An execution, as lineage shows it.

    Attributes:
        id: The store's number.
        run_id: The run it belongs to.
        pipeline: That run's pipeline.
        task: The step's path in the pipeline.
        component: What was executed.
        state: How it stands.
        inputs: Ids of the artifacts it consumed, by input name and position.
        outputs: Ids of the artifacts it produced.
    """

    id: int
    run_id: str
    pipeline: str
    task: str
    component: str
    state: ExecutionState
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Lineage:
    """What is connected to an artifact.

    Attributes:
        artifact: The artifact in question.
        artifacts: All artifacts concerned, by id.
        origins: The steps it came from, directly or by others; each artifact has one at most.
        uses: The steps that it led to, directly or by others.
        repeated: How many cached steps repeat one of `uses`, and are left out.
        truncated: There is more than the depth or the limit allows; what is nearest is here.
    """

    artifact: Artifact
    artifacts: Mapping[int, Artifact]
    origins: tuple[Step, ...]
    uses: tuple[Step, ...]
    repeated: int
    truncated: bool

    def maker(self, artifact_id: int) -> Step | None:
        """Return the step among the origins that made an artifact."""
        return next((step for step in self.origins if artifact_id in step.outputs), None)

    def users(self, artifact_id: int) -> list[Step]:
        """Return the steps among the uses that consumed an artifact."""
        return [step for step in self.uses if artifact_id in step.inputs]


def lineage(
    store: Connected, artifact: Artifact, *, depth: int | None = None, limit: int = LIMIT
) -> Lineage:
    """Return what an artifact came from and what it led to.

    An artifact comes from the execution that first produced it. It leads to every execution that
    consumed it and completed, was found in the cache, or failed; a cached execution that only
    repeats a complete one is counted, not listed.

    Args:
        store: Where to look.
        artifact: One of the store's.
        depth: How many steps to go in each direction; None for all.
        limit: How many artifacts and steps to visit in each direction at most, the nearest first.
    """
    if artifact.id is None:
        raise ValueError("the artifact has no id: it is not from a store")
    with store.reading() as session:
        up, more_up = _reached(session, _upward(artifact.id, depth), limit)
        down, more_down = _reached(session, _downward(artifact.id, depth), limit)
        consumers, more_consumers = _consumers(session, down, limit)
        origins = _steps(session, _makers(session, up))
        uses, repeated = _without_repetitions(_steps(session, consumers), frozenset(down))
        origins, beyond_origins = _within(origins, artifact.id, depth, upward=True)
        uses, beyond_uses = _within(uses, artifact.id, depth, upward=False)
        shown = {id for step in (*origins, *uses) for id in (*step.inputs, *step.outputs)}
        known = reading.artifacts(session, sorted(shown | {artifact.id}))
    return Lineage(
        artifact=known[artifact.id],
        artifacts=known,
        origins=tuple(origins),
        uses=tuple(uses),
        repeated=repeated,
        truncated=more_up or more_down or more_consumers or beyond_origins or beyond_uses,
    )


def _first_output(artifact_id: Any) -> Any:
    """Return the query for the event by which an artifact came to be; later ones are reuse."""
    other = aliased(EventRow)
    return (
        select(func.min(other.id))
        .where(other.artifact_id == artifact_id, other.type == OUTPUT)
        .scalar_subquery()
    )


def _upward(artifact_id: int, depth: int | None) -> Any:
    reached = _start(artifact_id).cte("up", recursive=True)
    made, consumed = aliased(EventRow), aliased(EventRow)
    step = (
        select(consumed.artifact_id, _deeper(reached, depth))
        .select_from(reached)
        .join(made, made.id == _first_output(reached.c.id))
        .join(consumed, and_(consumed.execution_id == made.execution_id, consumed.type == INPUT))
    )
    reached = reached.union(step if depth is None else step.where(reached.c.depth < depth))
    return select(reached.c.id)


def _downward(artifact_id: int, depth: int | None) -> Any:
    reached = _start(artifact_id).cte("down", recursive=True)
    made, consumed = aliased(EventRow), aliased(EventRow)
    step = (
        select(made.artifact_id, _deeper(reached, depth))
        .select_from(reached)
        .join(consumed, and_(consumed.artifact_id == reached.c.id, consumed.type == INPUT))
        .join(made, and_(made.execution_id == consumed.execution_id, made.type == OUTPUT))
    )
    reached = reached.union(step if depth is None else step.where(reached.c.depth < depth))
    return select(reached.c.id)


def _start(artifact_id: int) -> Any:
    return select(
        cast(literal(artifact_id), BigInteger).label("id"), literal(0, Integer).label("depth")
    )


def _deeper(reached: Any, depth: int | None) -> Any:
    """Return the distance to record: without a limit none, so that each artifact comes once."""
    return literal(0, Integer) if depth is None else reached.c.depth + 1


def _reached(session: Session, query: Any, limit: int) -> tuple[list[int], bool]:
    """Return the artifacts that a recursion reaches, the nearest first, and whether it had more.

    With a depth one artifact may come several times, at several distances.
    """
    ids = list(session.scalars(query.limit(VISITS * limit)))
    distinct = list(dict.fromkeys(ids))
    return distinct[:limit], len(distinct) > limit or len(ids) == VISITS * limit


def _makers(session: Session, artifact_ids: Iterable[int]) -> list[int]:
    return [
        execution_id
        for chunk in reading.chunks(artifact_ids)
        for execution_id in session.scalars(
            select(EventRow.execution_id).where(
                EventRow.id.in_(
                    select(func.min(EventRow.id))
                    .where(EventRow.artifact_id.in_(chunk), EventRow.type == OUTPUT)
                    .group_by(EventRow.artifact_id)
                )
            )
        )
    ]


def _consumers(session: Session, artifact_ids: Iterable[int], limit: int) -> tuple[list[int], bool]:
    found: list[int] = []
    for chunk in reading.chunks(artifact_ids):
        found += session.scalars(
            select(EventRow.execution_id)
            .where(EventRow.artifact_id.in_(chunk), EventRow.type == INPUT)
            .distinct()
            .limit(limit + 1 - len(found))
        )
        if len(found) > limit:
            return found[:limit], True
    return found, False


def _steps(session: Session, execution_ids: Iterable[int]) -> list[Step]:
    inputs: dict[int, list[int]] = defaultdict(list)
    outputs: dict[int, list[int]] = defaultdict(list)
    found: list[Any] = []
    for chunk in reading.chunks(sorted(set(execution_ids))):
        events = session.execute(
            select(EventRow.execution_id, EventRow.type, EventRow.artifact_id)
            .where(EventRow.execution_id.in_(chunk))
            .order_by(EventRow.execution_id, EventRow.type, EventRow.name, EventRow.position)
        )
        for execution_id, kind, artifact_id in events:
            (inputs if kind == INPUT else outputs)[execution_id].append(artifact_id)
        found += session.execute(
            select(
                ExecutionRow.id,
                RunRow.run_id,
                RunRow.pipeline,
                ExecutionRow.name,
                ExecutionRow.type,
                ExecutionRow.last_known_state,
            )
            .join(AssociationRow, AssociationRow.execution_id == ExecutionRow.id)
            .join(RunRow, RunRow.context_id == AssociationRow.context_id)
            .where(ExecutionRow.id.in_(chunk))
            .order_by(ExecutionRow.id)
        ).all()
    return [
        Step(id, run, pipeline, task, kind, ExecutionState(state), *map(tuple, sides))
        for id, run, pipeline, task, kind, state in found
        for sides in [(inputs[id], outputs[id])]
    ]


def _without_repetitions(steps: list[Step], concerned: frozenset[int]) -> tuple[list[Step], int]:
    """Leave out each cached step whose outputs are known to come from the same inputs."""
    complete = [step for step in steps if step.state.value == COMPLETE]
    makers: dict[int, list[frozenset[int]]] = defaultdict(list)
    for step in complete:
        for artifact_id in step.outputs:
            makers[artifact_id].append(frozenset(step.inputs))
    kept = []
    for step in steps:
        from_here = concerned.intersection(step.inputs)
        repeats = step.state.value == CACHED and all(
            any(from_here <= inputs for inputs in makers[artifact_id])
            for artifact_id in step.outputs
        )
        if not repeats:
            kept.append(step)
    return kept, len(steps) - len(kept)


def _within(
    steps: list[Step], start: int, depth: int | None, *, upward: bool
) -> tuple[list[Step], bool]:
    """Return the steps at most `depth` away, the nearest first, and whether there are more."""
    by_artifact: dict[int, list[Step]] = defaultdict(list)
    for step in steps:
        for artifact_id in step.outputs if upward else step.inputs:
            by_artifact[artifact_id].append(step)
    seen, ordered, front, distance = {start}, {}, [start], 0
    while front and (depth is None or distance < depth):
        distance += 1
        reached = {step.id: step for artifact_id in front for step in by_artifact[artifact_id]}
        ordered.update({id: step for id, step in reached.items() if id not in ordered})
        beyond = [
            artifact_id
            for step in reached.values()
            for artifact_id in (step.inputs if upward else step.outputs)
        ]
        front = [id for id in dict.fromkeys(beyond) if id not in seen]
        seen.update(front)
    return list(ordered.values()), any(by_artifact[artifact_id] for artifact_id in front)
