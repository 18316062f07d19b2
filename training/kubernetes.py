"""A job on Kubernetes from its creation to its end: watched, its logs shown, never left behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..clusters import connect, own_namespace, reason
from ..errors import PenstockError
from .manifests import KubernetesJob, job_name, manifests
from .preemption import Preempted, Preemption

_LOOK_SECONDS = 2.0
_PLURALS = {"TrainingRuntime": "trainingruntimes", "TrainJob": "trainjobs", "TFJob": "tfjobs"}
_ENDS = {"Complete": True, "Succeeded": True, "Failed": False}
# Labels by which the operators mark a job's pods.
_SELECTORS = {
    "TrainJob": "jobset.sigs.k8s.io/jobset-name={name}",
    "TFJob": "training.kubeflow.org/job-name={name}",
}


@dataclass
class RunningJob:
    """Objects on the cluster, and how much of their logs has been shown.

    Attributes:
        objects: As created, in order.
        shown: Per pod and container start, how many lines of its log were shown.
    """

    objects: list[dict[str, Any]] = field(default_factory=list)
    shown: dict[str, int] = field(default_factory=dict)


def run_job(
    job: KubernetesJob,
    name: str,
    command: Sequence[str],
    workers: int,
    restarts: int,
    preemption: Preemption,
    servers: int = 0,
) -> None:
    """Create a job, show its logs, and wait until it has ended well.

    The job is deleted when this ends, however it does; were this process killed, Kubernetes deletes
    it with the step's pod, which owns it.

    Args:
        job: How workers run.
        name: Of the job.
        command: What each worker runs.
        workers: How many.
        restarts: How often the job is started again when a worker fails.
        preemption: Tells when to stop.
        servers: How many parameter servers, with a chief, there are beside the workers.

    Raises:
        Preempted: This process was told to stop.
        PenstockError: There is no cluster, it refuses the job, or the job failed or took too long.
    """
    client = connect("train on")
    running = RunningJob()
    preemption.saving = True
    try:
        owners = _owners(job.namespace)
        for manifest in manifests(job, name, command, workers, restarts, owners, servers):
            running.objects.append(_create(client, manifest))
        _wait(client, job, name, running, preemption)
    finally:
        preemption.saving = False
        _delete(client, running)


def settled(job: KubernetesJob) -> KubernetesJob:
    """Fill in what the step's own pod says: its namespace and its image.

    Raises:
        PenstockError: They are not given, and this is no pod that says so.
    """
    namespace = job.namespace or own_namespace()
    image = job.image or os.environ.get("PENSTOCK_IMAGE", "")
    for what, value in (("namespace", namespace), ("image", image)):
        if not value:
            raise PenstockError(
                f"kubernetes has no {what}, and this step does not know its own; give "
                f"kubernetes={{'{what}': ...}}."
            )
    return replace(job, namespace=namespace, image=image)


def unique_name(prefix: str) -> str:
    """Return a name for a job, other each time."""
    return job_name(prefix, f"{time.time_ns() // 1000:x}"[-8:])


def _owners(namespace: str) -> list[dict[str, Any]]:
    """Return the step's pod as owner; Kubeflow Pipelines names it in the environment."""
    name, uid = os.environ.get("KFP_POD_NAME", ""), os.environ.get("KFP_POD_UID", "")
    own = own_namespace() or namespace
    if not name or not uid or own != namespace:
        return []
    return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]


def _create(client: Any, manifest: Mapping[str, Any]) -> dict[str, Any]:
    group, version = manifest["apiVersion"].split("/")
    kind, metadata = manifest["kind"], manifest["metadata"]
    try:
        created: dict[str, Any] = client.CustomObjectsApi().create_namespaced_custom_object(
            group,
            version,
            metadata["namespace"],
            _PLURALS[kind],
            manifest,
            field_validation="Strict",
        )
    except client.ApiException as error:
        # A namespace that is not there is a 404 too, and says so.
        if error.status == 404 and "namespaces" not in reason(error):
            raise PenstockError(
                f"The cluster knows no {kind} ({manifest['apiVersion']}); install Kubeflow Trainer "
                "for TrainJob or the Training Operator for TFJob, or give kubernetes the other "
                "kind."
            ) from error
        raise PenstockError(
            f"The cluster refuses the {kind} {metadata['name']} in namespace "
            f"{metadata['namespace']}: {reason(error)}."
        ) from error
    return created


