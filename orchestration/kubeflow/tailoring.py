"""Gives the steps of a compiled pipeline their defaults; what the pipeline itself sets stays."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kpb

from ...errors import PenstockError
from ..spec import Pipeline, documents, one_line, render
from ..step import python_source
from ..structure import structure_problems
from .defaults import Defaults
from .written import Written, written

# What an entry of a list in the platform document is known by; an entry of the pipeline's own that
# has the same is kept instead.
KNOWN_BY = {
    "secretAsVolume": "mountPath",
    "configMapAsVolume": "mountPath",
    "pvcMount": "mountPath",
    "imagePullSecret": "secretName",
}
VARIABLES = ("secretAsEnv", "configMapAsEnv")


def tailored(pipeline: Pipeline, defaults: Defaults) -> Pipeline:
    """Return the pipeline with defaults in it.

    The same pipeline and the same defaults give the same bytes, and giving the same defaults again
    changes nothing.

    Args:
        pipeline: The compiled pipeline.
        defaults: What its steps are given where they set nothing themselves.

    Raises:
        PenstockError: The defaults name no step of the pipeline, KFP does not take a value, or two
            tasks that share a component were given different settings.
    """
    for problem in structure_problems(pipeline):
        raise PenstockError(f"{pipeline.name} cannot be given defaults: {problem}.")
    tasks = _container_tasks(pipeline)
    defaults.check_names({task[2] for task in tasks}, {task[1] for task in tasks}, pipeline.name)
    _check_shared(tasks, defaults, pipeline.name)
    document, platform = documents(pipeline)
    kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    configs = kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {})
    for dag, name, component, label in tasks:
        settings = defaults.of(component, name)
        wanted = _written(settings, f"{defaults.where}, for {name},")
        parent = document["components"][dag] if dag else document["root"]
        _fill_task(parent["dag"]["tasks"][name], settings, wanted)
        container = json_format.MessageToDict(pipeline.executors[label].container)
        document["deploymentSpec"]["executors"][label]["container"] = container
        own = _readable(configs.pop(label, {}), label)
        _fill_container(container, own, wanted)
        filled = _filled_config(own, container, wanted)
        if filled:
            configs[label] = filled
    if not configs:
        del kubernetes["deploymentSpec"]
    return render(pipeline, document, platform)


def _readable(config: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """Return a step's part of the platform document, what a newer KFP may know left in it."""
    try:
        return json_format.MessageToDict(
            json_format.ParseDict(config, kpb.KubernetesExecutorConfig())
        )
    except json_format.ParseError:
        pass
    try:
        json_format.ParseDict(config, kpb.KubernetesExecutorConfig(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise PenstockError(
            f"The platform document's part for {label} cannot be read: {one_line(error)}"
        ) from error
    return config


def _check_shared(
    tasks: list[tuple[str, str, str, str]], defaults: Defaults, pipeline: str
) -> None:
    given: dict[str, tuple[str, dict[str, Any]]] = {}
    for _, name, component, label in tasks:
        settings = defaults.of(component, name)
        first, same = given.setdefault(label, (name, settings))
        if same != settings:
            raise PenstockError(
                f"{defaults.where} gives {name} other settings than {first}, and both are "
                f"{label} in {pipeline}: give them the same."
            )


def _container_tasks(pipeline: Pipeline) -> list[tuple[str, str, str, str]]:
    """Return DAG, task, component and executor of each step that runs in a container."""
    found = []
    components = pipeline.spec.components
    for dag, parent in [("", pipeline.spec.root), *sorted(components.items())]:
        for name, task in sorted(parent.dag.tasks.items()):
            label = pipeline.component(task).executor_label
            executor = pipeline.executors.get(label)
            if executor is not None and executor.HasField("container"):
                component = _component_name(pipeline, task.component_ref.name, executor.container)
                found.append((dag, name, component, label))
    return found


def _component_name(pipeline: Pipeline, reference: str, container: Any) -> str:
    """Return what the author called a component: KFP's compiler numbers its later tasks."""
    source = python_source(container)
    if source is not None:
        return source.function.replace("_", "-")
    name = reference.removeprefix("comp-")
    base, _, number = name.rpartition("-")
    return base if number.isdigit() and f"comp-{base}" in pipeline.spec.components else name


def _written(settings: Mapping[str, Any], where: str) -> Written:
    try:
        return written(settings)
    except ValueError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise PenstockError(f"{where} cannot be given to KFP: {reason}.") from error


def _fill_task(task: dict[str, Any], settings: Mapping[str, Any], wanted: Written) -> None:
    if wanted.retry and "retryPolicy" not in task:
        task["retryPolicy"] = dict(wanted.retry)
    if settings.get("cache") is False:
        task["cachingOptions"] = {}


def _fill_container(container: dict[str, Any], config: Mapping[str, Any], wanted: Written) -> None:
    known = {variable["name"] for variable in container.get("env", [])} | _variables(config)
    more = [v for v in wanted.container.get("env", []) if v["name"] not in known]
    if more:
        container["env"] = [*container.get("env", []), *more]
    own = container.get("resources", {})
    # KFP writes a limit twice, as a number and as text; the pipeline's own keeps both out.
    taken = {_resource(key) for key in own}
    filled = {
        key: value
        for key, value in wanted.container.get("resources", {}).items()
        if _resource(key) not in taken
    }
    if own or filled:
        container["resources"] = {**own, **filled}


def _resource(key: str) -> str:
    return key.removeprefix("resource").lower()


def _variables(config: Mapping[str, Any]) -> set[str]:
    return {
        each.get("envVar", "")
        for kind in VARIABLES
        for entry in config.get(kind, [])
        for each in entry.get("keyToEnv") or []
    }


def _filled_config(
    own: Mapping[str, Any], container: Mapping[str, Any], wanted: Written
) -> dict[str, Any]:
    variables = _variables(own) | {each["name"] for each in container.get("env", [])}
    config = dict(own)
    for key, value in wanted.kubernetes.items():
        if key in VARIABLES:
            more = [e for e in value if not _variables({key: [e]}) & variables]
            config[key] = [*own.get(key, []), *more]
        elif isinstance(value, list):
            by = KNOWN_BY.get(key)
            taken = [entry.get(by) if by else entry for entry in own.get(key, [])]
            more = [entry for entry in value if (entry.get(by) if by else entry) not in taken]
            config[key] = [*own.get(key, []), *more]
        elif isinstance(value, dict):
            config[key] = _both(own.get(key, {}), value)
        else:
            config.setdefault(key, value)
    return {key: value for key, value in config.items() if value not in ([], {})}


def _both(own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return two mappings as one, key by key, the first one's values kept."""
    both = {**more, **own}
    for key in set(own) & set(more):
        if isinstance(own[key], dict) and isinstance(more[key], dict):
            both[key] = _both(own[key], more[key])
    return both
