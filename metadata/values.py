"""What the store hands out and takes: values that do not change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any


class RunState(str, Enum):
    """How a run stands."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class ExecutionState(str, Enum):
    """How an execution stands, in MLMD's words.

    `CACHED` has the outputs of an earlier execution; `CANCELED` was stopped, skipped or not taken.
    """

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    CACHED = "CACHED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class ArtifactState(str, Enum):
    """Whether an artifact lies at its URI, in MLMD's words."""

    LIVE = "LIVE"
    MARKED_FOR_DELETION = "MARKED_FOR_DELETION"
    DELETED = "DELETED"


@dataclass(frozen=True)
class Artifact:
    """Something that lies at a URI.

    Attributes:
        uri: Where: an absolute path for what was made on this machine.
        type: KFP's schema title, such as `system.Dataset`.
        name: Its name, for people.
        digest: `sha256:<hex>` of the content; None where it was not computed.
        metadata: What the step said about it, JSON values.
        id: The store's number; None as long as the store does not know it.
        state: Whether it is still there, as far as the store knows.
        created: When the store came to know it, UTC.
    """

    uri: str
    type: str = "system.Artifact"
    name: str = ""
    digest: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None
    state: ArtifactState = ArtifactState.LIVE
    created: datetime | None = None


Artifacts = Mapping[str, tuple[Artifact, ...]]


@dataclass(frozen=True)
class Execution:
    """One step of a run.

    Attributes:
        id: The store's number.
        run_id: The run it belongs to.
        pipeline: That run's pipeline.
        task: The step's path in the pipeline, such as `for-loop-1/0/train`.
        component: What was executed.
        state: How it stands.
        cache_key: What its outputs are found by; None when it is not cached.
        key_parts: The cache key's ingredients by name, for people.
        parameters: The input parameters.
        inputs: The input artifacts by input name.
        outputs: The output artifacts by output name.
        output_parameters: The output parameters.
        properties: Whatever the runner noted, such as the log's path.
        error: Why it failed or was left out; None otherwise.
        started: UTC.
        ended: UTC; None while it runs.
        lost: It is recorded as running, but its process is gone.
    """

    id: int
    run_id: str
    pipeline: str
    task: str
    component: str
    state: ExecutionState
    cache_key: str | None
    key_parts: Mapping[str, Any]
    parameters: Mapping[str, Any]
    inputs: Artifacts
    outputs: Artifacts
    output_parameters: Mapping[str, Any]
    properties: Mapping[str, Any]
    error: str | None
    started: datetime
    ended: datetime | None
    lost: bool = False

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return (self.ended - self.started).total_seconds() if self.ended else None


@dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Attributes:
        id: Unique in the store, sorts by time.
        pipeline: The pipeline's name.
        state: How it stands.
        spec_digest: Digest of the compiled pipeline.
        parameters: The pipeline's parameters.
        properties: Whatever the runner noted.
        folder: Where its files lie.
        error: Why it failed; None otherwise.
        started: UTC.
        ended: UTC; None while it runs.
        lost: It is recorded as running, but its process is gone: it can be resumed.
    """

    id: str
    pipeline: str
    state: RunState
    spec_digest: str
    parameters: Mapping[str, Any]
    properties: Mapping[str, Any]
    folder: str
    error: str | None
    started: datetime
    ended: datetime | None
    lost: bool = False

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return (self.ended - self.started).total_seconds() if self.ended else None

    @property
    def artifacts(self) -> str:
        """The URL below which its artifacts lie in an object store; empty if in `folder`."""
        return str(self.properties.get("artifacts", ""))


@dataclass(frozen=True)
class Claim:
    """The right to compute what a cache key stands for.

    Attributes:
        cache_key: The key.
        token: Tells this claim from a later one of the same key.
    """

    cache_key: str
    token: str
