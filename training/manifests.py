"""What is asked of Kubernetes: a TrainJob with its runtime, or a TFJob, for a number of workers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..data.remote import is_url
from ..errors import PenstockError

TRAIN_JOB, TF_JOB = KINDS = ("TrainJob", "TFJob")
PORT = 2222
HOSTS = "PENSTOCK_HOSTS"

# `cluster` calls these refusals; trying again would not help.
_REFUSED = 2
_CONTAINERS = {TRAIN_JOB: "node", TF_JOB: "tensorflow"}


@dataclass(frozen=True)
class KubernetesJob:
    """How workers run on a Kubernetes cluster.

    Attributes:
        shared: Where data and model pass between the step and the workers: the path of a volume
            that both mount, or a URL, such as `s3://bucket/folder`.
        claim: The PersistentVolumeClaim that is mounted at `shared` when that is a path. Several
            nodes write to it: access mode ReadWriteMany.
        kind: `TrainJob` (Kubeflow Trainer 2, trainer.kubeflow.org/v1alpha1, and JobSet) or `TFJob`
            (Training Operator, kubeflow.org/v1).
        image: The workers' image; the step's own when empty.
        namespace: Where the job runs; the step's own when empty.
        cpu: Cores per worker, as Kubernetes writes quantities.
        memory: Memory per worker.
        accelerators: Extended resources per worker, such as `{"nvidia.com/gpu": 1}`.
        tolerations: As in a pod, such as those of spot nodes.
        node_selector: Labels of the nodes to run on.
        service_account: Under which workers run; the namespace's default when empty.
        secret: A Secret whose keys become environment variables of the workers, such as the object
            store's credentials.
        env: More environment variables.
        timeout_seconds: The job is ended after so long.
    """

    shared: str
    claim: str = ""
    kind: str = TRAIN_JOB
    image: str = ""
    namespace: str = ""
    cpu: str = ""
    memory: str = ""
    accelerators: Mapping[str, int] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    service_account: str = ""
    secret: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: int = 86_400


def read_kubernetes_job(settings: Mapping[str, Any]) -> KubernetesJob:
    """Return the settings in a step's dictionary, in which numbers may have become floats.

    Raises:
        PenstockError: One is unknown, missing or of another type.
    """
    known = {each.name: each for each in fields(KubernetesJob)}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise PenstockError(
            f"kubernetes has the setting {unknown[0]!r}, which is unknown; there are "
            f"{', '.join(known)}."
        )
    job = KubernetesJob(**{"shared": "", **settings})
    types: tuple[tuple[str, Any, str], ...] = (
        *((n, str, "a text") for n in ("shared", "claim", "kind", "image", "namespace")),
        *((n, str, "a text") for n in ("cpu", "memory", "service_account", "secret")),
        *((n, Mapping, "a dictionary") for n in ("accelerators", "node_selector", "env")),
        ("tolerations", (list, tuple), "a list"),
        ("timeout_seconds", (int, float), "a number"),
    )
    for name, kinds, what in types:
        if not isinstance(getattr(job, name), kinds):
            raise PenstockError(f"kubernetes' {name} is {getattr(job, name)!r}; it must be {what}.")
    if job.kind not in KINDS:
        raise PenstockError(f"kubernetes' kind is {job.kind!r}; it must be TrainJob or TFJob.")
    if job.timeout_seconds < 1:
        raise PenstockError(
            f"kubernetes' timeout_seconds is {job.timeout_seconds}; it must be 1 or more."
        )
    if not job.shared or is_url(job.shared) == bool(job.claim):
        raise PenstockError(
            f"kubernetes' shared is {job.shared!r} and its claim {job.claim!r}; give the path of a "
            "volume and its PersistentVolumeClaim, or a URL such as s3://bucket/folder without "
            "claim."
        )
    return job


def manifests(
    job: KubernetesJob,
    name: str,
    command: Sequence[str],
    workers: int,
    restarts: int,
    owners: Sequence[Mapping[str, Any]] = (),
    servers: int = 0,
) -> list[dict[str, Any]]:
    """Return the objects to create, in this order.

    Kubeflow Trainer has no policy for TensorFlow. So a TrainJob comes with a plain runtime of its
    own, which holds the whole pod, and workers make `TF_CONFIG` from the names that JobSet gives
    its pods. The operator of TFJobs sets `TF_CONFIG` itself.

    Args:
        job: How workers run; image and namespace filled in.
        name: Of all objects, as `job_name` makes one.
        command: What each worker runs.
        workers: How many, at least 1.
        restarts: How often the job is started again when a worker fails.
        owners: Owner references: what the objects are deleted with.
        servers: How many parameter servers, with a chief, there are beside the workers; only a
            TFJob has any.

    Returns:
        `[TrainingRuntime, TrainJob]` or `[TFJob]`.
    """
    metadata = {
        "name": name,
        "namespace": job.namespace,
        "labels": {"app.kubernetes.io/managed-by": "penstock"},
        "ownerReferences": [dict(owner) for owner in owners],
    }
    pod = _pod(job, name, command, workers)
    if job.kind == TF_JOB:
        return [_tf_job(job, metadata, pod, workers, servers, restarts)]
    runtime = {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": name}
    return [
        {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainingRuntime",
            "metadata": metadata,
            "spec": {
                "mlPolicy": {"numNodes": workers},
                "template": {"spec": _job_set(job, pod, restarts)},
            },
        },
        {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": TRAIN_JOB,
            "metadata": metadata,
            "spec": {"runtimeRef": runtime, "trainer": {"numNodes": workers}},
        },
    ]


def job_name(prefix: str, unique: str) -> str:
    """Return a name that Kubernetes takes (RFC 1035), and short enough for the pods' names."""
    plain = re.sub(r"[^a-z0-9]+", "-", prefix.lower()).strip("-")
    if not plain or not plain[0].isalpha():
        plain = f"penstock-{plain}".rstrip("-")
    return f"{plain[:30].rstrip('-')}-{unique}"


