"""Settings of a step in the words of KFP: what its own calls on a task write into the YAML."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf import json_format

UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Written:
    """One task's settings, as parts of a compiled pipeline.

    Attributes:
        container: `resources` and `env` of its executor.
        retry: Its retry policy; empty for none.
        kubernetes: Its part of the platform document.
    """

    container: Mapping[str, Any]
    retry: Mapping[str, Any]
    kubernetes: Mapping[str, Any]


def written(settings: Mapping[str, Any]) -> Written:
    """Return what kfp and kfp-kubernetes write for settings.

    A pipeline of one step is compiled with them, so that whatever the installed versions write for
    an author's own calls is written here.

    Args:
        settings: See `schemas/step_defaults.schema.json`, nothing in it null.

    Raises:
        ValueError: KFP takes a value for none.
    """
    return _written(json.dumps(settings, sort_keys=True))


@lru_cache
def _written(text: str) -> Written:
    from kfp import dsl

    @dsl.container_component
    def step() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image="none")

    @dsl.pipeline(name="step")
    def pipeline() -> None:
        _apply(step(), json.loads(text))

    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    retry = spec["root"]["dag"]["tasks"]["step"].get("retryPolicy", {})
    longest = json.loads(text).get("retry", {}).get("max_duration")
    if retry and longest:
        # KFP's call makes it an hour at most; Argo takes any.
        retry["backoffMaxDuration"] = f"{_seconds(longest)}s"
    platforms = json_format.MessageToDict(pipeline.platform_spec).get("platforms", {})
    executors = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    return Written(
        spec["deploymentSpec"]["executors"]["exec-step"]["container"],
        retry,
        executors.get("exec-step", {}),
    )


def _apply(task: Any, settings: Mapping[str, Any]) -> None:
    from kfp import kubernetes

    _apply_resources(task, settings.get("resources", {}))
    for name, value in settings.get("env", {}).items():
        task.set_env_variable(name, value)
    retry = settings.get("retry", {})
    if retry.get("count"):
        task.set_retry(retry["count"], retry.get("backoff"), retry.get("factor"))
    for key, value in settings.get("node_selector", {}).items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in settings.get("tolerations", []):
        seconds = toleration.get("tolerationSeconds")
        rest = {key: value for key, value in toleration.items() if key != "tolerationSeconds"}
        kubernetes.add_toleration(task, **rest, toleration_seconds=seconds)
    for name, path in settings.get("volumes", {}).items():
        kubernetes.mount_pvc(task, name, path)
    for key, value in settings.get("labels", {}).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in settings.get("annotations", {}).items():
        kubernetes.add_pod_annotation(task, key, value)
    if settings.get("image_pull_secrets"):
        kubernetes.set_image_pull_secrets(task, settings["image_pull_secrets"])
    if "image_pull_policy" in settings:
        kubernetes.set_image_pull_policy(task, settings["image_pull_policy"])
    if "timeout" in settings:
        kubernetes.set_timeout(task, _seconds(settings["timeout"]))
    _apply_sources(
        task,
        settings.get("secrets", {}),
        kubernetes.use_secret_as_env,
        kubernetes.use_secret_as_volume,
    )
    _apply_sources(
        task,
        settings.get("config_maps", {}),
        kubernetes.use_config_map_as_env,
        kubernetes.use_config_map_as_volume,
    )


def _apply_resources(task: Any, resources: Mapping[str, Any]) -> None:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for given, name, call in (
        (requests, "cpu", task.set_cpu_request),
        (limits, "cpu", task.set_cpu_limit),
        (requests, "memory", task.set_memory_request),
        (limits, "memory", task.set_memory_limit),
    ):
        if name in given:
            call(str(given[name]))
    accelerators = {name: n for name, n in limits.items() if name not in ("cpu", "memory")}
    if len(accelerators) > 1:
        raise ValueError(f"KFP gives a step accelerators of one kind, not {sorted(accelerators)}")
    for name, count in accelerators.items():
        task.set_accelerator_type(name)
        task.set_accelerator_limit(count)


def _apply_sources(task: Any, sources: Mapping[str, Any], as_env: Any, as_volume: Any) -> None:
    for name, use in sources.items():
        if use.get("env"):
            # KFP takes key to variable, and one key may be wanted in several variables.
            for variable, key in use["env"].items():
                as_env(task, name, {key: variable})
        if use.get("path"):
            as_volume(task, name, use["path"])


def _seconds(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]
