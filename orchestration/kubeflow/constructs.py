"""What KFP's compiler writes and Kubeflow's backend does not run, or runs otherwise."""

import re
from collections.abc import Iterator

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..spec import Pipeline
from .finding import Finding, error, warning

RULE = "construct"
# How KFP's compiler names the DAGs of groups; every other DAG but the root is a nested pipeline.
GROUP = re.compile(r"comp-(for-loop|condition|condition-branches|exit-handler)-\d+")
IF_PRESENT = re.compile(r'"IfPresent": \{"InputName": "([^"]+)"')
COMPLETED = pb.PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED


def construct_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what is lost between KFP's compiler and the backend, naming the task."""
    for name, component in [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]:
        place = f" in {name}" if name else ""
        tasks = component.dag.tasks
        for task_name, task in sorted(tasks.items()):
            yield from _task_findings(pipeline, task, f"{task_name}{place}")
        # v2/compiler/argocompiler/dag.go: "DAG must contain one or more non-exit tasks".
        if component.HasField("dag") and all(
            task.trigger_policy.strategy == COMPLETED for task in tasks.values()
        ):
            what = f"the pipeline {name}" if name else "the pipeline"
            yield error(RULE, f"{what} has no task, or only tasks that run at its exit")
        yield from _output_findings(name, component, place)
    for name, component in sorted(pipeline.spec.components.items()):
        executor = pipeline.executors.get(component.executor_label)
        if executor is not None and executor.HasField("container"):
            yield from _command_findings(name, component, executor.container)


def _task_findings(pipeline: Pipeline, task: pb.PipelineTaskSpec, where: str) -> Iterator[Finding]:
    component = pipeline.spec.components.get(task.component_ref.name)
    executor = pipeline.executors.get(component.executor_label) if component else None
    if task.WhichOneof("iterator") == "artifact_iterator":
        # v2/compiler/argocompiler/dag.go: "artifact iterator not implemented yet".
        yield error(
            RULE,
            f"{where} is a loop over artifacts, which Kubeflow refuses: loop over their URIs or "
            "names as parameters",
        )
    if task.retry_policy.max_retry_count and component:
        configs = pipeline.platforms.get("kubernetes", {})
        config = configs.get(component.executor_label, {})
        yield from _retry_findings(task, int(config.get("activeDeadlineSeconds", 0)), where)
    if executor is None:
        return
    if executor.HasField("importer") and task.trigger_policy.condition:
        # v2/compiler/argocompiler/dag.go: "triggerPolicy.condition on importer task is not
        # supported".
        yield error(
            RULE,
            f"{where} is an importer with a condition, which Kubeflow refuses: import before the "
            "dsl.If, or let a component under it write the artifact",
        )
    if executor.WhichOneof("spec") not in ("container", "importer"):
        # v2/compiler/visitor.go: "non-container and non-importer executor not implemented".
        yield error(
            RULE,
            f"{where} is a {executor.WhichOneof('spec') or 'nothing'}: it runs on Vertex AI only",
        )


def _retry_findings(task: pb.PipelineTaskSpec, timeout: int, where: str) -> Iterator[Finding]:
    # argo-workflows, workflow/controller/operator.go, processNodeRetries.
    factor = task.retry_policy.backoff_factor
    if not factor.is_integer():
        yield warning(
            RULE,
            f"{where} is retried with the back-off factor {factor:g}, and Argo takes whole "
            "numbers: the run ends in an error when the task fails",
        )
    longest = int(task.retry_policy.backoff_max_duration.ToTimedelta().total_seconds())
    if timeout > longest or not longest:
        attempt = f"one attempt may take {timeout} s" if timeout else "the first has begun before"
        yield warning(
            RULE,
            f"{where} is not retried {longest} s after its first attempt began, and {attempt}: "
            "give a longer backoff_max_duration; KFP's call makes it 1h at most, "
            "retry.max_duration in --defaults does not",
        )


def _output_findings(name: str, component: pb.ComponentSpec, place: str) -> Iterator[Finding]:
    for output, artifact in sorted(component.dag.outputs.artifacts.items()):
        if len(artifact.artifact_selectors) > 1:
            # v2/driver/resolve.go, GetProducerTask: before 2.17 the last selector is taken.
            yield warning(
                RULE,
                f"{output}{place} is a dsl.OneOf of artifacts: before Kubeflow 2.17 it is always "
                "the last branch's, and the run fails when another was taken",
            )
        elif name and not GROUP.fullmatch(name):
            # v2/driver/resolve.go: subdag outputs are resolved from 2.4 on.
            yield warning(
                RULE,
                f"{output}{place} is an artifact output of a nested pipeline, which Kubeflow "
                "before 2.4 does not find",
            )


def _command_findings(
    name: str,
    component: pb.ComponentSpec,
    container: pb.PipelineDeploymentConfig.PipelineContainerSpec,
) -> Iterator[Finding]:
    texts = [*container.command, *container.args]
    if any(text.startswith('{"Concat": ') for text in texts):
        # Nothing under backend/src/ reads it.
        yield error(
            RULE,
            f"component {name} uses dsl.ConcatPlaceholder, which Kubeflow hands to the command as "
            "JSON text: pass the parts as arguments of their own, or join them in a component",
        )
    asked = {
        inner
        for text in texts
        if text.startswith(('{"IfPresent": ', '{"Concat": '))
        for inner in IF_PRESENT.findall(text)
    }
    for inner in sorted(asked):
        if inner in component.input_definitions.artifacts:
            # v2/driver/util.go, resolveCondition, looks among the parameters alone.
            yield error(
                RULE,
                f"component {name} asks by dsl.IfPresentPlaceholder for the artifact {inner}, "
                "which Kubeflow never finds: ask for a parameter, or let a Python component decide",
            )
        else:
            yield warning(
                RULE,
                f"component {name} asks by dsl.IfPresentPlaceholder for {inner}: Kubeflow before "
                "2.17 hands the question to the command as JSON text",
            )
