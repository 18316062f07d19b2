"""What must hold in every store at every moment, whatever was killed."""

from sqlalchemy import text

from .connected import Connected
from .models import Table

# What must not be, and the query that names each case of it.
BROKEN = {
    "an execution that is in no run, or in several": """
        SELECT x.id FROM execution x LEFT JOIN association a ON a.execution_id = x.id
        LEFT JOIN run r ON r.context_id = a.context_id
        GROUP BY x.id HAVING count(r.context_id) <> 1""",
    "a run without its context in its pipeline's": """
        SELECT r.run_id FROM run r LEFT JOIN context c
        ON c.id = r.context_id AND c.type = 'system.PipelineRun' AND c.name = r.run_id
        LEFT JOIN parent_context p ON p.context_id = r.context_id
        LEFT JOIN context q
        ON q.id = p.parent_context_id AND q.type = 'system.Pipeline' AND q.name = r.pipeline
        WHERE c.id IS NULL OR q.id IS NULL""",
    "a running execution in a run that has ended": """
        SELECT x.id FROM execution x JOIN association a ON a.execution_id = x.id
        JOIN run r ON r.context_id = a.context_id
        WHERE x.last_known_state = 'RUNNING' AND r.state <> 'RUNNING'""",
    "a run whose state and end do not agree": """
        SELECT run_id FROM run WHERE (state = 'RUNNING') <> (end_time_since_epoch IS NULL)
        OR state NOT IN ('RUNNING', 'COMPLETE', 'FAILED', 'CANCELED')
        OR end_time_since_epoch < create_time_since_epoch""",
    "an execution whose state and end do not agree": """
        SELECT id FROM execution
        WHERE (last_known_state = 'RUNNING') <> (end_time_since_epoch IS NULL)
        OR last_known_state NOT IN ('RUNNING', 'COMPLETE', 'CACHED', 'FAILED', 'CANCELED')
        OR end_time_since_epoch < create_time_since_epoch""",
    "an execution that lacks some of its outputs": """
        SELECT x.id FROM execution x
        LEFT JOIN event e ON e.execution_id = x.id AND e.type = 'OUTPUT'
        GROUP BY x.id, x.output_count HAVING count(e.id) <> x.output_count""",
    "an output of an execution that did not succeed": """
        SELECT x.id FROM execution x JOIN event e ON e.execution_id = x.id
        WHERE e.type = 'OUTPUT' AND x.last_known_state NOT IN ('COMPLETE', 'CACHED')""",
    "an artifact that nothing made or used": """
        SELECT a.id FROM artifact a LEFT JOIN event e ON e.artifact_id = a.id WHERE e.id IS NULL""",
    "an artifact in an unknown state": """
        SELECT id FROM artifact WHERE state NOT IN ('LIVE', 'MARKED_FOR_DELETION', 'DELETED')""",
    "an output that was cached before it was made": """
        SELECT e.id FROM event e JOIN execution x ON x.id = e.execution_id
        WHERE e.type = 'OUTPUT' AND x.last_known_state = 'CACHED' AND NOT EXISTS (
          SELECT 1 FROM event m WHERE m.artifact_id = e.artifact_id AND m.id < e.id)""",
    "an output that is not attributed to its run": """
        SELECT e.id FROM event e JOIN association a ON a.execution_id = e.execution_id
        LEFT JOIN attribution t ON t.context_id = a.context_id AND t.artifact_id = e.artifact_id
        WHERE e.type = 'OUTPUT' AND t.artifact_id IS NULL""",
    "an event that is neither input nor output": """
        SELECT id FROM event WHERE type NOT IN ('INPUT', 'OUTPUT')""",
}


def problems(store: Connected) -> list[str]:
    """Return what is wrong with a store, a sentence each; nothing for a sound one.

    The database's own check, every reference, and what Penstock promises: an execution that is
    complete has its outputs, an artifact has events, ends agree with states.

    Args:
        store: The one to check.

    Raises:
        PenstockError: The database cannot be read at all.
    """
    found: list[str] = []
    with store.reading() as session:
        if store.engine.dialect.name == "sqlite":
            answers = session.scalars(text("PRAGMA integrity_check")).all()
            found += [f"SQLite: {answer}." for answer in answers if answer != "ok"]
        for table in Table.metadata.sorted_tables:
            for key in table.foreign_keys:
                other, column = key.column.table.name, key.parent.name
                rows = session.scalars(
                    text(
                        f"SELECT t.{column} FROM {table.name} t LEFT JOIN {other} o "  # noqa: S608
                        f"ON o.{key.column.name} = t.{column} "
                        f"WHERE o.{key.column.name} IS NULL AND t.{column} IS NOT NULL"
                    )
                )
                found += [f"{table.name}.{column} names {other} {id}, which is not." for id in rows]
        for what, query in BROKEN.items():
            found += [f"There is {what}: {which}." for which in session.scalars(text(query))]
    return found
