"""What the registry calls champion is what a bucket's newest version holds, or a cluster serves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from penstock.components.pusher.executor import push
from penstock.data.digest import digest_names
from penstock.errors import PenstockError
from penstock.registry.connection import open_registry
from penstock.registry.deployments import entries, standing
from penstock.registry.object_store import digest_of, files, open_bucket
from penstock.registry.promotion import promote
from penstock.registry.registration import register_version
from penstock.registry.served import promote_served, roll_back_served, withdraw_served
from penstock.registry.serving_bucket import newest, remove_old, versions
from penstock.registry.serving_folder import WARMUP
from penstock.registry.versions import version


@pytest.fixture
def three(folder, trained):
    registry = open_registry(folder)
    for name in ("1", "2", "3"):
        register_version(registry, "flights", *trained(name))
    return registry


@pytest.fixture
def pushed(three, tmp_path):
    """Push one of the three models, and return what pushed.json says."""

    def run(name, url, **options):
        trained, out = tmp_path / f"trained-{name}", tmp_path / f"pushed-{name}"
        registry = {"registry": three.where, "product": "flights"}
        push(
            *(trained / "model", trained / "blessing", out, url),
            **{**registry, "run": f"run-{name}", **options},
        )
        return json.loads((out / "pushed.json").read_text())

    return run


def champion(registry) -> int | None:
    return standing(entries(registry, "flights")).champion


def held(bucket, version) -> str:
    folder = f"{bucket.path}/{version}"
    names = [name for name in files(bucket, folder) if name != WARMUP]
    return digest_names({name: digest_of(bucket, f"{folder}/{name}") for name in names})


def test_a_push_to_s3_names_the_champion_and_keeps_what_is_needed(three, pushed, new_bucket):
    url = f"{new_bucket()}/flights"
    bucket = open_bucket(url)

    results = [pushed(name, url, keep=1) for name in ("1", "2", "3")]
    again = pushed("3", url)
    older = pushed("2", url)

    assert [r["version"] for r in (*results, again, older)] == [1, 2, 3, 3, 2]
    assert results[2]["destination"] == f"{url}/3"
    assert results[2]["reason"] == (
        f"Pushed as version 3 to {url}/3. Version 3 of flights is champion. Removed version 1."
    )
    assert again["reason"] == (
        f"{url} holds this model already, as version 3. Version 3 of flights is champion."
    )
    assert "Version 3 is newer and is what TensorFlow Serving loads" in older["reason"]
    assert versions(bucket) == [2, 3]
    assert held(bucket, 3) == version(three, "flights", 3).digest
    log = entries(three, "flights")
    assert [(e.version, e.by, e.where) for e in log] == [
        (n, f"run run-{n}", f"{url}/{n}") for n in (1, 2, 3)
    ]


def test_promotion_and_rollback_change_what_s3_serves(three, pushed, new_bucket):
    url = f"{new_bucket()}/flights"
    bucket = open_bucket(url)
    pushed("1", url)
    promote_served(three, "flights", 2, None, why="better")

    back = roll_back_served(three, "flights", why="slow")

    assert versions(bucket) == [1, 2, 3]
    assert [held(bucket, n) for n in (1, 2, 3)] == [
        version(three, "flights", n).digest for n in (1, 2, 1)
    ]
    assert (back.where, champion(three)) == (f"{url}/3", 1)
    assert len(entries(three, "flights")) == 3
    remove_old(bucket, 1)
    with pytest.raises(PenstockError, match="does not hold version 2 of flights any more"):
        roll_back_served(three, "flights")
    assert (versions(bucket), champion(three)) == ([3], 1)


def test_what_is_refused_changes_neither_s3_nor_the_registry(three, pushed, new_bucket, trained):
    url = f"{new_bucket()}/flights"
    bucket = open_bucket(url)
    register_version(three, "flights", *trained("4", blessed=False))
    pushed("1", url)

    with pytest.raises(PenstockError, match="is not blessed"):
        promote_served(three, "flights", 4, None)
    with pytest.raises(PenstockError, match="is version 1 by now, not 2"):
        promote_served(three, "flights", 3, None, expected=2)

    assert versions(bucket) == [1]
    assert [name for name in files(bucket, bucket.path) if name[0] in "23456789"] == []
    assert len(entries(three, "flights")) == 1


def test_after_a_promotion_that_bypassed_the_bucket_a_push_makes_them_agree(
    three, pushed, new_bucket
):
    url = f"{new_bucket()}/flights"
    pushed("1", url)
    promote(three, "flights", 2)

    pushed("1", url)

    assert champion(three) == 1
    assert newest(open_bucket(url)).content_digest == version(three, "flights", 1).digest


PUSH = """
import json, sys
from penstock.components.pusher.executor import push
for job in json.loads(sys.argv[1]):
    push(*job[:4], registry=job[4], product="flights", run=job[2])
