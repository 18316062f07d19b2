"""What deploy/ sets up, held to a real Kubernetes API server: schemas, rights and rules."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from penstock import __version__

from ..cluster import program

ROOT = Path(__file__).parents[2]
RUNNER = "system:serviceaccount:team:penstock-runner"
RESTRICTED = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def kubectl(cluster):
    binary = program("kubectl")
    if not binary:
        pytest.skip("kubectl is not built: tests/training/apiserver/build.sh")

    def run(*words: str, given: str | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [binary, *words],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": cluster.kubeconfig},
        )

    return run


@pytest.fixture(scope="module")
def team(kubectl):
    """The namespace of the example, with all of it, which admits restricted pods alone."""
    labels = {RESTRICTED: "restricted"}
    metadata = {"name": "team", "labels": labels}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    for given in (
        ("apply", "--filename=-"),
        (
            "apply",
            "--server-side",
            "--validate=strict",
            "--kustomize",
            str(ROOT / "deploy/example"),
        ),
    ):
        done = kubectl(*given, given=json.dumps(namespace))
        assert done.returncode == 0, done.stderr
    yield "team"
    kubectl("delete", "namespace", "team", "--wait=false")


def test_the_server_takes_all_of_the_example(kubectl, team):
    found = kubectl(
        "get", "--namespace=team", "--output=name", "--selector=app.kubernetes.io/part-of=penstock",
        "serviceaccounts,roles,rolebindings,networkpolicies,deployments,services",
    ).stdout.split()  # fmt: skip

    assert sorted(name.partition("/")[2] for name in found) == sorted(
        ["penstock-registry"] * 4  # account, policy, deployment, service
        + ["penstock-runner"] * 3
        + ["penstock-steps"]
        + ["penstock-training", "penstock-serving", "penstock-volumes"] * 2
    )


def test_an_unknown_field_would_be_refused(kubectl, team):
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "other", "namespace": "team"},
        "automountServiceAccountTokens": False,
    }
    done = kubectl(
        "apply", "--server-side", "--validate=strict", "--filename=-", given=json.dumps(account)
    )

    assert ".automountServiceAccountTokens: field not declared in schema" in done.stderr


@pytest.fixture(scope="module")
def may(cluster, team):
    """Ask the server's own authorizer what the account of steps may do."""
    from kubernetes import client

    reviews = client.AuthorizationV1Api(cluster.api())

    def ask(words: str, namespace: str = team) -> bool:
        verb, group, resource = words.split()
        resource, _, name = resource.partition("/")
        resource, _, subresource = resource.partition(":")
        attributes = {
            "namespace": namespace,
            "verb": verb,
            "group": group.replace("core", ""),
            "resource": resource,
            "subresource": subresource,
            "name": name,
        }
        review = {"spec": {"user": RUNNER, "resourceAttributes": attributes}}
        return reviews.create_subject_access_review(review).status.allowed

    return ask


@pytest.mark.parametrize(
    "words",
    [
        "create argoproj.io workflowtaskresults",
        "patch argoproj.io workflowtaskresults/flights-x7k2p",
        "get core pods/flights-x7k2p",
        "get core configmaps/kfp-launcher",
        "get core secrets/mlpipeline-minio-artifact",
        "create trainer.kubeflow.org trainjobs",
        "create trainer.kubeflow.org trainingruntimes",
        "delete kubeflow.org tfjobs/flights",
        "list core pods",
        "get core pods:log/flights-x7k2p",
        "patch serving.kserve.io inferenceservices/flights",
        "create core persistentvolumeclaims",
    ],
)
def test_steps_may_do_what_they_must(may, words):
    assert may(words)


@pytest.mark.parametrize(
    "words",
    [
        "get core secrets/database",
        "list core secrets",
        "get core configmaps/other",
        "create core pods",
        "create core pods:exec/flights-x7k2p",
        "delete core pods/flights-x7k2p",
        "create batch jobs",
        "patch argoproj.io workflows/flights-x7k2p",
        "delete serving.kserve.io inferenceservices/flights",
        "list trainer.kubeflow.org trainjobs",
        "create rbac.authorization.k8s.io rolebindings",
        "impersonate core users",
    ],
)
def test_steps_may_do_no_more(may, words):
    assert not may(words)


def test_rights_end_with_the_namespace(may):
    assert not may("create trainer.kubeflow.org trainjobs", namespace="default")


def test_without_its_component_a_right_is_not_there(kubectl, tmp_path):
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [os.path.relpath(ROOT / "deploy/steps", tmp_path)]})
    )
    made = kubectl("kustomize", "--load-restrictor=LoadRestrictionsNone", str(tmp_path))

    assert made.returncode == 0, made.stderr
    roles = [one for one in yaml.safe_load_all(made.stdout) if one["kind"] == "Role"]
    assert [role["metadata"]["name"] for role in roles] == ["penstock-runner"]


def registry_pod(kubectl) -> dict:
    found = kubectl("get", "deployment", "penstock-registry", "--namespace=team", "--output=json")
    template = json.loads(found.stdout)["spec"]["template"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "registry", "namespace": "team"},
        "spec": template["spec"],
    }


def test_the_registrys_pod_is_admitted_where_pods_are_restricted(kubectl, team):
    done = kubectl("create", "--filename=-", given=json.dumps(registry_pod(kubectl)))

    assert done.returncode == 0, done.stderr


def test_a_pod_with_more_rights_is_not(kubectl, team):
    pod = registry_pod(kubectl)
    del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    done = kubectl("create", "--filename=-", given=json.dumps(pod))

    assert "violates PodSecurity" in done.stderr


def test_no_secret_is_written_down():
    for file in sorted((ROOT / "deploy").rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            assert document["kind"] != "Secret", file


def test_images_bear_this_version():
    content = yaml.safe_load((ROOT / "deploy/example/kustomization.yaml").read_text())

    assert [image["newTag"] for image in content["images"]] == [__version__]
