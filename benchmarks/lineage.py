"""Times the metadata store at 100,000 artifacts: what it costs to ask, and to record a step.

    python benchmarks/lineage.py [postgresql://user:password@host/database]

The database must be empty; without one, an SQLite file in a temporary folder. The history is that
of a daily pipeline of nine steps: 9,091 runs, each on new data, with a model that continues
training from the one before, so that the last model has every earlier one as an ancestor; the
schema is imported once and used by every run.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, insert, select

from penstock.metadata import models as m
from penstock.metadata.garbage import Keep, find_garbage
from penstock.metadata.integrity import problems
from penstock.metadata.lineage import lineage
from penstock.metadata.store import Store
from penstock.metadata.values import Artifact, ExecutionState

# Step, what it consumes, what it produces; `~model` is the previous run's.
STEPS = (
    ("example_gen", (), ("examples",)),
    ("statistics_gen", ("examples",), ("statistics",)),
    ("example_validator", ("statistics", "schema"), ("anomalies",)),
    ("transform", ("examples", "statistics", "schema"), ("transform_graph",)),
    ("trainer", ("examples", "transform_graph", "schema", "~model"), ("model", "metrics")),
    ("evaluator", ("examples", "model"), ("evaluation", "blessing", "report")),
    ("infra_validator", ("examples", "model"), ("infra_blessing",)),
    ("pusher", ("model", "blessing"), ("pushed_model",)),
)
PER_RUN = sum(len(outputs) for _, _, outputs in STEPS)
REPEATS = 20


def fill(store: Store, artifacts: int) -> None:
    """Record the history, many rows at a time."""
    store.start_run("import", "schema", "d", {}, "/runs/import")
    new = {"schema": (Artifact("/schema", "system.Schema", "schema", "sha256:schema"),)}
    schema = store.record("import", "schema", "importer", ExecutionState.COMPLETE, outputs=new)
    known = {"schema": schema.outputs["schema"][0].id}
    rows: dict[type, list[dict]] = {}
    with store.reading() as session:
        process = session.scalars(select(m.ProcessRow.id)).first()
        first = {
            table: (session.scalar(select(func.max(table.id))) or 0) + 1
            for table in (m.ContextRow, m.ExecutionRow, m.ArtifactRow)
        }
    ids = dict(first)

    def add(table: type, **values: object) -> int:
        if table in ids:
            values["id"] = ids[table]
            ids[table] += 1
        rows.setdefault(table, []).append(values)
        return values.get("id", 0)

    times = {"create_time_since_epoch": 1, "end_time_since_epoch": 2}
    nothing = {"parameters": {}, "properties": {}, "error": None, "process_id": process, **times}
    pipeline = add(m.ContextRow, type=m.PIPELINE, name="flights", create_time_since_epoch=1)
    for number in range(artifacts // PER_RUN):
        run = f"run-{number:06}"
        context = add(m.ContextRow, type=m.PIPELINE_RUN, name=run, create_time_since_epoch=1)
        add(m.ParentContextRow, context_id=context, parent_context_id=pipeline)
        known_run = {"run_id": run, "pipeline": "flights", "state": "COMPLETE"}
        known_run |= {"spec_digest": "d", "folder": f"/runs/flights/{run}"}
        add(m.RunRow, context_id=context, **known_run, **nothing)
        known["~model"] = known.get("model")
        for task, inputs, outputs in STEPS:
            execution = add(
                m.ExecutionRow,
                type=task,
                name=task,
                last_known_state="COMPLETE",
                cache_key=f"{run}/{task}",
                key_parts={"code": "sha256:code", "input": run},
                output_parameters={},
                output_count=len(outputs),
                **nothing,
            )
            add(m.AssociationRow, context_id=context, execution_id=execution)
            event = {"execution_id": execution, "position": 0, "time_since_epoch": 1}
            for name in inputs:
                if known[name] is not None:
                    add(m.EventRow, artifact_id=known[name], type=m.INPUT, name=name, **event)
            for name in outputs:
                known[name] = add(
                    m.ArtifactRow,
                    type="system.Artifact",
                    name=name,
                    uri=f"/runs/flights/{run}/{task}/{name}",
                    state="LIVE",
                    digest=f"sha256:{run}{name}",
                    properties={"summary": "one line for people"},
                    create_time_since_epoch=1,
                    last_update_time_since_epoch=1,
                )
                add(m.EventRow, artifact_id=known[name], type=m.OUTPUT, name=name, **event)
                add(m.AttributionRow, context_id=context, artifact_id=known[name])
    order = [table for table in m.Table.__subclasses__() if table in rows]
    with store.writing() as session:
        for table in order:
            session.execute(insert(table), rows[table])
        if store.engine.dialect.name == "postgresql":  # ids were given: let its counters follow
            for table in first:
                name = table.__tablename__
                session.execute(
                    select(func.setval(func.pg_get_serial_sequence(name, "id"), ids[table]))
                )


def timed(what: str, ask: Callable[[], object], repeats: int = REPEATS) -> None:
    """Print the median of several calls."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    print(f"| {what} | {statistics.median(took):.1f} | {max(took):.1f} |", flush=True)


