"""Drives a DAG: what may start, what it is given, and what its end means for the others."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from . import inputs as connect
from .check import not_applied
from .conditions import parse_condition
from .placeholders import resolve
from .report import State, StepReport, Watch
from .selection import Part, Selection
from .spec import Pipeline, plain, plain_struct
from .step import LOG
from .steps import STOPPED, Steps, Work
from .structure import upstream_tasks
from .values import Artifact, Values

COMPLETED = pb.PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """How a task or a DAG ended.

    Attributes:
        state: How.
        outputs: What it produced, also of a DAG that failed.
        cause: The path of the first step that failed, when it did not succeed.
        reason: That step's sentence.
    """

    state: State
    outputs: Values = field(default_factory=Values)
    cause: str = ""
    reason: str = ""


@dataclass
class Driver:
    """One run of a pipeline.

    All decisions are taken in one thread, the event loop's; only steps run in other threads.
    """

    pipeline: Pipeline
    run_id: str
    folder: Path
    steps: Steps
    threads: ThreadPoolExecutor
    watch: Watch
    stopping: threading.Event
    started: datetime
    selection: Selection | None = None

    async def run(self, given: Values) -> Outcome:
        """Execute the pipeline and return how it ended."""
        root = self.pipeline.spec.root
        filled = connect.with_defaults(root, given, f"pipeline {self.pipeline.name}")
        return await self._dag(root, filled, "")

    async def _dag(self, component: pb.ComponentSpec, given: Values, path: str) -> Outcome:
        tasks = component.dag.tasks
        ended: dict[str, asyncio.Task[Outcome]] = {}

        async def task(name: str) -> Outcome:
            spec = tasks[name]
            upstream = sorted(upstream_tasks(spec))
            before = {other: await ended[other] for other in upstream}
            return await self._task(spec, name, given, before, f"{path}{name}")

        for name in sorted(tasks):
            ended[name] = asyncio.create_task(task(name))
        outcomes = {name: await running for name, running in ended.items()}
        outputs = connect.dag_outputs(
            component, {name: outcome.outputs for name, outcome in outcomes.items()}
        )
        return _joined(list(outcomes.values()), outputs)

    async def _task(
        self,
        task: pb.PipelineTaskSpec,
        name: str,
        parent: Values,
        before: Mapping[str, Outcome],
        path: str,
    ) -> Outcome:
        title = task.task_info.name or name
        component = self.pipeline.component(task)
        is_group = component.WhichOneof("implementation") == "dag"
        if not is_group and self.selection and self._part(path) is Part.LEAVE:
            return self._noted(
                StepReport(path, title, State.NOT_TAKEN, reason=self.selection.reason)
            )
        if task.trigger_policy.strategy != COMPLETED:
            for upstream, outcome in before.items():
                if not outcome.state.is_success:
                    return self._left_out(path, title, upstream, outcome)
        if self.stopping.is_set():
            return self._noted(StepReport(path, title, State.STOPPED, reason=STOPPED))
        try:
            given = connect.task_inputs(
                task,
                parent,
                {upstream: outcome.outputs for upstream, outcome in before.items()},
                {upstream: self._final_status(upstream, o) for upstream, o in before.items()},
                self._job(title, path),
            )
            condition = task.trigger_policy.condition
            if condition and not parse_condition(condition).holds(given.parameters):
                reason = f"its condition {condition} is false"
                return self._noted(
                    StepReport(path, title, State.NOT_TAKEN, reason=reason, inputs=given)
                )
            if task.WhichOneof("iterator") is not None:
                return await self._loop(task, component, given, path)
            given = connect.with_defaults(component, given, path)
        except PenstockError as error:
            return self._noted(StepReport(path, title, State.FAILED, reason=str(error)))
        if is_group:
            return await self._dag(component, given, f"{path}/")
        return await self._step(task, component, given, path, title)

    def _left_out(self, path: str, title: str, upstream: str, outcome: Outcome) -> Outcome:
        if outcome.state is State.NOT_TAKEN:
            reason = f"{upstream} was not taken"
        else:
            reason = f"{upstream} did not succeed"
        state = State.STOPPED if outcome.state is State.STOPPED else State.SKIPPED
        if outcome.state is State.NOT_TAKEN:
            state = State.NOT_TAKEN
        self._noted(StepReport(path, title, state, reason=reason, cause=outcome.cause))
        return Outcome(state, cause=outcome.cause, reason=outcome.reason)

    def _noted(self, step: StepReport) -> Outcome:
        try:
            return self._ended(self.steps.noted(step))
        except PenstockError as error:
            return self._failed(replace(step, state=State.FAILED, reason=str(error)))

    def _failed(self, report: StepReport) -> Outcome:
        self.watch(report)
        return Outcome(State.FAILED, report.outputs, report.path, report.reason)

    async def _loop(
        self, task: pb.PipelineTaskSpec, component: pb.ComponentSpec, given: Values, path: str
    ) -> Outcome:
        items = connect.loop_items(task, given, path)
        limit = task.iterator_policy.parallelism_limit or len(items) or 1
        turns = asyncio.Semaphore(limit)

        async def iteration(index: int, item: Any) -> Outcome:
            async with turns:
                inside = f"{path}/{index}"
                values = connect.iteration_inputs(task, given, item)
                try:
                    values = connect.with_defaults(component, values, inside)
                except PenstockError as error:
                    name = task.task_info.name
                    return self._noted(StepReport(inside, name, State.FAILED, reason=str(error)))
                return await self._dag(component, values, f"{inside}/")

        outcomes = await asyncio.gather(*(iteration(i, item) for i, item in enumerate(items)))
        outputs = connect.collected([outcome.outputs for outcome in outcomes])
        for name in component.dag.outputs.parameters:
            outputs.parameters.setdefault(name, [])
        for name in component.dag.outputs.artifacts:
            outputs.artifacts.setdefault(name, [])
        return _joined(list(outcomes), outputs)

    async def _step(
        self,
        task: pb.PipelineTaskSpec,
        component: pb.ComponentSpec,
        given: Values,
        path: str,
        title: str,
    ) -> Outcome:
        executor = self.pipeline.executors[component.executor_label]
        started = time.monotonic()
        step = StepReport(
            path,
            title,
            State.RUNNING,
            inputs=given,
            log=self.folder / path / LOG,
            notes=not_applied(
                self.pipeline, component, self.steps.source(executor.container) is None
            ),
        )
        if self._part(path) is Part.TAKE:
            return self._ended(await self._in_thread(step, self.steps.take, step))
        if executor.WhichOneof("spec") == "importer":
            outputs = self._imported(executor.importer, given, title, path)
            step = replace(step, state=State.SUCCEEDED, outputs=outputs, log=None)
            return self._ended(await self._in_thread(step, self.steps.imported, step))
        work = Work(
            component,
            executor.container,
            self._job(title, path),
            cached=task.caching_options.enable_cache,
        )
        while (begun := await self._in_thread(step, self.steps.begin, step, work)) is None:
            await self._pause(0.2)
        if isinstance(begun, StepReport):
            return self._ended(begun)
        attempt = 0
        for wait in waits(task.retry_policy):
            attempt += 1
            done = await self._in_thread(step, self.steps.attempt, begun.step, work)
            if done.state is not State.FAILED or wait is None or self.stopping.is_set():
                break
            if time.monotonic() - started + wait > retried_for(task.retry_policy):
                break
            await self._pause(wait)
        done = replace(done, seconds=time.monotonic() - started, attempts=attempt)
        return self._ended(await self._in_thread(done, self.steps.end, begun, done))

    async def _in_thread(
        self, step: StepReport, function: Callable[..., Result], *arguments: Any
    ) -> Result | StepReport:
        """Await `function` in a thread; when the store refuses, the step fails with its word."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.threads, function, *arguments)
        except PenstockError as error:
            return replace(step, state=State.FAILED, reason=str(error), outputs=Values())

    def _ended(self, step: StepReport) -> Outcome:
        if step.state is State.FAILED:
            return self._failed(step)
        self.watch(step)
        return Outcome(step.state, step.outputs, reason=step.reason)

    def _part(self, path: str) -> Part:
        return Part.RUN if self.selection is None else self.selection.part(path)

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stopping.is_set():
            await asyncio.sleep(min(left, 0.2))

    def _imported(
        self,
        importer: pb.PipelineDeploymentConfig.ImporterSpec,
        given: Values,
        title: str,
        path: str,
    ) -> Values:
        known = {"inputs": {"parameterValues": given.parameters}}
        job = self._job(title, path)
        if importer.artifact_uri.WhichOneof("value") == "runtime_parameter":
            uri = given.parameters[importer.artifact_uri.runtime_parameter]
        else:
            uri = plain(importer.artifact_uri.constant)
        artifact = Artifact(
            "artifact",
            importer.type_schema.schema_title,
            importer.type_schema.schema_version,
            resolve(uri, known, job),
            resolve(plain_struct(importer.metadata), known, job),
        )
        return Values(artifacts={"artifact": [artifact]})

    def _job(self, title: str, path: str) -> dict[str, str]:
        name = f"{self.pipeline.name}-{self.run_id}"
        return {
            ".pipeline_job_name": name,
            ".pipeline_job_resource_name": name,
            ".pipeline_job_uuid": self.run_id,
            ".pipeline_task_name": title,
            ".pipeline_task_uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{path}")),
            ".pipeline_root": (self.steps.artifacts or str(self.folder)).rsplit("/", 2)[0],
            ".pipeline_job_create_time_utc": f"{self.started:%Y-%m-%dT%H:%M:%SZ}",
            ".pipeline_job_schedule_time_utc": f"{self.started:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _final_status(self, task: str, outcome: Outcome) -> dict[str, Any]:
        if outcome.state.is_success:
            state = "SUCCEEDED"
        else:
            state = "FAILED" if outcome.state is State.FAILED else "CANCELLED"
        error = {} if state == "SUCCEEDED" else {"code": 9, "message": outcome.reason}
        return {
            "state": state,
            "pipelineJobResourceName": f"{self.pipeline.name}-{self.run_id}",
            "pipelineTaskName": task,
            "error": error,
        }


def _joined(outcomes: list[Outcome], outputs: Values) -> Outcome:
    for state in (State.FAILED, State.SKIPPED, State.STOPPED):
        for outcome in outcomes:
            if outcome.state is state:
                kept = State.STOPPED if state is State.STOPPED else State.FAILED
                return Outcome(kept, outputs, outcome.cause, outcome.reason)
    return Outcome(State.SUCCEEDED, outputs)


def waits(policy: pb.PipelineTaskSpec.RetryPolicy) -> Iterator[float | None]:
    """Yield how many seconds to wait after each attempt should it fail; None after the last."""
    wait = policy.backoff_duration.ToTimedelta().total_seconds()
    for _ in range(policy.max_retry_count):
        yield wait
        wait *= policy.backoff_factor or 2.0
    yield None


def retried_for(policy: pb.PipelineTaskSpec.RetryPolicy) -> float:
    """Return how many seconds after the first attempt began the last one may begin, as in Argo."""
    return policy.backoff_max_duration.ToTimedelta().total_seconds() or float("inf")