def _wait(
    client: Any, job: KubernetesJob, name: str, running: RunningJob, preemption: Preemption
) -> None:
    end = time.monotonic() + job.timeout_seconds
    while True:
        ended = _ended(client, running.objects[-1])
        _show_logs(client, job, name, running)
        if ended is not None:
            well, why = ended
            if not well:
                raise PenstockError(
                    f"The {job.kind} {name} in namespace {job.namespace} failed ({why}); the "
                    "workers' logs are in the step's log."
                )
            return
        if preemption.told:
            raise Preempted
        if time.monotonic() > end:
            raise PenstockError(
                f"The {job.kind} {name} in namespace {job.namespace} was not done after "
                f"{job.timeout_seconds:g} s and was deleted; raise timeout_seconds, or look "
                "whether the cluster has room for its pods."
            )
        time.sleep(_LOOK_SECONDS)


def _ended(client: Any, created: Mapping[str, Any]) -> tuple[bool, str] | None:
    """Return whether the job ended well, and why; None while it goes on."""
    group, version = created["apiVersion"].split("/")
    metadata = created["metadata"]
    try:
        found = client.CustomObjectsApi().get_namespaced_custom_object(
            group,
            version,
            metadata["namespace"],
            _PLURALS[created["kind"]],
            metadata["name"],
        )
    except client.ApiException as error:
        if error.status == 404:
            return False, "somebody deleted it"
        if error.status in (429, 500, 502, 503, 504):
            return None
        raise PenstockError(f"The cluster does not show the job: {reason(error)}.") from error
    for condition in found.get("status", {}).get("conditions", ()):
        if condition["type"] in _ENDS and condition["status"] == "True":
            why = condition.get("message") or condition.get("reason") or condition["type"]
            return _ENDS[condition["type"]], why.strip().rstrip(".")
    return None


def _show_logs(client: Any, job: KubernetesJob, name: str, running: RunningJob) -> None:
    """Write what the pods have logged since the last time to standard error, pod by pod."""
    core = client.CoreV1Api()
    selector = _SELECTORS[job.kind].format(name=name)
    try:
        pods = core.list_namespaced_pod(job.namespace, label_selector=selector).items
    except client.ApiException as error:
        # The job goes on without its logs; that they may not be read is said once.
        _say_once(running, f"the pods' logs cannot be read: {reason(error)}")
        return
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        if not any(status.container_id for status in pod.status.container_statuses or ()):
            continue
        try:
            log = core.read_namespaced_pod_log(pod.metadata.name, job.namespace)
        except client.ApiException as error:
            _say_once(running, f"the log of {pod.metadata.name} cannot be read: {reason(error)}")
            continue
        lines = (log or "").splitlines()
        key = pod.metadata.uid
        for line in lines[running.shown.get(key, 0) :]:
            sys.stderr.write(f"{pod.metadata.name}: {line}\n")
        running.shown[key] = max(len(lines), running.shown.get(key, 0))


def _say_once(running: RunningJob, sentence: str) -> None:
    if sentence not in running.shown:
        running.shown[sentence] = 1
        sys.stderr.write(f"penstock: {sentence}\n")


def _delete(client: Any, running: RunningJob) -> None:
    """Delete what was created, last first; the operators delete the pods with the job."""
    for created in reversed(running.objects):
        group, version = created["apiVersion"].split("/")
        metadata = created["metadata"]
        try:
            client.CustomObjectsApi().delete_namespaced_custom_object(
                group,
                version,
                metadata["namespace"],
                _PLURALS[created["kind"]],
                metadata["name"],
                propagation_policy="Background",
            )
        except client.ApiException as error:
            if error.status != 404:
                sys.stderr.write(
                    f"penstock: {created['kind']} {metadata['name']} could not be deleted "
                    f"({reason(error)}); delete it by hand.\n"
                )
