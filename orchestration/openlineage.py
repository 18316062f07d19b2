"""Tells an OpenLineage catalog of a run as it goes, by way of the metadata room's events."""

import uuid

from ..metadata.openlineage import Events, EventType
from .ledger import stored
from .report import RunReport, State, StepReport, Watch

KINDS = {
    State.RUNNING: EventType.START,
    State.SUCCEEDED: EventType.COMPLETE,
    State.CACHED: EventType.COMPLETE,
    State.FAILED: EventType.FAIL,
    State.STOPPED: EventType.ABORT,
}


class Silence:
    """Tells nobody."""

    problem = ""

    def around(self, watch: Watch) -> Watch:
        """Return `watch`."""
        return watch

    def end(self, report: RunReport) -> None:
        """Do nothing."""


def emitting(destination: str | None, pipeline: str) -> "Emitter | Silence":
    """Return an emitter to `destination`, or one that tells nobody."""
    return Silence() if destination is None else Emitter(destination, pipeline)


class Emitter:
    """Tells of one run.

    Attributes:
        problem: Why events do not arrive, one sentence; empty as long as they do.
    """

    def __init__(self, destination: str, pipeline: str) -> None:
        """Send to a file, a line per event, or to an `http(s)://` URL.

        Raises:
            PenstockError: It is neither, or the file cannot be written.
        """
        self.problem = ""
        # A resumed run is another run to OpenLineage, where a run starts and ends once.
        self._events = Events(destination, pipeline, str(uuid.uuid4()), warn=self._notice)

    def around(self, watch: Watch) -> Watch:
        """Tell that the run starts, and return a watch that tells what it passes on to `watch`."""
        self._events.run(EventType.START)

        def both(step: StepReport) -> None:
            watch(step)
            self._step(step)

        return both

    def end(self, report: RunReport) -> None:
        """Tell how the run ended."""
        reasons = [f"{step.path}: {step.reason}" for step in report.failures()]
        self._events.run(KINDS[report.state], "\n".join(reasons) or None)

    def _step(self, step: StepReport) -> None:
        """Tell how a step stands; steps that were left out are not jobs."""
        if step.state in KINDS:
            self._events.step(
                KINDS[step.state],
                step.path,
                inputs=stored(step.inputs),
                outputs=stored(step.outputs),
                error=step.reason if step.state is State.FAILED else None,
            )

    def _notice(self, problem: str) -> None:
        self.problem = problem