def main() -> None:
    """Fill a store and ask it."""
    with tempfile.TemporaryDirectory() as folder:
        where = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "metadata.sqlite")
        with Store.open(where) as store:
            began = time.perf_counter()
            fill(store, 100_000)
            with store.reading() as session:
                count = session.scalar(select(func.count()).select_from(m.ArtifactRow))
                events = session.scalar(select(func.count()).select_from(m.EventRow))
            filled = time.perf_counter() - began
            print(f"{count} artifacts and {events} events, filled in {filled:.0f} s")
            ask(store, Path(folder))


def ask(store: Store, folder: Path) -> None:
    """Print the table."""
    middle, last = "run-004500", "run-009089"
    model = {run: store.find(f"trainer/model@{run}") for run in (middle, last)}
    pushed, schema = store.find(f"pusher/pushed_model@{last}"), store.find("/schema")
    found = lineage(store, model[middle], depth=3)
    print(f"three steps around a model: {len(found.origins)} + {len(found.uses)} steps")
    found = lineage(store, model[middle])
    print(f"to the limit: {len(found.origins)} + {len(found.uses)} steps")
    print("\n| query | median, ms | slowest, ms |\n|---|---|---|")
    timed("lineage of a model, 3 steps each way", lambda: lineage(store, model[middle], depth=3))
    timed(
        "the same, 10 steps, as the command does", lambda: lineage(store, model[middle], depth=10)
    )
    timed("lineage of a pushed model, 3 steps", lambda: lineage(store, pushed, depth=3))
    timed("lineage of a model to the limit of 1,000", lambda: lineage(store, model[middle]))
    timed("lineage of the schema that every run used", lambda: lineage(store, schema, depth=1))
    timed("an artifact by path", lambda: store.find(f"/runs/flights/{middle}/trainer/model"))
    timed("an artifact by NAME@RUN", lambda: store.find(f"model@{middle}"))
    timed("find_cached, a hit", lambda: store.find_cached(f"{middle}/trainer"))
    timed("find_cached, a miss", lambda: store.find_cached("none"))
    timed("nearest", lambda: store.nearest("trainer", {"code": "sha256:code", "input": "new"}))
    timed("the last 20 runs with their steps", lambda: runs(store))
    timed("the executions of a run", lambda: store.executions(middle))
    record(store)
    timed("gc, dry, keep the last 100 runs", lambda: find_garbage(store, folder, Keep(100)), 3)
    timed("integrity check", lambda: problems(store), 1)


def runs(store: Store) -> object:
    """What `penstock runs list` asks."""
    found = store.runs(limit=20)
    return store.step_counts([run.id for run in found])


def record(store: Store) -> None:
    """Time a step that is computed, and one that is found in the cache."""
    store.start_run("new", "flights", "d", {}, "/runs/new")
    made = [store.find("examples@run-009089")]

    def computed() -> None:
        key = f"new/{len(made)}"
        claim = store.claim(key, "new")
        store.find_cached(key)
        step = store.start_execution("new", key, "c", cache_key=key, inputs={"i": (made[-1],)})
        outputs = {"o": (Artifact(f"/runs/{key}", digest=key),)}
        done = store.finish_execution(step, ExecutionState.COMPLETE, outputs=outputs, claim=claim)
        made.append(done["o"][0])

    def cached() -> None:
        hit = store.find_cached("run-004500/trainer")
        store.record("new", "again", "c", ExecutionState.CACHED, outputs=hit.outputs)

    timed("record a step that is computed (4 transactions)", computed)
    timed("record a step that is cached", cached)


if __name__ == "__main__":
    main()