"""


def test_pushers_at_once_on_s3_leave_the_newest_as_champion(three, new_bucket, tmp_path):
    url = f"{new_bucket()}/flights"
    jobs = [
        [str(tmp_path / f"trained-{n}" / part) for part in ("model", "blessing")]
        + [str(tmp_path / f"out-{n}-{worker}"), url, three.where]
        for worker, order in enumerate(("12", "21"))
        for n in order
    ]
    command = [sys.executable, "-c", PUSH]

    workers = [
        subprocess.Popen(
            [*command, json.dumps(jobs[start : start + 2])], stderr=subprocess.PIPE, text=True
        )
        for start in (0, 2)
    ]

    said = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    bucket = open_bucket(url)
    assert versions(bucket) == [1, 2]
    assert {held(bucket, n) for n in (1, 2)} == {
        version(three, "flights", n).digest for n in (1, 2)
    }
    now = version(three, "flights", champion(three))
    assert now.digest == newest(bucket).content_digest
    assert entries(three, "flights")[-1].where == f"{url}/2"


def service(cluster, namespace):
    from kubernetes import client

    return client.CustomObjectsApi(cluster.api()).get_namespaced_custom_object(
        "serving.kserve.io", "v1beta1", namespace, "inferenceservices", "flights"
    )


def predictor(cluster, namespace):
    return service(cluster, namespace)["spec"]["predictor"]


def test_a_push_to_kserve_applies_what_it_writes(
    three, pushed, new_bucket, cluster, namespace, tmp_path
):
    url = f"{new_bucket()}/flights"
    settings = {
        "name": "flights",
        "namespace": namespace,
        "service_account": "models",
        "resources": {"limits": {"cpu": 2.0, "memory": "1Gi"}},
        "min_replicas": 1.0,
        "labels": {"team": "ops"},
    }

    result = pushed("1", url, kserve=settings)

    written = yaml.safe_load((tmp_path / "pushed-1" / "inference_service.yaml").read_text())
    there = service(cluster, namespace)
    digest = version(three, "flights", 1).digest
    assert written["spec"] == {
        "predictor": {
            "serviceAccountName": "models",
            "minReplicas": 1,
            "model": {
                "modelFormat": {"name": "tensorflow"},
                "storageUri": f"{url}/1/",
                "resources": {"limits": {"cpu": "2.0", "memory": "1Gi"}},
            },
        }
    }
    assert there["spec"]["predictor"]["model"]["storageUri"] == f"{url}/1/"
    assert there["metadata"]["labels"]["team"] == "ops"
    assert there["metadata"]["annotations"]["penstock.dev/model-digest"] == digest
    assert there["metadata"]["annotations"]["penstock.dev/registered"] == "1"
    assert held(open_bucket(url), "1/1") == digest
    assert (result["inference_service"], champion(three)) == (f"{namespace}/flights", 1)
    assert result["reason"] == (
        f"Pushed as version 1 to {url}/1/. The InferenceService {namespace}/flights gives it all "
        "of the traffic. Version 1 of flights is champion."
    )


def test_a_canary_is_the_challenger_until_it_is_promoted_or_withdrawn(
    three, pushed, new_bucket, cluster, namespace
):
    url = f"{new_bucket()}/flights"
    settings = {"name": "flights", "namespace": namespace, "canary_traffic_percent": 10}

    # The first has nobody to share with.
    pushed("1", url, kserve=settings)
    assert "canaryTrafficPercent" not in predictor(cluster, namespace)
    assert champion(three) == 1

    result = pushed("2", url, kserve=settings)
    pushed("2", url, kserve=settings)
    assert result["reason"].endswith(
        f"The InferenceService {namespace}/flights gives it 10% of the traffic. "
        "Version 2 of flights is challenger."
    )
    assert predictor(cluster, namespace)["canaryTrafficPercent"] == 10
    assert predictor(cluster, namespace)["model"]["storageUri"] == f"{url}/2/"
    now = standing(entries(three, "flights"))
    assert (now.champion, now.challenger, now.last) == (1, 2, 2)

    withdraw_served(three, "flights", why="slow")
    assert "canaryTrafficPercent" not in predictor(cluster, namespace)
    assert predictor(cluster, namespace)["model"]["storageUri"] == f"{url}/1/"

    pushed("2", url, kserve=settings)
    entry = promote_served(three, "flights", 2, None)
    assert "canaryTrafficPercent" not in predictor(cluster, namespace)
    assert predictor(cluster, namespace)["model"]["storageUri"] == f"{url}/2/"
    assert entry.where == f"InferenceService {namespace}/flights, {url}/2/"
    # That which has all of the traffic keeps it.
    pushed("2", url, kserve=settings)
    assert "canaryTrafficPercent" not in predictor(cluster, namespace)


def test_a_rollback_ends_the_trial_that_was_going_on(three, pushed, new_bucket, cluster, namespace):
    url = f"{new_bucket()}/flights"
    settings = {"name": "flights", "namespace": namespace}
    pushed("1", url, kserve=settings)
    pushed("2", url, kserve=settings)
    pushed("3", url, kserve={**settings, "canary_traffic_percent": 50})
    assert standing(entries(three, "flights")).challenger == 3

    roll_back_served(three, "flights", why="both are slow")

    assert predictor(cluster, namespace)["model"]["storageUri"] == f"{url}/1/"
    assert "canaryTrafficPercent" not in predictor(cluster, namespace)
    now = standing(entries(three, "flights"))
    assert (now.champion, now.challenger) == (1, None)


def test_rollback_points_the_inference_service_to_the_version_before(
    three, pushed, new_bucket, cluster, namespace
):
    from kubernetes import client

    url = f"{new_bucket()}/flights"
    settings = {"name": "flights", "namespace": namespace, "runtime": "ours"}
    pushed("1", url, kserve=settings)
    # A version that was never pushed there is copied from the registry.
    promote_served(three, "flights", 3, None)
    assert predictor(cluster, namespace)["model"]["storageUri"] == f"{url}/2/"
    # What others set stays.
    client.CustomObjectsApi(cluster.api()).patch_namespaced_custom_object(
        *("serving.kserve.io", "v1beta1", namespace, "inferenceservices", "flights"),
        {"spec": {"predictor": {"maxReplicas": 7}}},
    )

    roll_back_served(three, "flights", why="slow")

    found = predictor(cluster, namespace)
    assert found["model"]["storageUri"] == f"{url}/1/"
    assert (found["model"]["runtime"], found["maxReplicas"]) == ("ours", 7)
    annotations = service(cluster, namespace)["metadata"]["annotations"]
    assert annotations["penstock.dev/model-digest"] == version(three, "flights", 1).digest
    assert champion(three) == 1


def test_what_others_have_set_otherwise_is_not_taken_from_them(
    three, pushed, new_bucket, cluster, namespace
):
    from kubernetes import client

    url = f"{new_bucket()}/flights"
    pushed("1", url, kserve={"name": "flights", "namespace": namespace})
    client.CustomObjectsApi(cluster.api()).patch_namespaced_custom_object(
        *("serving.kserve.io", "v1beta1", namespace, "inferenceservices", "flights"),
        {"spec": {"predictor": {"model": {"storageUri": "s3://elsewhere"}}}},
        field_manager="ann",
    )

    with pytest.raises(
        PenstockError, match=r'Somebody else has set .*"ann".*lies ready at'
    ) as said:
        pushed("2", url, kserve={"name": "flights", "namespace": namespace})

    assert "--force-conflicts" in str(said.value)
    assert predictor(cluster, namespace)["model"]["storageUri"] == "s3://elsewhere"
    assert champion(three) == 1


def test_a_cluster_that_refuses_is_quoted_and_nothing_is_champion(
    three, pushed, new_bucket, cluster, namespace, monkeypatch, tmp_path
):
    url = f"{new_bucket()}/flights"

    def refused(sentence, **settings):
        with pytest.raises(PenstockError, match=sentence):
            pushed("1", url, kserve={"name": "flights", "namespace": namespace, **settings})
        assert champion(three) is None

    refused('namespaces "nowhere" not found', namespace="nowhere")
    refused("refuses the InferenceService", resources={"limits": {"cpu": "much"}})
    monkeypatch.setattr("penstock.registry.kserve._PATH", "/apis/serving.kserve.io/v9/{namespace}")
    refused("The cluster knows no InferenceService")
    monkeypatch.undo()
    kubeconfig = Path(cluster.kubeconfig).read_text()
    for name, old, new, sentence in (
        ("stranger", '"secret"', '"wrong"', "does not let this account change"),
        ("gone", cluster.host, "https://127.0.0.1:9", "at https://127.0.0.1:9 does not answer"),
    ):
        (tmp_path / name).write_text(kubeconfig.replace(old, new))
        where = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(where, str(tmp_path / name))
        refused(sentence)


def test_without_a_cluster_the_manifest_is_written_and_nothing_is_champion(
    three, pushed, new_bucket, monkeypatch, tmp_path
):
    where = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(where, str(tmp_path / "none"))
    url = f"{new_bucket()}/flights"

    result = pushed("1", url, kserve={"name": "flights"})

    assert (result["pushed"], result["registered"], result["inference_service"]) == (True, 1, None)
    assert "inference_service.yaml was written and not applied" in result["reason"]
    written = yaml.safe_load((tmp_path / "pushed-1" / "inference_service.yaml").read_text())
    assert "namespace" not in written["metadata"]
    assert champion(three) is None
