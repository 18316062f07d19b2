"""What `penstock check` says of a platform document, whoever wrote it."""

import pytest
import yaml
from kfp import dsl
from kfp.compiler import Compiler

from penstock.errors import PenstockError
from penstock.orchestration.kubeflow.acceptance import findings
from penstock.orchestration.spec import parse


@dsl.component(base_image="registry.example/step:1", install_kfp_package=False)
def step(n: int) -> str:
    return str(n)


@dsl.pipeline(name="water")
def water():
    step(n=1)
    dsl.importer(artifact_uri="gs://bucket/x", artifact_class=dsl.Dataset)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    file = tmp_path_factory.mktemp("water") / "water.yaml"
    Compiler().compile(water, str(file))
    return file.read_text()


@pytest.fixture
def said(document):
    def check(config, label="exec-step", platform="kubernetes"):
        platforms = {platform: {"deploymentSpec": {"executors": {label: config}}}}
        text = document + "---\n" + yaml.safe_dump({"platforms": platforms})
        return [(f.severity.value, f.text) for f in findings(parse(text, "water.yaml"))]

    return check


def test_what_kubernetes_takes_is_not_mentioned(said):
    config = {
        "secretAsVolume": [{"secretName": "one", "mountPath": "/one"}],
        "secretAsEnv": [
            {"secretName": "a.b", "keyToEnv": [{"secretKey": "k", "envVar": "K"}]},
        ],
        "pvcMount": [{"constant": "two", "mountPath": "/two"}],
        "emptyDirMounts": [{"volumeName": "e", "mountPath": "/e", "sizeLimit": "2Gi"}],
        "nodeSelector": {"labels": {"kubernetes.io/arch": "amd64"}},
        "podMetadata": {"labels": {"app": ""}, "annotations": {"a": "any text"}},
        "tolerations": [{"operator": "Exists"}],
        "imagePullPolicy": "Always",
    }

    assert said(config) == []


CASES = {
    "the image pull policy Sometimes is none of Always": {"imagePullPolicy": "Sometimes"},
    "a toleration says Perhaps, which is none of Equal": {"tolerations": [{"operator": "Perhaps"}]},
    "a toleration says Never, which is none of NoSchedule": {"tolerations": [{"effect": "Never"}]},
    "the label a b=c is none in Kubernetes": {"podMetadata": {"labels": {"a b": "c"}}},
    f"the node selector a={'x' * 64} is none in": {"nodeSelector": {"labels": {"a": "x" * 64}}},
    "the size much of the volume e is none such as 2Gi": {
        "emptyDirMounts": [{"volumeName": "e", "mountPath": "/e", "sizeLimit": "much"}]
    },
    "A_B cannot be the name of a secret or config map": {
        "secretAsEnv": [{"secretName": "A_B", "keyToEnv": []}]
    },
    "one.two cannot be mounted: Kubeflow gives its name to the volume": {
        "configMapAsVolume": [{"configMapName": "one.two", "mountPath": "/one"}]
    },
    "same is mounted 2 times, and Kubernetes refuses two volumes": {
        "configMapAsVolume": [{"configMapName": "same", "mountPath": "/one"}],
        "secretAsVolume": [{"secretName": "same", "mountPath": "/two"}],
    },
    "two volumes are mounted at /one": {
        "configMapAsVolume": [{"configMapName": "a", "mountPath": "/one"}],
        "pvcMount": [{"constant": "b", "mountPath": "/one"}],
    },
    "the configuration cannot be read": {"imagePullPolicy": ["Always"]},
}


@pytest.mark.parametrize("sentence", CASES)
def test_what_no_pod_may_have_is_an_error(said, sentence):
    found = said(CASES[sentence])

    assert any(s == "error" and sentence in text for s, text in found), found


def test_names_given_as_constants_of_a_parameter_are_looked_at_too(said):
    name = {"runtimeValue": {"constant": "one.two"}}

    ((severity, text),) = said(
        {"secretAsVolume": [{"secretNameParameter": name, "mountPath": "/one"}]}
    )

    assert severity == "error"
    assert "one.two cannot be mounted" in text


def test_a_field_that_is_not_known_here_is_a_warning(said):
    ((severity, text),) = said({"timeuot": 5})

    assert severity == "warning"
    assert 'has no field named "timeuot"' in text


def test_configuration_that_reaches_no_container_is_said(said):
    ((gone, gone_text),) = said({"activeDeadlineSeconds": 5}, label="exec-gone")
    ((idle, idle_text),) = said({"activeDeadlineSeconds": 5}, label="exec-importer")
    ((other, other_text),) = said({"activeDeadlineSeconds": 5}, platform="elsewhere")

    assert (gone, idle, other) == ("error", "warning", "warning")
    assert gone_text == "the platform document configures exec-gone, an executor not there"
    assert idle_text == "the platform document configures exec-importer, which has no container"
    assert other_text == "the platform document configures elsewhere, which Kubeflow ignores"


def test_one_pipeline_has_one_platform_document(document):
    with pytest.raises(PenstockError, match="has 3 YAML documents; expected the pipeline and"):
        parse(document + "---\nplatforms: {}\n---\nplatforms: {}\n", "water.yaml")


def test_the_same_fault_of_many_steps_is_said_once(tmp_path):
    @dsl.pipeline(name="many")
    def many():
        for n in range(5):
            step(n=n)

    Compiler().compile(many, str(tmp_path / "many.yaml"))
    text = (tmp_path / "many.yaml").read_text()
    executors = {
        label: {"imagePullPolicy": "Sometimes"}
        for label in yaml.safe_load(text)["deploymentSpec"]["executors"]
    }
    platforms = {"kubernetes": {"deploymentSpec": {"executors": executors}}}

    (finding,) = findings(
        parse(text + "---\n" + yaml.safe_dump({"platforms": platforms}), "many.yaml")
    )

    assert finding.text.startswith("exec-step, exec-step-2, exec-step-3 and 2 more: the image pull")