def _job_set(job: KubernetesJob, pod: dict[str, Any], restarts: int) -> dict[str, Any]:
    refused = {
        "action": "FailJob",
        "onExitCodes": {"containerName": "node", "operator": "In", "values": [_REFUSED]},
    }
    batch = {
        # One pod that fails ends the Job, and JobSet starts all again: workers train in step.
        "backoffLimit": 0,
        "activeDeadlineSeconds": int(job.timeout_seconds),
        "podFailurePolicy": {"rules": [refused]},
        "template": {"spec": pod | {"restartPolicy": "Never"}},
    }
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    return {
        "failurePolicy": {
            "maxRestarts": restarts,
            "rules": [
                {
                    "name": "refused",
                    "action": "FailJobSet",
                    "onJobFailureReasons": ["PodFailurePolicy", "DeadlineExceeded"],
                }
            ],
        },
        "replicatedJobs": [
            {"name": "node", "template": {"metadata": {"labels": labels}, "spec": batch}}
        ],
    }


def check_kind(job: KubernetesJob, servers: int) -> None:
    """Check that a job of this kind can have parameter servers.

    Raises:
        PenstockError: It cannot.
    """
    if servers and job.kind != TF_JOB:
        raise PenstockError(
            "strategy is 'parameter_server' and kubernetes' kind is TrainJob, which has no servers "
            "and no chief; give kubernetes={'kind': 'TFJob', ...}, or strategy='multi_worker'."
        )


def _tf_job(
    job: KubernetesJob,
    metadata: dict[str, Any],
    pod: dict[str, Any],
    workers: int,
    servers: int,
    restarts: int,
) -> dict[str, Any]:
    # Codes from 128 on (143: told to stop, 138: a peer is gone) are tried again, 1 to 127 are not.
    many = {"restartPolicy": "ExitCode", "template": {"spec": pod}}
    replicas = {"Worker": {"replicas": workers} | many}
    if servers:
        plain = many | {"template": {"spec": _pod_without_accelerators(job, pod)}}
        replicas |= {"Chief": {"replicas": 1} | plain, "PS": {"replicas": servers} | plain}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": TF_JOB,
        "metadata": metadata,
        "spec": {
            "runPolicy": {
                "activeDeadlineSeconds": int(job.timeout_seconds),
                "backoffLimit": restarts,
                "cleanPodPolicy": "Running",
            },
            "tfReplicaSpecs": replicas,
        },
    }


def _pod_without_accelerators(job: KubernetesJob, pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of a process that computes no gradients."""
    [container] = pod["containers"]
    resources = {
        part: {name: amount for name, amount in named.items() if name not in job.accelerators}
        for part, named in container["resources"].items()
    }
    return pod | {"containers": [container | {"resources": resources}]}


def _pod(job: KubernetesJob, name: str, command: Sequence[str], workers: int) -> dict[str, Any]:
    limits = {k: v for k, v in (("cpu", job.cpu), ("memory", job.memory)) if v}
    limits |= {name: str(int(count)) for name, count in job.accelerators.items()}
    env = dict(job.env)
    if job.kind == TRAIN_JOB:
        hosts = ",".join(f"{name}-node-0-{index}.{name}:{PORT}" for index in range(workers))
        env |= {HOSTS: hosts}
    container: dict[str, Any] = {
        "name": _CONTAINERS[job.kind],
        "image": job.image,
        "command": list(command),
        "env": [{"name": key, "value": str(value)} for key, value in env.items()],
        "ports": [{"name": "tfjob-port", "containerPort": PORT}],
        "resources": {"requests": dict(limits), "limits": dict(limits)},
    }
    pod: dict[str, Any] = {"containers": [container]}
    if job.secret:
        container["envFrom"] = [{"secretRef": {"name": job.secret}}]
    if job.claim:
        container["volumeMounts"] = [{"name": "shared", "mountPath": job.shared}]
        volume = {"name": "shared", "persistentVolumeClaim": {"claimName": job.claim}}
        pod["volumes"] = [volume]
    if job.tolerations:
        pod["tolerations"] = [dict(each) for each in job.tolerations]
    if job.node_selector:
        pod["nodeSelector"] = dict(job.node_selector)
    if job.service_account:
        pod["serviceAccountName"] = job.service_account
    return pod
