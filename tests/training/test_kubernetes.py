"""The promises of training/manifests.py and kubernetes.py, on a real Kubernetes API server.

The server enforces the CRDs' schemas and rules. Kubeflow's operators do not run; the tests play
their part, through the same API.
"""

import sys
import threading
import time
from dataclasses import replace

import pytest

from penstock.errors import PenstockError
from penstock.training import kubernetes as jobs
from penstock.training.kubernetes import run_job
from penstock.training.manifests import (
    KubernetesJob,
    check_kind,
    job_name,
    manifests,
    read_kubernetes_job,
)
from penstock.training.preemption import Preempted, Preemption

PLURALS = {"TrainJob": ("trainer.kubeflow.org", "v1alpha1", "trainjobs")}
PLURALS["TrainingRuntime"] = ("trainer.kubeflow.org", "v1alpha1", "trainingruntimes")
PLURALS["TFJob"] = ("kubeflow.org", "v1", "tfjobs")
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
COMMAND = ["python", "-m", "penstock.components.trainer.worker", "/mnt/shared/job"]


@pytest.fixture(params=["TrainJob", "TFJob"])
def job(request, namespace) -> KubernetesJob:
    return KubernetesJob(
        shared="/mnt/shared",
        claim="training",
        kind=request.param,
        image="registry.example/penstock/components:0.1.0",
        namespace=namespace,
        cpu="4",
        memory="8Gi",
        accelerators={"nvidia.com/gpu": 1.0},
        tolerations=[{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
        node_selector={"pool": "spot"},
        service_account="trainer",
        secret="store",
        env={"AWS_REGION": "eu-west-1"},
        timeout_seconds=600.0,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jobs, "_LOOK_SECONDS", 0.05)


@pytest.fixture
def custom(cluster):
    from kubernetes import client

    return client.CustomObjectsApi(cluster.api())


@pytest.fixture
def core(cluster):
    from kubernetes import client

    return client.CoreV1Api(cluster.api())


def found(custom, kind: str, namespace: str) -> list[dict]:
    return custom.list_namespaced_custom_object(*PLURALS[kind][:2], namespace, PLURALS[kind][2])[
        "items"
    ]


def operator(custom, job: KubernetesJob, status: dict, before=lambda created: None):
    """Play the operator: when the job is there, call `before`, then write its status."""

    def play() -> None:
        end = time.monotonic() + 30
        while not (created := found(custom, job.kind, job.namespace)):
            assert time.monotonic() < end
            time.sleep(0.05)
        before(created[0])
        name = created[0]["metadata"]["name"]
        group, version, plural = PLURALS[job.kind]
        custom.patch_namespaced_custom_object_status(
            group, version, job.namespace, plural, name, {"status": status}
        )

    thread = threading.Thread(target=play)
    thread.start()
    return thread


def ended(job: KubernetesJob, well: bool, message: str = "all done") -> dict:
    good = {"TrainJob": "Complete", "TFJob": "Succeeded"}[job.kind]
    moment = "2026-01-01T00:00:00Z"
    condition = {
        "type": good if well else "Failed",
        "status": "True",
        "reason": "Ended",
        "message": message,
        "lastTransitionTime": moment,
    }
    return {"conditions": [condition]}


def run(job: KubernetesJob, preemption: Preemption | None = None) -> None:
    run_job(job, "flights-1", COMMAND, 2, 3, preemption or Preemption())


def pod_of(created: dict) -> dict:
    if created["kind"] == "TFJob":
        return created["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    return batch_of(created)["template"]["spec"]


def batch_of(runtime: dict) -> dict:
    return runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]


def test_the_server_takes_all_settings_and_keeps_them(job, custom, monkeypatch):
    monkeypatch.setenv("KFP_POD_NAME", "step")
    monkeypatch.setenv("KFP_POD_UID", "1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    kept = {}

    def keep(created: dict) -> None:
        kept[job.kind] = created
        if job.kind == "TrainJob":
            kept["pod"] = found(custom, "TrainingRuntime", job.namespace)[0]
        else:
            kept["pod"] = created

    thread = operator(custom, job, ended(job, True), keep)
    run(job)
    thread.join()

    pod = pod_of(kept["pod"])
    [container] = pod["containers"]
    assert container["image"] == job.image
    assert container["command"] == COMMAND
    limits = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"limits": limits, "requests": limits}
    assert pod["tolerations"] == job.tolerations
    assert pod["nodeSelector"] == job.node_selector
    assert pod["serviceAccountName"] == "trainer"
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "training"}
    assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/mnt/shared"}]
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    for created in kept.values():
        [owner] = created["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Pod", "step")
    if job.kind == "TrainJob":
        assert kept["TrainJob"]["spec"]["trainer"]["numNodes"] == 2
        assert kept["TrainJob"]["spec"]["runtimeRef"]["kind"] == "TrainingRuntime"
        assert batch_of(kept["pod"])["activeDeadlineSeconds"] == 600
    else:
        assert kept["TFJob"]["spec"]["tfReplicaSpecs"]["Worker"]["replicas"] == 2
        assert kept["TFJob"]["spec"]["runPolicy"]["activeDeadlineSeconds"] == 600


def test_the_pods_are_such_as_kubernetes_itself_takes(job, cluster, core):
    from kubernetes import client

    written = manifests(job, "flights-1", COMMAND, 2, 3)[0]
    spec = pod_of(written) | {"restartPolicy": "Never"}
    pod = {"metadata": {"name": "one"}, "spec": spec}

    core.create_namespaced_pod(job.namespace, pod, dry_run="All", field_validation="Strict")
    if job.kind == "TrainJob":
        # What JobSet adds: an index per pod.
        batch = batch_of(written) | {"completionMode": "Indexed", "completions": 2}
        client.BatchV1Api(cluster.api()).create_namespaced_job(
            job.namespace,
            {"metadata": {"name": "one"}, "spec": batch},
            dry_run="All",
            field_validation="Strict",
        )


def test_parameter_servers_are_a_tfjob_with_a_chief(job, custom, core):
    if job.kind == "TrainJob":
        with pytest.raises(PenstockError, match="kind is TrainJob, which has no servers and no ch"):
            check_kind(job, 2)
        return
    check_kind(job, 2)
    kept = {}
    thread = operator(custom, job, ended(job, True), lambda created: kept.update(created))
    run_job(job, "flights-1", COMMAND, 3, 4, Preemption(), servers=2)
    thread.join()

    replicas = kept["spec"]["tfReplicaSpecs"]
    assert {kind: one["replicas"] for kind, one in replicas.items()} == {
        "Chief": 1,
        "Worker": 3,
        "PS": 2,
    }
    for kind, one in replicas.items():
        [container] = one["template"]["spec"]["containers"]
        assert one["restartPolicy"] == "ExitCode"
        assert container["command"] == COMMAND
        assert container["resources"]["limits"]["memory"] == "8Gi"
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (kind == "Worker")
        pod = {"metadata": {"name": kind.lower()}, "spec": one["template"]["spec"]}
        core.create_namespaced_pod(job.namespace, pod, dry_run="All", field_validation="Strict")


def test_nothing_stays_after_success(job, custom):
    thread = operator(custom, job, ended(job, True))

    run(job)

    thread.join()
    assert not found(custom, job.kind, job.namespace)
    assert not found(custom, "TrainingRuntime", job.namespace)


def test_a_failed_job_says_why_and_is_deleted(job, custom):
    thread = operator(custom, job, ended(job, False, "worker 1 ran out of memory."))

    with pytest.raises(PenstockError, match=rf"The {job.kind} flights-1 .* ran out of memory\)"):
        run(job)

    thread.join()
    assert not found(custom, job.kind, job.namespace)


def test_a_job_that_takes_too_long_is_deleted_with_a_sentence(job, custom):
    with pytest.raises(PenstockError, match="was not done after 1 s and was deleted"):
        run(replace(job, timeout_seconds=1))

    assert not found(custom, job.kind, job.namespace)


def test_a_cancelled_step_deletes_its_job(job, custom):
    preemption = Preemption()

    def cancel() -> None:
        while not found(custom, job.kind, job.namespace):
            time.sleep(0.05)
        preemption.told = True

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Preempted):
        run(job, preemption)

    thread.join()
    assert not found(custom, job.kind, job.namespace)
    assert not found(custom, "TrainingRuntime", job.namespace)


