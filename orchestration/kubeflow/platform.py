"""The second document: what kfp-kubernetes asks of the cluster, and the containers' resources."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kpb

from ..spec import Pipeline, one_line
from .finding import Finding, error, several, warning

RULE = "platform"
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# v2/driver/k8s.go, extendPodSpecPatch.
PULL_POLICIES = ("Always", "Never", "IfNotPresent")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
OPERATORS = ("Equal", "Exists")
RESOURCES = {
    "cpu": ("resource_cpu_request", "resource_cpu_limit"),
    "memory": ("resource_memory_request", "resource_memory_limit"),
}


def platform_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what the driver or Kubernetes would refuse, naming the executor."""
    wrong: dict[str, list[str]] = defaultdict(list)
    for label, executor in sorted(pipeline.executors.items()):
        if executor.HasField("container"):
            for text in _resource_problems(executor.container.resources):
                wrong[text].append(label)
    for platform in sorted(pipeline.platforms):
        if platform != "kubernetes":
            # apiserver/template/v2_template.go picks out "kubernetes".
            yield warning(
                RULE, f"the platform document configures {platform}, which Kubeflow ignores"
            )
    for label, config in sorted(pipeline.platforms.get("kubernetes", {}).items()):
        executor = pipeline.executors.get(label)
        if executor is None:
            yield error(RULE, f"the platform document configures {label}, an executor not there")
        elif not executor.HasField("container"):
            yield warning(RULE, f"the platform document configures {label}, which has no container")
        else:
            yield from _unknown_findings(config, label)
            for text in _config_problems(config):
                wrong[text].append(label)
    for text, labels in wrong.items():
        yield error(RULE, f"{several(labels)}: {text}")


def _unknown_findings(config: dict[str, Any], label: str) -> Iterator[Finding]:
    try:
        json_format.ParseDict(config, kpb.KubernetesExecutorConfig())
    except json_format.ParseError as unknown:
        # v2/compiler/argocompiler/container.go: "failed to unmarshal kubernetes config".
        yield warning(
            RULE,
            f"{label} is configured in a way that the kfp-kubernetes installed here does not know, "
            f"and Kubeflow refuses what it does not know: {one_line(unknown)}".rstrip("."),
        )


def _resource_problems(resources: Any) -> Iterator[str]:
    for what, names in RESOURCES.items():
        texts = [text for name in names if (text := getattr(resources, name)) and "{{" not in text]
        amounts = [_amount(text) for text in texts]
        for text, amount in zip(texts, amounts, strict=True):
            if amount is None:
                yield f"{text} is not a quantity of {what}, such as 2 or 4Gi"
        request, limit = amounts if len(amounts) == 2 else (None, None)
        if request is not None and limit is not None and request > limit:
            yield f"the request of {what}, {texts[0]}, is above its limit, {texts[1]}"


def _amount(text: str) -> Decimal | None:
    from kubernetes.utils.quantity import parse_quantity

    try:
        return Decimal(parse_quantity(text))
    except ValueError:
        return None


def _config_problems(config: dict[str, Any]) -> Iterator[str]:
    asked = kpb.KubernetesExecutorConfig()
    try:
        json_format.ParseDict(config, asked, ignore_unknown_fields=True)
    except json_format.ParseError as wrong:
        yield f"the configuration cannot be read: {one_line(wrong)}".rstrip(".")
        return
    policy = asked.image_pull_policy
    if policy and policy not in PULL_POLICIES:
        yield f"the image pull policy {policy} is none of {', '.join(PULL_POLICIES)}"
    for toleration in asked.tolerations:
        for word, known in ((toleration.effect, EFFECTS), (toleration.operator, OPERATORS)):
            if word and word not in known:
                yield f"a toleration says {word}, which is none of {', '.join(known)}"
    for volume in (*asked.empty_dir_mounts, *asked.generic_ephemeral_volume):
        size = getattr(volume, "size_limit", "") or getattr(volume, "size", "")
        if size and _amount(size) is None:
            # v2/driver/k8s.go parses it by MustParse, which ends the driver.
            yield f"the size {size} of the volume {volume.volume_name} is none such as 2Gi"
    yield from _name_problems(asked)
    yield from _volume_problems(asked)


def _name_problems(asked: Any) -> Iterator[str]:
    labels = [("label", *pair) for pair in sorted(asked.pod_metadata.labels.items())]
    labels += [("node selector", *pair) for pair in sorted(asked.node_selector.labels.items())]
    for kind, key, value in labels:
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            yield (
                f"the {kind} {key}={value} is none in Kubernetes: at most 63 letters, digits, '-', "
                "'_' and '.', at both ends a letter or digit"
            )
    names = [_name(secret, "secret_name") for secret in asked.image_pull_secret]
    names += [_name(secret, "secret_name") for secret in asked.secret_as_env]
    names += [_name(config, "config_map_name") for config in asked.config_map_as_env]
    for name in sorted(set(names)):
        if name and not SUBDOMAIN.fullmatch(name):
            yield f"{name} cannot be the name of a secret or config map in Kubernetes"


def _volume_problems(asked: Any) -> Iterator[str]:
    volumes = [
        *((_name(volume, "secret_name"), volume.mount_path) for volume in asked.secret_as_volume),
        *((_name(v, "config_map_name"), v.mount_path) for v in asked.config_map_as_volume),
        *((volume.volume_name, volume.mount_path) for volume in asked.generic_ephemeral_volume),
        *((volume.volume_name, volume.mount_path) for volume in asked.empty_dir_mounts),
        *((_name(claim, "constant", "pvc_name"), claim.mount_path) for claim in asked.pvc_mount),
    ]
    # v2/driver/k8s.go calls the volume what the secret, config map or claim is called.
    names = Counter(name for name, _ in volumes if name)
    for name, count in sorted(names.items()):
        if not LABEL.fullmatch(name):
            yield (
                f"{name} cannot be mounted: Kubeflow gives its name to the volume, and Kubernetes "
                "takes lower-case letters, digits and '-' there, at most 63"
            )
        if count > 1:
            yield f"{name} is mounted {count} times, and Kubernetes refuses two volumes of one name"
    paths = Counter(path for _, path in volumes)
    yield from (f"two volumes are mounted at {path}" for path in sorted(paths) if paths[path] > 1)


def _name(message: Any, *fields: str) -> str:
    """Return the name that a message gives by itself or as a constant; empty if by a parameter."""
    for field in fields:
        for place in (field, f"{field}_parameter"):
            if place not in message.DESCRIPTOR.fields_by_name:
                continue
            value = getattr(message, place)
            text = value if isinstance(value, str) else value.runtime_value.constant.string_value
            if text:
                return str(text)
    return ""
