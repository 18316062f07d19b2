"""OpenLineage events of a run, to a file or to a server.

Each event is a RunEvent of the OpenLineage specification, version 2
(https://openlineage.io/spec/2-0-2/OpenLineage.json): the run and every step that is executed or
found in the cache is a job run, the steps with the run as their parent; artifacts are datasets.
"""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import PenstockError
from .report import RunReport, State, StepReport, Watch
from .values import Values

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
PARENT = "https://openlineage.io/spec/facets/1-0-1/ParentRunFacet.json#/$defs/ParentRunFacet"
ERROR = (
    "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"
)
PRODUCER = f"urn:penstock:{__version__}"
NAMESPACE = "penstock"
TYPES = {
    State.RUNNING: "START",
    State.SUCCEEDED: "COMPLETE",
    State.CACHED: "COMPLETE",
    State.FAILED: "FAIL",
    State.STOPPED: "ABORT",
}


class Silence:
    """Sends nothing."""

    def around(self, watch: Watch) -> Watch:
        """Return `watch`."""
        return watch

    def end(self, report: RunReport) -> int:
        """Return that no event was lost."""
        return 0


def emitting(destination: str | None, pipeline: str) -> "Emitter | Silence":
    """Return an emitter to `destination`, or one that sends nothing."""
    return Silence() if destination is None else Emitter(destination, pipeline)


class Emitter:
    """Sends the events of one run."""

    def __init__(self, destination: str, pipeline: str, timeout: float = 5.0) -> None:
        """Send to a path, appended a line per event, or to an `http(s)://` URL by POST.

        Args:
            destination: The path or URL.
            pipeline: The pipeline's name.
            timeout: How many seconds to wait for a server, per event.

        Raises:
            PenstockError: The file cannot be written.
        """
        self.destination = destination
        self.pipeline = pipeline
        self.timeout = timeout
        self.lost = 0
        self._run = str(uuid.uuid4())
        self._steps: dict[str, str] = {}
        if not self._is_remote():
            try:
                Path(destination).parent.mkdir(parents=True, exist_ok=True)
                Path(destination).open("a").close()
            except OSError as error:
                raise PenstockError(
                    f"OpenLineage events cannot be written to {destination}: {error.strerror}."
                ) from error

    def around(self, watch: Watch) -> Watch:
        """Say that the run starts, and return a watch that emits what it passes on to `watch`."""
        self._send("START", self._run, self.pipeline, {}, Values(), Values())

        def both(step: StepReport) -> None:
            watch(step)
            self.step(step)

        return both

    def step(self, step: StepReport) -> None:
        """Say how a step stands; steps that were left out are not jobs."""
        kind = TYPES.get(step.state)
        if kind is None:
            return
        run = self._steps.setdefault(step.path, str(uuid.uuid4()))
        parent = {"run": {"runId": self._run}, "job": _job(self.pipeline)}
        facets: dict[str, Any] = {"parent": _facet(PARENT, parent)}
        if step.state is State.FAILED:
            said = {"message": step.reason, "programmingLanguage": "Python"}
            facets["errorMessage"] = _facet(ERROR, said)
        name = f"{self.pipeline}.{step.path.replace('/', '.')}"
        self._send(kind, run, name, facets, step.inputs, step.outputs)

    def end(self, report: RunReport) -> int:
        """Say how the run ended, and return how many events could not be sent."""
        self._send(TYPES[report.state], self._run, self.pipeline, {}, Values(), Values())
        return self.lost

    def _is_remote(self) -> bool:
        return self.destination.startswith(("http://", "https://"))

    def _send(
        self,
        kind: str,
        run: str,
        job: str,
        facets: Mapping[str, Any],
        inputs: Values,
        outputs: Values,
    ) -> None:
        event = {
            "eventType": kind,
            "eventTime": datetime.now(timezone.utc).isoformat(),
            "run": {"runId": run, "facets": dict(facets)},
            "job": _job(job),
            "inputs": _datasets(inputs),
            "outputs": _datasets(outputs),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        }
        text = json.dumps(event, default=str)
        try:
            if self._is_remote():
                self._post(text)
            else:
                with Path(self.destination).open("a") as file:
                    file.write(f"{text}\n")
        except (OSError, urllib.error.URLError):
            # A run must not fail because nobody listens; the summary says how many were lost.
            self.lost += 1

    def _post(self, text: str) -> None:
        request = urllib.request.Request(  # noqa: S310 - http and https alone, see _is_remote
            self.destination, text.encode(), {"Content-Type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=self.timeout).close()  # noqa: S310


def _job(name: str) -> dict[str, Any]:
    return {"namespace": NAMESPACE, "name": name}


def _facet(schema: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": schema, **content}


def _datasets(values: Values) -> list[dict[str, Any]]:
    found = []
    for artifacts in values.artifacts.values():
        for artifact in artifacts:
            scheme, separator, rest = artifact.uri.partition("://")
            namespace, name = (f"{scheme}://", rest) if separator else ("file", artifact.uri)
            found.append({"namespace": namespace, "name": name})
    return found
