"""Tells others what runs, as OpenLineage events: one JSON object each, to a file or by HTTP.

The protocol is https://openlineage.io/spec/2-0-2/OpenLineage.json with the facets named below. A
pipeline is a job, each of its steps another whose runs have the pipeline's run as parent; artifacts
are datasets, whose version is their digest.
"""

import os
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from enum import Enum
from json import dumps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import __version__
from ..errors import PenstockError
from .json_values import readable
from .values import Artifact, Artifacts

SPEC = "https://openlineage.io/spec"
PRODUCER = f"urn:penstock:{__version__}"
ENDPOINT = "/api/v1/lineage"
TIMEOUT_SECONDS = 5.0
PATIENCE = 3  # failures in a row after which nothing more is sent


class EventType(str, Enum):
    """What happened to a run or a step."""

    START = "START"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


class Events:
    """The events of one run. Threads may share it.

    A catalog that is away is no reason for a pipeline to fail: `warn` is told once, and after a
    few failures in a row nothing more is sent.
    """

    def __init__(
        self,
        target: str,
        pipeline: str,
        run_id: str,
        *,
        namespace: str = "penstock",
        warn: Callable[[str], None],
    ) -> None:
        """Send the events of run `run_id` of `pipeline` to `target`.

        Args:
            target: A file, to which a line is added per event, or an http or https URL; one
                without a path gets `/api/v1/lineage`. `OPENLINEAGE_API_KEY` is sent as the bearer
                token when it is set.
            pipeline: The pipeline's name.
            run_id: The run.
            namespace: In which the jobs are named.
            warn: Is told, in a sentence, that events do not arrive.

        Raises:
            PenstockError: The target is neither, or the file cannot be written.
        """
        self._send = _sender(target)
        self._target = target
        self._pipeline = pipeline
        self._run_id = run_id
        self._namespace = namespace
        self._warn = warn
        self._failures = 0
        self._warned = False

    def run(self, kind: EventType, error: str | None = None) -> None:
        """Tell that the run started or ended."""
        facets = {"processing_engine": _engine()}
        self._emit(kind, self._uuid(), self._pipeline, "PIPELINE", facets, (), (), error)

    def step(
        self,
        kind: EventType,
        task: str,
        execution: int | None = None,
        *,
        inputs: Artifacts | None = None,
        outputs: Artifacts | None = None,
        error: str | None = None,
    ) -> None:
        """Tell that a step started or ended.

        Args:
            kind: What happened.
            task: The step's path in the pipeline.
            execution: The store's number of this execution: tells a second one of a resumed run
                from the first.
            inputs: The input artifacts by input name.
            outputs: The output artifacts by output name.
            error: Why it failed.
        """
        parent = {
            "run": {"runId": self._uuid()},
            "job": {"namespace": self._namespace, "name": self._pipeline},
        }
        facets = {"parent": _facet("facets/1-2-0/ParentRunFacet.json", **parent)}
        self._emit(
            kind,
            self._uuid(task, *([] if execution is None else [str(execution)])),
            f"{self._pipeline}.{task}",
            "STEP",
            facets,
            _all(inputs),
            _all(outputs),
            error,
        )

    def _uuid(self, *parts: str) -> str:
        name = "/".join([self._namespace, self._pipeline, self._run_id, *parts])
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"penstock:{name}"))

    def _emit(
        self,
        kind: EventType,
        run: str,
        job: str,
        job_type: str,
        facets: dict[str, Any],
        inputs: Iterable[Artifact],
        outputs: Iterable[Artifact],
        error: str | None,
    ) -> None:
        if self._failures >= PATIENCE:
            return
        if error is not None:
            facets["errorMessage"] = _facet(
                "facets/1-0-1/ErrorMessageRunFacet.json",
                message=readable(error),
                programmingLanguage="PYTHON",
            )
        kind_of_job = _facet(
            "facets/2-0-4/JobTypeJobFacet.json",
            processingType="BATCH",
            integration="PENSTOCK",
            jobType=job_type,
        )
        event = {
            "eventType": EventType(kind).value,
            "eventTime": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "producer": PRODUCER,
            "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": run, "facets": facets},
            "job": {"namespace": self._namespace, "name": job, "facets": {"jobType": kind_of_job}},
            "inputs": [_dataset(artifact) for artifact in inputs],
            "outputs": [_dataset(artifact) for artifact in outputs],
        }
        try:
            self._send(dumps(event, ensure_ascii=False).encode())
            self._failures = 0
        except OSError as problem:
            self._failures += 1
            if not self._warned:
                self._warned = True
                why = getattr(problem, "reason", None) or problem.strerror or problem
                self._warn(f"OpenLineage events do not arrive at {self._target}: {why}.")


def _all(named: Artifacts | None) -> list[Artifact]:
    """Return the artifacts, each once: an event names a dataset once."""
    artifacts = [artifact for group in (named or {}).values() for artifact in group]
    return list({artifact.uri: artifact for artifact in artifacts}.values())


def _dataset(artifact: Artifact) -> dict[str, Any]:
    place = urlsplit(artifact.uri)
    if place.scheme and place.netloc:
        namespace, name = f"{place.scheme}://{place.netloc}", place.path.lstrip("/") or "/"
    else:
        namespace, name = "file", place.path or artifact.uri
    facets = {
        "datasetType": _facet(
            "facets/1-0-1/DatasetTypeDatasetFacet.json",
            datasetType="FILE",
            subType=artifact.type.removeprefix("system.").upper(),
        )
    }
    if artifact.digest is not None:
        facets["version"] = _facet(
            "facets/1-0-1/DatasetVersionDatasetFacet.json", datasetVersion=artifact.digest
        )
    return {"namespace": namespace, "name": name, "facets": facets}


def _engine() -> dict[str, Any]:
    return _facet(
        "facets/1-1-1/ProcessingEngineRunFacet.json", version=__version__, name="penstock"
    )


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    name = schema.rpartition("/")[2].removesuffix(".json")
    return {"_producer": PRODUCER, "_schemaURL": f"{SPEC}/{schema}#/$defs/{name}", **values}


def _sender(target: str) -> Callable[[bytes], None]:
    if target.startswith(("http://", "https://")):
        url = target if urlsplit(target).path.strip("/") else target.rstrip("/") + ENDPOINT
        return lambda event: _post(url, event)
    if "://" in target:
        raise PenstockError(
            f"OpenLineage events cannot be sent to {target}; give a file, or a URL that begins "
            "with http:// or https://."
        )
    file = Path(target).absolute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError as error:
        raise PenstockError(
            f"OpenLineage events cannot be written to {file}: {error.strerror}; choose another "
            "file."
        ) from error
    return lambda event: _append(file, event)


def _append(file: Path, event: bytes) -> None:
    """Add a line in one write, so that those of several processes do not mix."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, event + b"\n")
    finally:
        os.close(descriptor)


def _post(url: str, event: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENLINEAGE_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, event, headers, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        answer.read()
