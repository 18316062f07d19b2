"""Images that a cluster does not find or that change under it, and caches that go stale."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..spec import Pipeline
from .finding import Finding, error, several, warning

# The grammar of references: github.com/distribution/reference.
REFERENCE = re.compile(
    r"[A-Za-z0-9.\[\]:_-]+(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(@sha256:[0-9a-f]{64})?"
)
URI = re.compile(r"[a-z][a-z0-9+.-]*://\S+")


def image_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what is wrong with images, and where a cached result would be a stale one."""
    users = _tasks_by_label(pipeline)
    by_image: dict[str, list[str]] = defaultdict(list)
    for label, executor in sorted(pipeline.executors.items()):
        if executor.HasField("container") and label in users:
            by_image[executor.container.image].append(label)
    for image, labels in sorted(by_image.items()):
        tasks = [(name, task) for label in labels for name, task, _ in users[label]]
        yield from _image_findings(image, tasks)
    for label in sorted(users):
        for name, task, parent in users[label]:
            yield from _cache_findings(pipeline, parent, task, name)


def _tasks_by_label(
    pipeline: Pipeline,
) -> dict[str, list[tuple[str, pb.PipelineTaskSpec, pb.ComponentSpec]]]:
    found = defaultdict(list)
    for _, parent in [("", pipeline.spec.root), *sorted(pipeline.spec.components.items())]:
        for name, task in sorted(parent.dag.tasks.items()):
            label = pipeline.component(task).executor_label
            if label and pipeline.executors[label].HasField("container"):
                found[label].append((name, task, parent))
    return found


def _image_findings(
    image: str, tasks: Sequence[tuple[str, pb.PipelineTaskSpec]]
) -> Iterator[Finding]:
    who = several(name for name, _ in tasks)
    if "{{$" in image:
        return
    if not REFERENCE.fullmatch(image):
        yield error("image", f"{who}: {image or 'an empty text'} is not a reference of an image")
        return
    if image.startswith("localhost/"):
        yield warning(
            "image",
            f"{who}: {image} is on the node's own disk or nowhere; push it to a registry that the "
            "cluster reaches, and compile with PENSTOCK_IMAGE_REGISTRY=<registry>/<project>",
        )
    last = image.rsplit("/", 1)[-1]
    if "@" in last or (":" in last and not last.endswith(":latest")):
        return
    # v2/cacheutils/cache.go, GenerateCacheKey: the key holds the image as it is written.
    if any(task.caching_options.enable_cache for _, task in tasks):
        yield warning(
            "image",
            f"{who}: {image} has a tag that moves, and Kubeflow's cache knows the image by its "
            "name: results of an older image are taken for the newer one's; name a version or a "
            "digest",
        )
    else:
        yield warning(
            "image",
            f"{who}: {image} has a tag that moves, so two steps of one run may differ: name a "
            "version or a digest",
        )


def _cache_findings(
    pipeline: Pipeline, parent: pb.ComponentSpec, task: pb.PipelineTaskSpec, name: str
) -> Iterator[Finding]:
    component = pipeline.component(task)
    if not task.caching_options.enable_cache:
        return
    made = component.output_definitions
    if not made.parameters and not made.artifacts:
        yield warning(
            "cache",
            f"{name} has no outputs and is cached, so what it does elsewhere it does once: call "
            ".set_caching_options(False) on it",
        )
    if task.inputs.artifacts:
        return
    # v2/cacheutils/cache.go: parameters by value; what they name is not looked at.
    for parameter, source in sorted(task.inputs.parameters.items()):
        value = source.runtime_value.constant.string_value
        if source.component_input_parameter:
            outer = parent.input_definitions.parameters[source.component_input_parameter]
            value = outer.default_value.string_value
        if URI.fullmatch(value):
            yield warning(
                "cache",
                f"{name} reads {parameter}={value} and is cached by that name, so new content is "
                "not seen: put a date or version into it, or call .set_caching_options(False)",
            )
