"""What runs here and may not run on Kubeflow: said at the start of a run, not refused."""

import re

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from .spec import Pipeline

# How KFP's compiler names the DAGs of groups; every other DAG but the root is a nested pipeline.
GROUP = re.compile(r"comp-(for-loop|condition|condition-branches|exit-handler)-\d+")
IF_PRESENT = re.compile(r'"IfPresent": \{"InputName": "([^"]+)"')


def doubts(pipeline: Pipeline) -> list[str]:
    """Return what runs here but, as far as is known, not on Kubeflow's backend: a phrase each."""
    found = []
    for name, component in [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]:
        place = f" in {name}" if name else ""
        for task_name, task in sorted(component.dag.tasks.items()):
            inner = pipeline.spec.components.get(task.component_ref.name)
            executor = pipeline.executors.get(inner.executor_label) if inner else None
            if task.WhichOneof("iterator") == "artifact_iterator":
                found.append(f"{task_name}{place} is a loop over artifacts")
            if executor and executor.HasField("importer") and task.trigger_policy.condition:
                found.append(f"{task_name}{place} is an importer with a condition")
            if executor and executor.HasField("container"):
                found += [
                    f"{task_name}{place} asks by dsl.IfPresentPlaceholder for the artifact {asked}"
                    for asked in sorted(_asked_for(executor.container))
                    if asked in inner.input_definitions.artifacts
                ]
        for output, artifact in sorted(component.dag.outputs.artifacts.items()):
            if len(artifact.artifact_selectors) > 1:
                found.append(f"{output}{place} is a dsl.OneOf of artifacts")
            elif name and not GROUP.fullmatch(name):
                found.append(f"{output}{place} is an artifact output of a nested pipeline")
    return found


def _asked_for(container: pb.PipelineDeploymentConfig.PipelineContainerSpec) -> set[str]:
    structs = [
        text
        for text in (*container.command, *container.args)
        if text.startswith(('{"IfPresent": ', '{"Concat": '))
    ]
    return {name for text in structs for name in IF_PRESENT.findall(text)}
