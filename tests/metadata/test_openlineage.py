"""Events say what the published schema allows, and arrive in files and at servers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from penstock.errors import PenstockError
from penstock.metadata.openlineage import Events, EventType
from penstock.metadata.values import Artifact

SCHEMAS = {
    schema["$id"]: schema
    for schema in (
        json.loads(file.read_text()) for file in Path(__file__).parent.glob("openlineage/*.json")
    )
}
REGISTRY = Registry().with_resources(
    [(url, Resource.from_contents(schema)) for url, schema in SCHEMAS.items()]
)
EXAMPLES = Artifact("/runs/r1/gen/examples", "system.Examples", digest="sha256:1")
MODEL = Artifact("s3://models/flights/3", "system.Model")


def check(event):
    """The event, and each facet, against the schema that it names."""

    def validate(value, url):
        Draft202012Validator(
            {"$ref": url}, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
        ).validate(value)

    validate(event, event["schemaURL"])
    holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    for holder in holders:
        for name, facet in holder["facets"].items():
            validate({name: facet}, facet["_schemaURL"].partition("#")[0])
            validate(facet, facet["_schemaURL"])


def no_warning(sentence):
    raise AssertionError(sentence)


def tell(events):
    events.run(EventType.START)
    events.step(EventType.START, "loop/0/trainer", 7, inputs={"examples": (EXAMPLES,)})
    events.step(
        EventType.COMPLETE,
        "loop/0/trainer",
        7,
        inputs={"examples": (EXAMPLES, EXAMPLES)},
        outputs={"model": (MODEL,)},
    )
    events.step(EventType.FAIL, "evaluator", 8, error="No rows.\0")
    events.run(EventType.FAIL, "evaluator failed.")


def test_every_event_is_what_the_specification_allows(tmp_path):
    file = tmp_path / "new" / "events.jsonl"

    tell(Events(str(file), "flights", "r1", warn=no_warning))

    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["eventType"] for event in events] == [
        "START",
        "START",
        "COMPLETE",
        "FAIL",
        "FAIL",
    ]
    for event in events:
        check(event)


def test_events_of_one_step_share_a_run_whose_parent_is_the_pipelines(tmp_path):
    file = tmp_path / "events.jsonl"

    tell(Events(str(file), "flights", "r1", warn=no_warning))
    tell(Events(str(file), "flights", "r2", warn=no_warning))

    events = [json.loads(line) for line in file.read_text().splitlines()]
    begun, started, ended, failed, over = events[:5]
    assert started["run"]["runId"] == ended["run"]["runId"] != failed["run"]["runId"]
    assert begun["run"]["runId"] == over["run"]["runId"]
    parent = started["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == begun["run"]["runId"]
    assert parent["job"]["name"] == begun["job"]["name"] == "flights"
    assert ended["job"]["name"] == "flights.loop/0/trainer"
    assert failed["run"]["facets"]["errorMessage"]["message"] == "No rows.\ufffd"
    assert {e["run"]["runId"] for e in events[:5]}.isdisjoint(e["run"]["runId"] for e in events[5:])


def test_artifacts_are_datasets_named_by_the_conventions(tmp_path):
    file = tmp_path / "events.jsonl"

    tell(Events(str(file), "flights", "r1", warn=no_warning))

    ended = json.loads(file.read_text().splitlines()[2])
    (read,), (written,) = ended["inputs"], ended["outputs"]
    assert (read["namespace"], read["name"]) == ("file", "/runs/r1/gen/examples")
    assert read["facets"]["version"]["datasetVersion"] == "sha256:1"
    assert (written["namespace"], written["name"]) == ("s3://models", "flights/3")
    assert "version" not in written["facets"]


@pytest.fixture
def catalog():
    """A server that takes events, and its (path, token, event) of each."""
    received = []

    class Catalog(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers.get("Authorization"), json.loads(body)))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Catalog) as server:
        server.status, server.received = 201, received
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_events_arrive_by_http(catalog, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "k")
    url = f"http://127.0.0.1:{catalog.server_port}"

    tell(Events(url, "flights", "r1", warn=no_warning))
    Events(f"{url}/other", "flights", "r1", warn=no_warning).run(EventType.ABORT)

    assert {path for path, _, _ in catalog.received[:5]} == {"/api/v1/lineage"}
    assert catalog.received[5][0] == "/other"
    assert {token for _, token, _ in catalog.received} == {"Bearer k"}
    for _, _, event in catalog.received:
        check(event)


def test_catalog_that_refuses_is_told_of_once_and_then_left_alone(catalog):
    catalog.status = 500
    warnings = []
    url = f"http://127.0.0.1:{catalog.server_port}"

    tell(Events(url, "flights", "r1", warn=warnings.append))

    assert warnings == [f"OpenLineage events do not arrive at {url}: Internal Server Error."]
    assert len(catalog.received) == 3


def test_catalog_that_is_away_stops_nothing():
    warnings = []

    tell(Events("http://127.0.0.1:1", "flights", "r1", warn=warnings.append))

    (sentence,) = warnings
    assert "do not arrive at http://127.0.0.1:1" in sentence and "refused" in sentence


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("ftp://host/x", "cannot be sent to ftp://host/x; give a file, or a URL"),
        ("/proc/nowhere/events", "cannot be written to /proc/nowhere/events"),
    ],
)
def test_target_that_is_none(target, sentence):
    with pytest.raises(PenstockError, match=sentence):
        Events(target, "flights", "r1", warn=no_warning)
