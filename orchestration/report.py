"""What a run tells whoever watches it, and what it has to say when it is over."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from .values import Values


class State(str, Enum):
    """How a step stands. Its value is the word people read."""

    RUNNING = "running"
    SUCCEEDED = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_TAKEN = "not taken"
    STOPPED = "stopped"

    @property
    def is_success(self) -> bool:
        """Whether the outputs are there."""
        return self in (State.SUCCEEDED, State.CACHED)


@dataclass(frozen=True)
class StepReport:
    """One step of a run, or a group of steps that was left out as a whole.

    Attributes:
        path: Names from the pipeline down, such as `for-loop-1/0/train`: unique in a run.
        name: The name the author gave it.
        state: How it stands.
        seconds: How long it took, retries and their waits included.
        reason: Why it failed or was left out, one sentence; empty otherwise.
        mendable: Whether `reason` is for the person at the terminal, not a defect's exception.
        cause: The path of the step because of which this one was skipped.
        log: Where what it printed is kept; None when it never ran.
        inputs: What it was given.
        outputs: What it produced.
        attempts: How often it was tried.
        notes: What it asked for that does not apply on one machine.
        explanation: Why it was or was not found in the cache, a phrase each.
    """

    path: str
    name: str
    state: State
    seconds: float = 0.0
    reason: str = ""
    mendable: bool = True
    cause: str = ""
    log: Path | None = None
    inputs: Values = field(default_factory=Values)
    outputs: Values = field(default_factory=Values)
    attempts: int = 1
    notes: tuple[str, ...] = ()
    explanation: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunReport:
    """A run that is over.

    Attributes:
        pipeline: The pipeline's name.
        run_id: Sorts by time.
        folder: Where everything of the run lies.
        state: `SUCCEEDED`, `FAILED` or `STOPPED`.
        steps: In the order in which they ended.
        outputs: The pipeline's own outputs.
        seconds: From start to end.
        artifacts: Where its artifacts lie when not in `folder`, a URL.
    """

    pipeline: str
    run_id: str
    folder: Path
    state: State
    steps: tuple[StepReport, ...]
    outputs: Values
    seconds: float
    artifacts: str = ""

    def failures(self) -> list[StepReport]:
        """Return the steps that failed."""
        return [step for step in self.steps if step.state is State.FAILED]


GROUPS = re.compile(r"(exit-handler|condition-branches|condition)-\d+/")


def label(path: str) -> str:
    """Return a step's path without the groups that only KFP's compiler names."""
    return GROUPS.sub("", path)


Watch = Callable[[StepReport], Any]