def test_a_job_that_somebody_deletes_ends_the_step(job, custom):
    group, version, plural = PLURALS[job.kind]

    def delete() -> None:
        while not (created := found(custom, job.kind, job.namespace)):
            time.sleep(0.05)
        name = created[0]["metadata"]["name"]
        custom.delete_namespaced_custom_object(group, version, job.namespace, plural, name)

    thread = threading.Thread(target=delete)
    thread.start()
    with pytest.raises(PenstockError, match="somebody deleted it"):
        run(job)
    thread.join()


def test_the_pods_logs_are_shown_once_as_they_grow(job, cluster, core, custom, capsys):
    label = {
        "TrainJob": {"jobset.sigs.k8s.io/jobset-name": "flights-1"},
        "TFJob": {"training.kubeflow.org/job-name": "flights-1"},
    }[job.kind]
    pod = f"{job.namespace}-worker-0"

    def log(created: dict) -> None:
        spec = {"nodeName": "node-1", "containers": [{"name": "node", "image": "x"}]}
        metadata = {"name": pod, "labels": label}
        core.create_namespaced_pod(job.namespace, {"metadata": metadata, "spec": spec})
        state = {"name": "node", "containerID": "x://1", "ready": True, "restartCount": 0}
        state |= {"image": "x", "imageID": "x", "state": {"running": {}}}
        status = {"status": {"phase": "Running", "containerStatuses": [state]}}
        cluster.kubelet.logs[pod] = "Epoch 1\n"
        core.patch_namespaced_pod_status(pod, job.namespace, status)
        time.sleep(0.5)
        cluster.kubelet.logs[pod] += "Epoch 2\n"

    thread = operator(custom, job, ended(job, True), log)
    run(job)
    thread.join()

    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith(pod)]
    assert shown == [f"{pod}: Epoch 1", f"{pod}: Epoch 2"]


