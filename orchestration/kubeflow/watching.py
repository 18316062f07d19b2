"""How a run on Kubeflow goes, and what its failed steps printed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import clusters
from ...errors import PenstockError
from .connection import Kubeflow
from .runs import get_run

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

SHOWN = ("RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
OVER = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
# What Argo's nodes are called that Kubeflow's compiler makes around a task: its driver and the pod
# that executes it (backend/src/v2/compiler/argocompiler/dag.go and container.go); attempts and
# iterations, which Argo numbers; and the groups that only KFP's compiler names.
INNER = re.compile(
    r"root|executor|.*-(driver|iterations)|.*\(\d+(:.*)?\)"
    r"|(condition|condition-branches|exit-handler|for-loop)-\d+"
)
# Failures of asking in a row, while the run itself goes on, before we give up watching it.
TRIES = 5
NODE_NAME = "workflows.argoproj.io/node-name"
LOG_LINES = 40


@dataclass(frozen=True)
class Task:
    """One task of a run as it stands.

    Attributes:
        name: Its name in the pipeline.
        state: KFP's word, such as `RUNNING`.
        seconds: How long it took; None until it ends.
    """

    name: str
    state: str
    seconds: float | None


def watch(
    kubeflow: Kubeflow,
    run_id: str,
    tell: Callable[[Task], Any],
    interval: float = 5.0,
    timeout: float | None = None,
) -> V2beta1Run:
    """Wait until a run is over.

    Args:
        kubeflow: The server.
        run_id: The run.
        tell: Is called for every task that starts or ends.
        interval: Seconds between looks.
        timeout: Seconds to wait; None waits for ever.

    Returns:
        The run at its end.

    Raises:
        PenstockError: The time is over, the run goes on; or the server cannot be asked any more.
    """
    end = None if timeout is None else time.monotonic() + timeout
    told: dict[str, str] = {}
    failures = 0
    while True:
        try:
            run = get_run(kubeflow, run_id)
            failures = 0
        except PenstockError:
            failures += 1
            if failures == TRIES:
                raise
            time.sleep(interval)
            continue
        for identity, task in tasks(run):
            if told.get(identity) != task.state:
                told[identity] = task.state
                tell(task)
        if run.state in OVER:
            return run
        if end is not None and time.monotonic() + interval > end:
            raise PenstockError(
                f"The run {run_id} is {str(run.state).lower()} after {timeout:g} s and goes on; "
                f"look at {kubeflow.address(run_id)}."
            )
        time.sleep(interval)


def tasks(run: V2beta1Run) -> Iterator[tuple[str, Task]]:
    """Yield the tasks that the pipeline names, each with what identifies it in the run."""
    details = (run.run_details.task_details if run.run_details else None) or ()
    for detail in sorted(details, key=lambda one: (one.create_time, one.task_id)):
        name = detail.display_name or ""
        if not name or INNER.fullmatch(name) or _is_workflow(detail) or detail.state not in SHOWN:
            continue
        took = None
        if detail.state in OVER and detail.start_time and detail.end_time:
            took = (detail.end_time - detail.start_time).total_seconds()
        yield detail.task_id, Task(name, str(detail.state), took)


def _is_workflow(detail: Any) -> bool:
    """Tell the workflow's own node: its children are called as it is, with a hash at the end."""
    children = [child.pod_name or "" for child in detail.child_tasks or ()]
    return any(name.rpartition("-")[0] == detail.display_name for name in children)


@dataclass(frozen=True)
class FailedPod:
    """A pod of a run that failed.

    Attributes:
        step: The task whose pod it was, by the pipeline's names.
        pod: The pod's name.
        log: The last lines that its main container printed; empty where they are gone.
    """

    step: str
    pod: str
    log: tuple[str, ...]


def failed_pods(namespace: str, run_id: str) -> list[FailedPod]:
    """Return the failed pods of a run, asked of Kubernetes itself.

    The API of Kubeflow Pipelines has no logs. Kubernetes is reached as kubectl reaches it: by the
    current context, or within a cluster by the pod's service account.

    Args:
        namespace: Where the run's pods are.
        run_id: The run, which its pods bear as the label `pipeline/runid`.

    Raises:
        PenstockError: Kubernetes cannot be reached or refuses.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    core = clusters.connect("ask for the logs").CoreV1Api()
    try:
        pods = core.list_namespaced_pod(
            namespace, label_selector=f"pipeline/runid={run_id}", _request_timeout=30
        ).items
        return [
            FailedPod(_step(pod), pod.metadata.name, _log(core, namespace, pod.metadata.name))
            for pod in pods
            if pod.status.phase == "Failed"
        ]
    except ApiException as error:
        said = clusters.reason(error)
        raise PenstockError(f"Kubernetes does not show the logs ({said}).") from error
    except HTTPError as error:
        reason = str(getattr(error, "reason", None) or error).rpartition(": ")[2]
        raise PenstockError(f"Kubernetes cannot be reached for the logs ({reason}).") from error


def _log(core: Any, namespace: str, pod: str) -> tuple[str, ...]:
    from kubernetes.client.exceptions import ApiException

    try:
        text = core.read_namespaced_pod_log(
            pod, namespace, container="main", tail_lines=LOG_LINES, _request_timeout=30
        )
    except ApiException:
        # The pod's containers were removed, or never started.
        return ()
    return tuple(text.splitlines())


def _step(pod: Any) -> str:
    """Return `trainer` of a node such as `flights-x7k2p.root.trainer.executor(0)`."""
    node = (pod.metadata.annotations or {}).get(NODE_NAME, pod.metadata.name)
    names = [name for name in node.split(".")[1:] if not INNER.fullmatch(name)]
    return names[-1] if names else pod.metadata.name
