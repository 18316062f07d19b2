"""Kubeflow Pipelines' v2beta1 API over HTTP, as far as submitting and watching runs goes.

It stands in for the real server, which takes a cluster. Bodies and answers are held to the classes
that Kubeflow generates from its OpenAPI document (the package kfp-server-api): an unknown field, a
missing name or a wrong type is refused. What it decides is written after backend/src/apiserver:
names of experiments are unique, those of runs are not; a substring is sought with SQL's LIKE.
Beside it, the two calls of Kubernetes' API by which logs of pods are read.
"""

import itertools
import json
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import kfp_server_api as kfp
from flask import Flask, Response, request
from werkzeug.serving import make_server

CREATED = datetime(2026, 1, 1, tzinfo=timezone.utc)
ENTITIES = {
    "experiments": (kfp.V2beta1Experiment, "experiment_id"),
    "runs": (kfp.V2beta1Run, "run_id"),
    "recurringruns": (kfp.V2beta1RecurringRun, "recurring_run_id"),
}
FIELDS = {"recurringruns": "recurringRuns"}


class Refused(Exception):
    """An answer of gRPC's gateway other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Server:
    """A server on a free port of the loopback address.

    Attributes:
        things: By kind, then by identifier, as JSON.
        before_creation: Is called with the kind before something is created, the lock not held.
        stories: By run, the states that it goes through, one for every look at it.
        pods: What Kubernetes lists, by run.
        logs: By pod.
        token: What must be borne, when set.
        login: The page that a proxy shows in place of the API, when set.
        requests: Method and path of every request.
    """

    def __init__(self) -> None:
        self.things: dict[str, dict[str, dict]] = {kind: {} for kind in ENTITIES}
        self.before_creation: Callable[[str], Any] = lambda kind: None
        self.stories: dict[str, list[dict]] = {}
        self.pods: dict[str, list[dict]] = {}
        self.logs: dict[str, str] = {}
        self.token = ""
        self.login = ""
        self.requests: list[tuple[str, str]] = []
        self.page_size = 2
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._client = kfp.ApiClient()
        app = Flask("kubeflow")
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._route(app)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, kind: str) -> list[dict]:
        return list(self.things[kind].values())

    def _route(self, app: Flask) -> None:
        @app.before_request
        def note() -> Any:
            self.requests.append((request.method, request.path))
            if self.login:
                return Response(self.login, content_type="text/html")
            if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
                return Response('{"error": "Unauthenticated", "code": 16}', 401)
            return None

        @app.errorhandler(Refused)
        def refused(error: Refused) -> Any:
            return {"error": error.message, "code": 3, "message": error.message}, error.status

        app.add_url_rule("/apis/v2beta1/<kind>", "all", self._all, methods=["GET", "POST"])
        one = "/apis/v2beta1/<kind>/<identifier>"
        app.add_url_rule(one, "one", self._one, methods=["GET", "DELETE"])
        app.add_url_rule(f"{one}:terminate", "terminate", self._terminate, methods=["POST"])
        app.add_url_rule("/api/v1/namespaces/<namespace>/pods", "pods", self._pods)
        app.add_url_rule("/api/v1/namespaces/<namespace>/pods/<pod>/log", "log", self._log)

    def _all(self, kind: str) -> Any:
        if request.method == "POST":
            body = request.get_json()
            self.before_creation(kind)
            with self._lock:
                return self._create(kind, body)
        with self._lock:
            return self._list(kind)

    def _create(self, kind: str, body: dict) -> dict:
        cls, identifier = ENTITIES[kind]
        self._hold(body, cls)
        if not body.get("display_name"):
            raise Refused(400, "The run name is empty. Please specify a valid name")
        if kind == "experiments" and any(
            one["display_name"] == body["display_name"] for one in self.of(kind)
        ):
            raise Refused(409, f"The name {body['display_name']} already exists.")
        if kind != "experiments" and body.get("experiment_id") not in self.things["experiments"]:
            raise Refused(404, f"Experiment {body.get('experiment_id')} not found.")
        if kind == "recurringruns" and not 1 <= int(body["max_concurrency"]) <= 10:
            raise Refused(400, "max_concurrency must be in [1, 10]")
        number = next(self._numbers)
        made = CREATED + timedelta(seconds=number // 2)
        thing = body | {identifier: f"{kind[:3]}-{number:04}", "created_at": made.isoformat()}
        if kind == "runs":
            account = body.get("service_account") or "pipeline-runner"
            thing |= {"state": "PENDING", "service_account": account}
        self.things[kind][thing[identifier]] = thing
        return thing

    def _list(self, kind: str) -> dict:
        found = [
            one
            for one in self.of(kind)
            if request.args.get("experiment_id", "") in ("", one.get("experiment_id"))
            and request.args.get("namespace", "") in ("", one.get("namespace"))
            and self._fits(one, json.loads(request.args.get("filter") or "{}"))
        ]
        start = int(request.args.get("page_token") or 0)
        end = start + min(int(request.args.get("page_size") or 20), self.page_size)
        token = {"next_page_token": str(end)} if end < len(found) else {}
        return {FIELDS.get(kind, kind): found[start:end], "total_size": len(found), **token}

    def _fits(self, one: dict, sought: dict) -> bool:
        for predicate in sought.get("predicates", []):
            if set(predicate) != {"key", "operation", "string_value"}:
                raise Refused(400, f"unknown field in filter: {sorted(predicate)}")
            value, given = one[predicate["key"]], predicate["string_value"]
            if predicate["operation"] == "EQUALS":
                fits = value == given
            elif predicate["operation"] == "IS_SUBSTRING":
                fits = re.search(re.escape(given).replace("_", ".").replace("%", ".*"), value, re.I)
            else:
                raise Refused(400, f"unknown operation {predicate['operation']}")
            if not fits:
                return False
        return True

    def _one(self, kind: str, identifier: str) -> Any:
        with self._lock:
            thing = self.things[kind].get(identifier)
            if thing is None:
                raise Refused(404, f"{kind} {identifier} not found.")
            if request.method == "DELETE":
                del self.things[kind][identifier]
                return {}
            story = self.stories.get(identifier)
            if story:
                chapter = story.pop(0)
                if "unavailable" in chapter:
                    raise Refused(chapter["unavailable"], "upstream connect error")
                thing |= chapter
                self._hold(thing, ENTITIES[kind][0])
            return thing

    def _terminate(self, kind: str, identifier: str) -> Any:
        with self._lock:
            if identifier not in self.things[kind]:
                raise Refused(404, f"{kind} {identifier} not found.")
            self.things[kind][identifier]["state"] = "CANCELED"
            return {}

    def _hold(self, body: Any, cls: Any) -> None:
        """Refuse what the class generated from the OpenAPI document does not have."""
        names = {json_name: name for name, json_name in cls.attribute_map.items()}
        for key, value in body.items():
            if key not in names:
                raise Refused(400, f'unknown field "{key}"')
            declared = cls.openapi_types[names[key]]
            inner = getattr(kfp, declared, None)
            if inner is not None and hasattr(inner, "attribute_map") and isinstance(value, dict):
                self._hold(value, inner)
            elif declared == "str" and not isinstance(value, str):
                raise Refused(400, f'"{key}" must be a string')
            elif declared == "bool" and not isinstance(value, bool):
                raise Refused(400, f'"{key}" must be a boolean')

    def _pods(self, namespace: str) -> Any:
        label, _, run = request.args["labelSelector"].partition("=")
        assert label == "pipeline/runid"
        items = [pod for pod in self.pods.get(run, []) if pod["metadata"]["namespace"] == namespace]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    def _log(self, namespace: str, pod: str) -> Any:
        if pod not in self.logs or request.args.get("container") != "main":
            return {"kind": "Status", "status": "Failure", "code": 404}, 404
        lines = self.logs[pod].splitlines(keepends=True)[-int(request.args["tailLines"]) :]
        return Response("".join(lines), content_type="text/plain")
