"""Drives a DAG: what may start, what it is given, and what its end means for the others."""

import asyncio
import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from . import inputs as connect
from .check import not_applied, upstream_tasks
from .conditions import parse_condition
from .placeholders import resolve
from .report import State, StepReport, Watch
from .spec import Pipeline, plain, plain_struct
from .step import LOG, executor_input, python_source, read_outputs
from .values import Artifact, Values
from .workers import StepFailed, Workers

COMPLETED = pb.PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED


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
    workers: Workers
    threads: ThreadPoolExecutor
    isolate: bool
    watch: Watch
    stopping: threading.Event
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

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
        if task.trigger_policy.strategy != COMPLETED:
            for upstream, outcome in before.items():
                if not outcome.state.is_success:
                    return self._left_out(path, title, upstream, outcome)
        if self.stopping.is_set():
            self.watch(StepReport(path, title, State.STOPPED, reason="The run was stopped."))
            return Outcome(State.STOPPED)
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
                self.watch(StepReport(path, title, State.NOT_TAKEN, reason=reason, inputs=given))
                return Outcome(State.NOT_TAKEN, reason=reason)
            component = self.pipeline.component(task)
            if task.WhichOneof("iterator") is not None:
                return await self._loop(task, component, given, path)
            given = connect.with_defaults(component, given, path)
        except PenstockError as error:
            return self._failed(StepReport(path, title, State.FAILED, reason=str(error)))
        if component.WhichOneof("implementation") == "dag":
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
        self.watch(StepReport(path, title, state, reason=reason, cause=outcome.cause))
        return Outcome(state, cause=outcome.cause, reason=outcome.reason)

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
                    return self._failed(StepReport(inside, name, State.FAILED, reason=str(error)))
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
        if executor.WhichOneof("spec") == "importer":
            outputs = self._imported(executor.importer, given, title, path)
            self.watch(StepReport(path, title, State.SUCCEEDED, inputs=given, outputs=outputs))
            return Outcome(State.SUCCEEDED, outputs)
        running = StepReport(
            path,
            title,
            State.RUNNING,
            inputs=given,
            log=self.folder / path / LOG,
            notes=not_applied(self.pipeline, component),
        )
        turn = asyncio.get_running_loop()
        policy = task.retry_policy
        wait = policy.backoff_duration.ToTimedelta().total_seconds()
        longest = policy.backoff_max_duration.ToTimedelta().total_seconds() or float("inf")
        attempt = 0
        while True:
            attempt += 1
            done = await turn.run_in_executor(
                self.threads, self._attempt, running, component, executor.container
            )
            if (
                done.state is not State.FAILED
                or attempt > policy.max_retry_count
                or self.stopping.is_set()
            ):
                break
            await self._pause(min(wait, longest))
            wait *= policy.backoff_factor or 2.0
        done = replace(done, seconds=time.monotonic() - started, attempts=attempt)
        if done.state is State.FAILED:
            return self._failed(done)
        self.watch(done)
        return Outcome(done.state, done.outputs)

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stopping.is_set():
            await asyncio.sleep(min(left, 0.2))

    def _attempt(
        self,
        step: StepReport,
        component: pb.ComponentSpec,
        container: pb.PipelineDeploymentConfig.PipelineContainerSpec,
    ) -> StepReport:
        if self.stopping.is_set():
            return replace(step, state=State.STOPPED, reason="The run was stopped.")
        self.watch(step)
        folder = self.folder / step.path
        try:
            _empty(folder)
            handed = executor_input(component, step.inputs, folder)
            job = self._job(step.name, step.path)
            source = python_source(container)
            if source is None:  # refused by check_pipeline
                raise PenstockError(f"{step.path} is not a Python component.")
            environment = {v.name: resolve(v.value, handed, job) for v in container.env}
            self.workers.run(
                {
                    "source": source.source,
                    "function": source.function,
                    "executor_input": handed,
                    "log": str(folder / LOG),
                    "environment": environment,
                },
                # A library reads its variables once, when it is imported.
                alone=self.isolate or bool(environment),
            )
            outputs = read_outputs(component, handed, step.path)
        except StepFailed as error:
            if self.stopping.is_set():
                return replace(step, state=State.STOPPED, reason="The run was stopped.")
            return replace(step, state=State.FAILED, reason=str(error), mendable=error.mendable)
        except PenstockError as error:
            return replace(step, state=State.FAILED, reason=str(error))
        except OSError as error:
            reason = f"{error.filename or folder}: {error.strerror}."
            return replace(step, state=State.FAILED, reason=reason)
        return replace(step, state=State.SUCCEEDED, outputs=outputs)

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
            ".pipeline_root": str(self.folder.parent.parent),
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


def _empty(folder: Path) -> None:
    if folder.exists():
        for entry in folder.iterdir():
            if entry.name != LOG:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    folder.mkdir(parents=True, exist_ok=True)
