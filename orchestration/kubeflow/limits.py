"""Names and sizes that the API server, Argo, Kubernetes and Linux set limits to."""

import re
from collections.abc import Iterator

from ..spec import Pipeline
from .arguments import arguments
from .constructs import COMPLETED
from .finding import Finding, error, warning

# apiserver/common/utils.go, ValidatePipelineName.
PIPELINE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# apiserver/validation/length.go: 128 for a pipeline, 127 for its version, which takes its name.
PIPELINE_NAME_LENGTH = 127
# argo-workflows, workflow/validate/validate.go: names of tasks and templates; a name in `depends`,
# which the compiler always writes, must not begin with a digit.
ARGO_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]*")
ARGO_NAME_LENGTH = 128
# apiserver/common/const.go, MaxFileLength.
FILE_BYTES = 32 << 20
# The driver is given these as one argument each (v2/compiler/argocompiler/container.go), and Linux
# takes none longer (MAX_ARG_STRLEN, with the byte that ends it).
ARGUMENT_BYTES = 128 * 1024 - 1
# What etcd takes for one object (--max-request-bytes), and the Workflow, with its state, is one.
OBJECT_BYTES = 1536 * 1024
SDK = re.compile(r"kfp-2\.\d+\.\d+.*")


def limit_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield names and sizes that are beyond a limit."""
    yield from _name_findings(pipeline)
    yield from _task_name_findings(pipeline)
    yield from _size_findings(pipeline)
    sdk = pipeline.spec.sdk_version
    if not SDK.fullmatch(sdk):
        yield warning(
            "version",
            f"sdkVersion is {sdk or 'missing'}, not kfp-2.x: the file was not written by KFP 2's "
            "compiler, so compile the pipeline with it",
        )


def _name_findings(pipeline: Pipeline) -> Iterator[Finding]:
    name = pipeline.name
    if not PIPELINE_NAME.fullmatch(name):
        yield error(
            "name",
            f"the pipeline's name {name!r} must be lower-case letters, digits and '-', beginning "
            "with a letter or digit: give another with @dsl.pipeline(name=...)",
        )
    elif len(name) > PIPELINE_NAME_LENGTH:
        yield error(
            "name",
            f"the pipeline's name has {len(name)} characters, and Kubeflow takes "
            f"{PIPELINE_NAME_LENGTH}: shorten it with @dsl.pipeline(name=...)",
        )


def _task_name_findings(pipeline: Pipeline) -> Iterator[Finding]:
    for dag, component in [("root", pipeline.spec.root), *sorted(pipeline.spec.components.items())]:
        for name, task in sorted(component.dag.tasks.items()):
            where = f"task {name}" + ("" if dag == "root" else f" in {dag}")
            if not ARGO_NAME.fullmatch(name):
                yield error(
                    "name",
                    f"{where} must have a name of letters, digits and '-', the first a letter",
                )
            # v2/compiler/argocompiler/dag.go: what the task's templates and tasks are called.
            made = [
                f"{name}-driver",
                f"exit-hook-{dag}-{name}" if task.trigger_policy.strategy == COMPLETED else name,
            ]
            if task.WhichOneof("iterator"):
                made.append(f"{task.component_ref.name}-{name}-iterator")
            longest = max(made, key=len)
            if len(longest) > ARGO_NAME_LENGTH:
                yield error(
                    "name",
                    f"{where} becomes {longest} in Argo, {len(longest)} characters, and Argo takes "
                    f"{ARGO_NAME_LENGTH}: shorten the names of the function and its pipeline",
                )


def _size_findings(pipeline: Pipeline) -> Iterator[Finding]:
    size = len(pipeline.text.encode())
    if size > FILE_BYTES:
        yield error(
            "size",
            f"the file has {size:,} bytes, and Kubeflow takes {FILE_BYTES:,}: move large constants "
            "into files",
        )
    total = 0
    for what, text in arguments(pipeline):
        length = len(text.encode())
        total += length
        if length > ARGUMENT_BYTES:
            yield error(
                "size",
                f"{what} has {length:,} bytes, and Kubeflow's driver takes {ARGUMENT_BYTES:,} "
                "as one argument: move large constants into files or artifacts",
            )
    if total > OBJECT_BYTES:
        yield error(
            "size",
            f"the workflow would have about {total:,} bytes, and Kubernetes keeps objects up to "
            f"{OBJECT_BYTES:,}: move large constants into files or artifacts",
        )
    elif total > OBJECT_BYTES // 2:
        yield warning(
            "size",
            f"the workflow has about {total:,} bytes before it runs, and Kubernetes keeps objects "
            f"up to {OBJECT_BYTES:,}, with the state of its steps: it may fail in the middle",
        )
