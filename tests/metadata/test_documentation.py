"""What docs/metadata.md says can be asked by SQL, is asked here."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock.metadata.models import Table
from penstock.metadata.schema import VERSION_TABLE
from penstock.metadata.values import Artifact, ExecutionState, RunState

DOCUMENT = (Path(__file__).parents[2] / "docs/metadata.md").read_text()
QUERIES = dict(
    re.findall(r"-- (\w+): [^\n]*\n(.*?);", re.search(r"```sql\n(.*?)```", DOCUMENT, re.S)[1], re.S)
)
RUN = "20260101-100000-aaaa"


@pytest.fixture
def asked(store):
    """A store with a run of two steps; what a query of the document answers."""
    store.start_run(RUN, "flights", "d", {}, "/runs/a")
    gen = store.record(
        RUN, "gen", "gen", ExecutionState.COMPLETE, outputs={"x": (Artifact("/x", digest="dx"),)}
    )
    outputs = {
        "model": (Artifact("/m", "system.Model", digest="dm"),),
        "metrics": (Artifact("/k", "system.Metrics", metadata={"auc": 0.71}),),
    }
    made = store.record(
        RUN, "train", "train", ExecutionState.COMPLETE, inputs=gen.outputs, outputs=outputs
    )
    store.claim("key", "someone")
    store.finish_run(RUN, RunState.COMPLETE)
    model = made.outputs["model"][0].id

    def ask(name):
        query = QUERIES[name].replace("m.id = 12", f"m.id = {model}")
        if store.engine.dialect.name == "postgresql":
            query = query.replace("json_extract(a.properties, '$.auc')", "a.properties ->> 'auc'")
        with store.reading() as session:
            return [tuple(row) for row in session.execute(text(query.replace(":", r"\:")))]

    return ask


def test_queries_of_the_document_answer(asked):
    ((run_id, pipeline, state, seconds),) = asked("runs")
    assert (run_id, pipeline, state) == (RUN, "flights", "COMPLETE") and seconds >= 0
    assert asked("executions") == [
        ("gen", "gen", "COMPLETE", None),
        ("train", "train", "COMPLETE", None),
    ]
    ((_, uri, digest, run_id),) = asked("artifacts")
    assert (uri, digest, run_id) == ("/m", "dm", RUN)
    assert asked("events") == [("x", "/x", "dx")]
    assert asked("contexts") == [("flights", 1)]
    ((key, owner, _, pid),) = asked("claims")
    assert (key, owner) == ("key", "someone") and pid > 0


def test_metric_is_found_in_the_properties(asked):
    ((run_id, auc),) = asked("properties")

    assert (run_id, float(auc)) == (RUN, 0.71)


def test_every_table_is_described():
    described = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.M))

    assert described == set(Table.metadata.tables) | {VERSION_TABLE}