def test_what_the_server_refuses_is_said_in_its_words(job):
    with pytest.raises(PenstockError, match=r"refuses the .* namespaces \"nowhere\" not found"):
        run(replace(job, namespace="nowhere"))


def test_the_server_holds_jobs_to_the_schema(job, monkeypatch):
    def misspelt(*arguments):
        made = manifests(*arguments)
        made[0]["spec"]["podTemplate"] = {}
        return made

    monkeypatch.setattr(jobs, "manifests", misspelt)

    with pytest.raises(PenstockError, match=r'refuses the .*unknown field \\?"spec\.podTemplate'):
        run(job)


def test_a_cluster_without_kubeflow_is_named(job, monkeypatch):
    monkeypatch.setitem(jobs._PLURALS, "TrainingRuntime", "trainingruntimesx")
    monkeypatch.setitem(jobs._PLURALS, "TFJob", "tfjobsx")

    with pytest.raises(PenstockError, match=r"The cluster knows no T.* install Kubeflow Trainer"):
        run(job)


def test_settings_are_checked_by_name():
    good = {"shared": "s3://bucket/x", "timeout_seconds": 60.0, "accelerators": {"a.b/gpu": 2.0}}

    assert read_kubernetes_job(good).timeout_seconds == 60
    for wrong, sentence in (
        ({"memroy": "8Gi"}, "setting 'memroy', which is unknown; there are shared, claim"),
        ({"kind": "Job"}, "kind is 'Job'; it must be TrainJob or TFJob"),
        ({"cpu": 4}, "cpu is 4; it must be a text"),
        ({"claim": "c"}, "give the path of a volume and its PersistentVolumeClaim, or a URL"),
        ({"shared": "/mnt"}, "give the path of a volume and its PersistentVolumeClaim, or a URL"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0; it must be 1 or more"),
    ):
        with pytest.raises(PenstockError, match=sentence.replace("(", r"\(")):
            read_kubernetes_job(good | wrong)


@pytest.mark.parametrize("prefix", ["trainer", "Flights of 2013!", "1st", "", "x" * 80, "a-"])
def test_job_names_are_such_that_pods_names_fit(prefix):
    name = job_name(prefix, "0123abcd")

    assert name[0].isalpha() and name[-1].isalnum() and name == name.lower()
    assert "--" not in name.replace("-0123abcd", "")
    assert len(f"{name}-node-0-99-xxxxx") <= 63


def test_workers_of_a_trainjob_find_each_other(monkeypatch):
    import json

    from penstock.training.places import Place, find_peers, place

    job = KubernetesJob(shared="s3://b/x", image="i", namespace="n")
    pod = pod_of(manifests(job, "flights-1", COMMAND, 2, 3)[0])
    # Set first, so that what the code sets is undone too.
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.delenv("TF_CONFIG")
    for variable in pod["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")

    find_peers()

    config = json.loads(sys.modules["os"].environ["TF_CONFIG"])
    hosts = [f"flights-1-node-0-{index}.flights-1:2222" for index in range(2)]
    assert config == {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 1}}
    assert place() == Place(1, 2)
