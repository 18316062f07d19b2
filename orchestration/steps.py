"""One step at a time: found among earlier executions, or executed; and recorded either way."""

import secrets
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from ..metadata.values import Claim
from .cache import NotCacheable, cache_key, key_parts
from .containers import container_request
from .copies import Copies
from .ledger import Ledger, Sought, Ticket
from .pipeline_root import publish
from .placeholders import resolve
from .report import State, StepReport, Watch
from .step import LOG, PythonSource, executor_input, python_source, read_outputs
from .values import Artifact, Values
from .workers import StepFailed, Workers

STOPPED = "the run was stopped"


@dataclass(frozen=True)
class Work:
    """What a step has to do.

    Attributes:
        component: Its interface.
        container: Its command and image.
        job: Values of the job's placeholders.
        cached: The author allows its outputs to be taken from the cache.
    """

    component: pb.ComponentSpec
    container: pb.PipelineDeploymentConfig.PipelineContainerSpec
    job: Mapping[str, str]
    cached: bool


@dataclass(frozen=True)
class Begun:
    """A step that has to be executed, recorded as started."""

    step: StepReport
    ticket: Ticket


@dataclass
class Steps:
    """Runs the steps of one run. Its methods block, and are called from several threads."""

    folder: Path
    workers: Workers
    copies: Copies
    ledger: Ledger
    watch: Watch
    stopping: threading.Event
    isolate: bool = False
    containers: bool = False
    use_cache: bool = True
    explain: bool = False
    artifacts: str = ""

    def source(
        self, container: pb.PipelineDeploymentConfig.PipelineContainerSpec
    ) -> PythonSource | None:
        """Return the Python component that runs in a process here; None where an image runs."""
        return None if self.containers else python_source(container)

    def noted(self, step: StepReport) -> StepReport:
        """Record a step that is not executed."""
        return self.ledger.note(step)

    def imported(self, step: StepReport) -> StepReport:
        """Record what an importer names, with the digest of what lies there."""
        try:
            return self.ledger.note(self._digested(step))
        except OSError as error:
            return self.ledger.note(_broken(step, error))
        except PenstockError as error:
            failed = replace(step, state=State.FAILED, reason=str(error), outputs=Values())
            return self.ledger.note(failed)

    def take(self, step: StepReport) -> StepReport:
        """Return a step as the earlier run did it that this one continues from."""
        found = self.ledger.take(step)
        if found is not None:
            return found
        reason = f"The earlier run has no outputs of {step.path}; choose another with --base."
        return self.ledger.note(replace(step, state=State.FAILED, reason=reason, log=None))

    def begin(self, step: StepReport, work: Work) -> StepReport | Begun | None:
        """Return the step as found, or as begun; None while another process computes it."""
        if self.stopping.is_set():
            return self.ledger.note(replace(step, state=State.STOPPED, reason=STOPPED, log=None))
        kept = self.ledger.keep(step)
        if kept is not None:
            return kept
        sought, explanation = self._sought(step, work)
        claim: Claim | None = None
        if sought.key is not None:
            found, why_not = self.ledger.look(step, sought)
            if found is not None:
                return found
            claim = self.ledger.claim(step, sought)
            if claim is None:
                return None
            # Another process may have finished it between the look and the claim.
            found, why_not = self.ledger.look(step, sought)
            if found is not None:
                self.ledger.store.release(claim)
                return found
            if self.explain:
                explanation = (why_not,) if why_not else self.ledger.explain(sought)
        step = replace(step, explanation=explanation)
        try:
            return Begun(step, self.ledger.start(step, sought, claim))
        except PenstockError:
            if claim is not None:
                self.ledger.store.release(claim)
            raise

    def _sought(self, step: StepReport, work: Work) -> tuple[Sought, tuple[str, ...]]:
        source = self.source(work.container)
        component = source.function if source else work.container.image
        if not (self.use_cache and work.cached):
            why = "caching is off for this step" if self.use_cache else "--no-cache"
            return Sought(component, {}, None), (why,)
        try:
            parts = key_parts(
                work.component,
                work.container,
                source,
                step.inputs,
                {variable.name: variable.value for variable in work.container.env},
            )
        except (NotCacheable, OSError) as error:
            return Sought(component, {}, None), (f"not cached: {error}",)
        return Sought(component, parts, cache_key(parts)), ()

    def attempt(self, step: StepReport, work: Work) -> StepReport:
        """Execute a step once and return how it ended."""
        if self.stopping.is_set():
            return replace(step, state=State.STOPPED, reason=STOPPED)
        self.watch(step)
        try:
            with self.copies.held(step.inputs) as inputs:
                outputs = self._execute(replace(step, inputs=inputs), work)
            done = replace(step, state=State.SUCCEEDED, outputs=_passed_on(outputs, step, inputs))
            return self._digested(done)
        except StepFailed as error:
            if self.stopping.is_set():
                return replace(step, state=State.STOPPED, reason=STOPPED)
            return replace(step, state=State.FAILED, reason=str(error), mendable=error.mendable)
        except PenstockError as error:
            return replace(step, state=State.FAILED, reason=str(error))
        except OSError as error:
            return _broken(step, error)

    def _execute(self, step: StepReport, work: Work) -> Values:
        folder = self.folder / step.path
        _empty(folder)
        handed = executor_input(work.component, step.inputs, folder)
        request: dict[str, Any] = {"log": str(folder / LOG)}
        source = self.source(work.container)
        if source is None:
            request["container"] = container_request(
                work.container,
                handed,
                work.job,
                root=self.folder.parent.parent,
                folder=folder,
                name=f"penstock-{secrets.token_hex(6)}",
            )
            self.workers.run(request, alone=False)
            return read_outputs(work.component, handed, step.path)
        environment = {v.name: resolve(v.value, handed, work.job) for v in work.container.env}
        request |= {
            "source": source.source,
            "function": source.function,
            "executor_input": handed,
            "environment": environment,
        }
        # A library reads its variables once, when it is imported.
        self.workers.run(request, alone=self.isolate or bool(environment))
        return read_outputs(work.component, handed, step.path)

    def end(self, begun: Begun, step: StepReport) -> StepReport:
        """Record how a begun step ended."""
        return self.ledger.finish(begun.ticket, step)

    def _digested(self, step: StepReport) -> StepReport:
        """Return a step whose outputs have their digests and lie where they shall be kept."""
        artifacts = {
            name: [self._kept(artifact) for artifact in listed]
            for name, listed in step.outputs.artifacts.items()
        }
        return replace(step, outputs=Values(step.outputs.parameters, artifacts))

    def _kept(self, artifact: Artifact) -> Artifact:
        digest = self.copies.digest(artifact.uri)
        place = Path(artifact.uri)
        if not self.artifacts or not place.is_relative_to(self.folder):
            return replace(artifact, digest=digest)
        url = f"{self.artifacts}/{place.relative_to(self.folder).as_posix()}"
        if digest is not None:
            publish(place, url, digest)
            self.copies.keep(place, url, digest)
        return replace(artifact, uri=url, digest=digest)


def _passed_on(outputs: Values, step: StepReport, inputs: Values) -> Values:
    """Return outputs with the URL of every input that the step handed on by its local path."""
    urls = {
        here.uri: there.uri
        for name, artifacts in inputs.artifacts.items()
        for here, there in zip(artifacts, step.inputs.artifacts[name], strict=True)
    }
    artifacts = {
        name: [replace(artifact, uri=urls.get(artifact.uri, artifact.uri)) for artifact in listed]
        for name, listed in outputs.artifacts.items()
    }
    return Values(outputs.parameters, artifacts)


def _broken(step: StepReport, error: OSError) -> StepReport:
    place = f"{error.filename}: " if error.filename else ""
    reason = f"{place}{error.strerror or error}."
    return replace(step, state=State.FAILED, reason=reason, outputs=Values())


def _empty(folder: Path) -> None:
    if folder.exists():
        for entry in folder.iterdir():
            if entry.name != LOG:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    folder.mkdir(parents=True, exist_ok=True)
