"""`penstock compile`: defaults for steps, parameters, the platform document, the same bytes."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import yaml
from kfp import dsl, kubernetes
from kfp.compiler import Compiler

from penstock.cli.main import main
from penstock.errors import PenstockError
from penstock.orchestration.kubeflow.acceptance import findings
from penstock.orchestration.kubeflow.defaults import read_defaults
from penstock.orchestration.kubeflow.tailoring import tailored
from penstock.orchestration.spec import parse

component = dsl.component(base_image="registry.example/step:1", install_kfp_package=False)


@component
def make_data(data: dsl.Output[dsl.Dataset]):
    pass


@component
def train(data: dsl.Input[dsl.Dataset], steps: int = 1) -> str:
    return f"{data.uri} {steps}"


@dsl.container_component
def look(data: dsl.Input[dsl.Dataset], out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="registry.example/look:1", command=["look", data.path, out])


@dsl.pipeline(name="water")
def water(steps: int = 3):
    data = make_data().outputs["data"]
    train(data=data, steps=steps)
    train(data=data)
    look(data=data)
    with dsl.ParallelFor([1, 2]):
        look(data=data)
    dsl.importer(artifact_uri="gs://bucket/x", artifact_class=dsl.Dataset)


def compiled(pipeline, folder):
    file = folder / "compiled.yaml"
    Compiler().compile(pipeline, str(file))
    return parse(file.read_text(), str(file))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return compiled(water, tmp_path_factory.mktemp("water"))


@pytest.fixture
def defaults(tmp_path):
    def write(text):
        file = tmp_path / "defaults.yaml"
        file.write_text(text)
        return read_defaults(file)

    return write


def container(pipeline, label):
    return pipeline.executors[label].container


def config(pipeline, label):
    return pipeline.platforms.get("kubernetes", {}).get(label, {})


EVERYTHING = """
all:
  resources:
    requests: {cpu: 500m, memory: 512Mi}
    limits: {cpu: 2, memory: 4G, nvidia.com/gpu: 1}
  node_selector: {pool: gpu}
  tolerations:
    - {key: spot, operator: Exists, effect: NoSchedule}
    - {key: gone, operator: Exists, effect: NoExecute, tolerationSeconds: 60}
  secrets:
    bucket: {env: {AWS_ACCESS_KEY_ID: access, AWS_SECRET_ACCESS_KEY: secret}}
    certificate: {path: /etc/certificate}
  config_maps:
    settings: {env: {REGION: region}, path: /etc/settings}
  volumes: {scratch: /scratch}
  image_pull_secrets: [registry]
  image_pull_policy: IfNotPresent
  retry: {count: 3, backoff: 30s, factor: 2, max_duration: 1h}
  timeout: 30m
  cache: false
  labels: {team: water}
  annotations: {owner: somebody}
  env: {OMP_NUM_THREADS: "2"}
"""


# The pipeline above, with the same settings by the calls of kfp and kfp-kubernetes.
@dsl.pipeline(name="water")
def by_hand(steps: int = 3):
    def set_all(task):
        task.set_cpu_request("500m").set_memory_request("512Mi")
        task.set_cpu_limit("2").set_memory_limit("4G")
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
        task.set_retry(3, "30s", 2, "1h").set_caching_options(False)
        task.set_env_variable("OMP_NUM_THREADS", "2")
        kubernetes.add_node_selector(task, "pool", "gpu")
        kubernetes.add_toleration(task, "spot", "Exists", effect="NoSchedule")
        kubernetes.add_toleration(task, "gone", "Exists", effect="NoExecute", toleration_seconds=60)
        kubernetes.use_secret_as_env(task, "bucket", {"access": "AWS_ACCESS_KEY_ID"})
        kubernetes.use_secret_as_env(task, "bucket", {"secret": "AWS_SECRET_ACCESS_KEY"})
        kubernetes.use_secret_as_volume(task, "certificate", "/etc/certificate")
        kubernetes.use_config_map_as_env(task, "settings", {"region": "REGION"})
        kubernetes.use_config_map_as_volume(task, "settings", "/etc/settings")
        kubernetes.mount_pvc(task, "scratch", "/scratch")
        kubernetes.set_image_pull_secrets(task, ["registry"])
        kubernetes.set_image_pull_policy(task, "IfNotPresent")
        kubernetes.set_timeout(task, 1800)
        kubernetes.add_pod_label(task, "team", "water")
        kubernetes.add_pod_annotation(task, "owner", "somebody")
        return task

    data = set_all(make_data()).outputs["data"]
    set_all(train(data=data, steps=steps))
    set_all(train(data=data))
    set_all(look(data=data))
    with dsl.ParallelFor([1, 2]):
        set_all(look(data=data))
    dsl.importer(artifact_uri="gs://bucket/x", artifact_class=dsl.Dataset)


def test_defaults_are_what_the_calls_of_kfp_would_have_written(pipeline, defaults, tmp_path):
    given = tailored(pipeline, defaults(EVERYTHING))

    expected = compiled(by_hand, tmp_path)
    assert given.spec == expected.spec
    assert given.platforms == expected.platforms
    assert findings(given) == []


def test_the_more_specific_setting_wins(pipeline, defaults):
    given = tailored(
        pipeline,
        defaults("""
all:
  env: {A: all, B: all, C: all}
  timeout: 1m
  resources: {limits: {cpu: 1, memory: 1G}}
  tolerations: [{key: spot}]
components:
  train:
    env: {B: component, C: component}
    timeout: 2m
    resources: {limits: {cpu: 4}}
    tolerations: [{key: gpu}]
tasks:
  train-2:
    env: {C: task}
    timeout: null
    resources: {limits: {memory: null}}
"""),
    )

    def env(label):
        return {variable.name: variable.value for variable in container(given, label).env}

    assert env("exec-look") == {"A": "all", "B": "all", "C": "all"}
    assert env("exec-train") == {"A": "all", "B": "component", "C": "component"}
    assert env("exec-train-2") == {"A": "all", "B": "component", "C": "task"}
    assert config(given, "exec-look")["activeDeadlineSeconds"] == "60"
    assert config(given, "exec-train")["activeDeadlineSeconds"] == "120"
    assert "activeDeadlineSeconds" not in config(given, "exec-train-2")
    assert container(given, "exec-train").resources.resource_memory_limit == "1G"
    assert container(given, "exec-train-2").resources.resource_memory_limit == ""
    assert container(given, "exec-train-2").resources.resource_cpu_limit == "4"
    assert [each["key"] for each in config(given, "exec-train")["tolerations"]] == ["gpu"]


def test_a_component_is_named_as_its_function_or_as_in_the_pipeline(pipeline, defaults):
    for name in ("make_data", "make-data"):
        given = tailored(pipeline, defaults(f"components: {{{name}: {{env: {{A: b}}}}}}"))
        assert [variable.name for variable in container(given, "exec-make-data").env] == ["A"]

    given = tailored(pipeline, defaults("components: {look: {env: {A: b}}}"))
    for label in ("exec-look", "exec-look-2"):
        assert [variable.name for variable in container(given, label).env] == ["A"]


def test_what_the_pipeline_itself_sets_stays(defaults, tmp_path):
    @dsl.pipeline(name="own")
    def pipeline():
        task = make_data().set_caching_options(False).set_retry(1).set_cpu_limit("8")
        task.set_env_variable("A", "own")
        kubernetes.use_secret_as_env(task, "own", {"key": "TOKEN"})
        kubernetes.use_secret_as_volume(task, "own", "/etc/certificate")
        kubernetes.set_timeout(task, 5)
        kubernetes.add_pod_label(task, "team", "own")

    given = tailored(
        compiled(pipeline, tmp_path),
        defaults("""
all:
  cache: true
  retry: {count: 9}
  resources: {limits: {cpu: 1, memory: 1G}}
  env: {A: default, B: default, TOKEN: default}
  secrets: {other: {env: {TOKEN: key, A: key, MORE: key}, path: /etc/certificate}}
  timeout: 1h
  labels: {team: default, part: default}
"""),
    )

    task = given.spec.root.dag.tasks["make-data"]
    step, asked = container(given, "exec-make-data"), config(given, "exec-make-data")
    assert not task.caching_options.enable_cache
    assert task.retry_policy.max_retry_count == 1
    assert step.resources.resource_cpu_limit == "8"
    assert step.resources.cpu_limit == 8
    assert step.resources.resource_memory_limit == "1G"
    assert {v.name: v.value for v in step.env} == {"A": "own", "B": "default"}
    variables = [each["keyToEnv"][0]["envVar"] for each in asked["secretAsEnv"]]
    assert variables == ["TOKEN", "MORE"]
    assert [each["secretName"] for each in asked["secretAsVolume"]] == ["own"]
    assert asked["activeDeadlineSeconds"] == "5"
    assert asked["podMetadata"]["labels"] == {"team": "own", "part": "default"}


def test_a_step_longer_than_an_hour_can_be_retried(pipeline, defaults):
    retried = "all: {retry: {count: 2, backoff: 1m%s}, timeout: 2h}"

    # KFP's own call makes it an hour at most, and Argo counts from the first attempt's beginning.
    short = findings(tailored(pipeline, defaults(retried % "")))
    long = tailored(pipeline, defaults(retried % ", max_duration: 24h"))

    assert "make-data is not retried 3600 s after its first attempt began" in str(short)
    assert "one attempt may take 7200 s" in str(short)
    assert findings(long) == []
    policy = long.spec.root.dag.tasks["train"].retry_policy
    assert policy.backoff_max_duration.ToTimedelta().total_seconds() == 24 * 3600


def test_giving_the_same_defaults_again_changes_nothing(pipeline, defaults):
    once = tailored(pipeline, defaults(EVERYTHING))

    assert tailored(once, defaults(EVERYTHING)).text == once.text
    assert "&id" not in once.text


def test_no_defaults_leave_the_pipeline_as_it_is(pipeline, defaults):
    for text in ("", "all: {}", "all: {env: null}"):
        given = tailored(pipeline, defaults(text))
        assert given.text == pipeline.text


def test_steps_of_a_nested_pipeline_that_is_used_twice(defaults, tmp_path):
    @dsl.pipeline
    def inner(steps: int):
        train(data=make_data().outputs["data"], steps=steps)

    @dsl.pipeline(name="outer")
    def pipeline():
        inner(steps=1)
        inner(steps=2)

    given = tailored(compiled(pipeline, tmp_path), defaults("components: {train: {env: {A: b}}}"))

    trained = [label for label in given.executors if label.startswith("exec-train")]
    assert trained
    assert all(container(given, label).env[0].name == "A" for label in trained)


def test_tasks_that_share_an_executor_have_the_same_settings(pipeline, defaults):
    document = yaml.safe_load(pipeline.text)
    document["root"]["dag"]["tasks"]["train-2"]["componentRef"]["name"] = "comp-train"
    shared = parse(yaml.safe_dump(document), "shared.yaml")

    given = tailored(shared, defaults("components: {train: {env: {A: b}}}"))

    assert [variable.name for variable in container(given, "exec-train").env] == ["A"]
    with pytest.raises(
        PenstockError, match="gives train-2 other settings than train, and both are exec-train"
    ):
        tailored(shared, defaults("tasks: {train: {env: {A: b}}}"))


WRONG = {
    "al: {}": r"has the key al, and there is no such key: there are all, components, tasks",
    "{}": "is empty: give all, components or tasks",
    "[]": r"is \[\]: give a mapping",
    "a: [": "is not YAML",
    "all: {timeout: 5}": r", all\.timeout, is 5: give a time such as 30s, 5m or 2h",
    "all: {timeout: 5d}": r"is '5d': give a time such as 30s, 5m or 2h",
    "all: {retry: {count: -1}}": r"all\.retry\.count, is -1, which is too little",
    "all: {env: {A: 1}}": r"all\.env\.A, is 1: give text",
    "all: {volumes: {claim: here}}": "is 'here': give a path that begins with /",
    "all: {resources: {limits: {cpu: many}}}": "is 'many': give cores such as 2 or 500m",
    "all: {image_pull_policy: Sometimes}": "give one of Always, IfNotPresent, Never",
    "all: {secrets: {s: {paht: /a}}}": r"has the key paht.*there are env, path \(did you mean path",
    "components: {trian: {}}": r"the component trian, which water does not have.*mean train\?\)",
    "tasks: {train-3: {}}": r"the task train-3, which water does not have; of tasks that run in a",
    "tasks: {importer: {}}": "the task importer, which water does not have",
    "all: {resources: {limits: {a/b: 1, c/d: 1}}}": "KFP gives a step accelerators of one kind",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_defaults_are_one_sentence(text, pipeline, defaults):
    with pytest.raises(PenstockError, match=WRONG[text]):
        tailored(pipeline, defaults(text))


BROKEN = {
    "comp-gone, which is not there": lambda d: d[0]["root"]["dag"]["tasks"]["train"][
        "componentRef"
    ].update(name="comp-gone"),
    "part for exec-train cannot be read": lambda d: d.append(
        {
            "platforms": {
                "kubernetes": {
                    "deploymentSpec": {"executors": {"exec-train": {"secretAsEnv": "all"}}}
                }
            }
        }
    ),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_pipeline_is_not_given_defaults(pipeline, defaults, sentence):
    found = [yaml.safe_load(pipeline.text)]
    BROKEN[sentence](found)

    with pytest.raises(PenstockError, match=sentence):
        tailored(parse(yaml.safe_dump_all(found), "x.yaml"), defaults("all: {timeout: 1h}"))


def test_what_a_newer_kfp_configures_is_left_as_it_is(pipeline, defaults):
    claim = {"constant": "claim", "mountPath": "/claim", "notKnownHere": "kept"}
    executors = {"exec-train": {"pvcMount": [claim]}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    text = yaml.safe_dump_all([yaml.safe_load(pipeline.text), platform])

    given = tailored(parse(text, "x.yaml"), defaults("all: {timeout: 1h}"))

    assert config(given, "exec-train") == {"pvcMount": [claim], "activeDeadlineSeconds": "3600"}


def test_defaults_that_cannot_be_read(tmp_path):
    with pytest.raises(PenstockError, match=r"gone\.yaml cannot be read: No such file"):
        read_defaults(tmp_path / "gone.yaml")


AUTHOR = """
from kfp import dsl


@dsl.component(base_image="registry.example/step:1", install_kfp_package=False)
def step(n: int, names: list) -> str:
    return str(n)


@dsl.pipeline(name="water", description="Carries water.")
def water(n: int = 1, names: list = ["a"]):
    step(n=n, names=names)
"""


@pytest.fixture
def author(tmp_path):
    file = tmp_path / "author.py"
    file.write_text(AUTHOR)
    return file


@pytest.fixture
def penstock(tmp_path, monkeypatch):
    """Run the command in the test's folder; `stdout` and `stderr` as a person sees them."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return subprocess.CompletedProcess(words, *_called(list(map(str, words))))

    return run


def _called(words):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["penstock", *words])
        with pytest.raises(SystemExit) as end:
            main()
            sys.exit(0)
    return end.value.code or 0, out.getvalue(), err.getvalue()


def test_the_same_source_and_defaults_give_the_same_bytes(author, tmp_path):
    (tmp_path / "defaults.yaml").write_text(EVERYTHING)
    outputs = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.yaml"
        subprocess.run(
            [
                *(sys.executable, "-m", "penstock.cli", "compile", author, "-o", out),
                *("--defaults", tmp_path / "defaults.yaml"),
            ],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        outputs.append(out.read_bytes())

    assert outputs[0] == outputs[1]


def test_a_compiled_file_is_given_parameters_and_defaults_as_its_source_is(
    author, tmp_path, penstock
):
    (tmp_path / "defaults.yaml").write_text(EVERYTHING)
    more = ("-p", "n=7", "-p", 'names=["b"]', "--defaults", "defaults.yaml")

    assert penstock("compile", author, "-o", "plain.yaml").returncode == 0
    for source, out in ((author, "source.yaml"), ("plain.yaml", "compiled.yaml")):
        done = penstock("compile", source, "-o", out, *more)
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "compiled.yaml").read_text() == (tmp_path / "source.yaml").read_text()
    declared = parse((tmp_path / "compiled.yaml").read_text(), "").spec.root.input_definitions
    assert declared.parameters["n"].default_value.number_value == 7


def test_the_platform_document_lies_behind_the_pipeline_or_beside_it(author, tmp_path, penstock):
    (tmp_path / "defaults.yaml").write_text("all: {timeout: 1h}")
    given = ("--defaults", tmp_path / "defaults.yaml")

    for words in (("-o", "both.yaml"), ("-o", "one.json", "--kubernetes", "two.yaml")):
        done = penstock("compile", author, *words, *given)
        assert done.returncode == 0, done.stderr

    pipeline, platform = yaml.safe_load_all((tmp_path / "both.yaml").read_text())
    assert json.loads((tmp_path / "one.json").read_text()) == pipeline
    assert yaml.safe_load((tmp_path / "two.yaml").read_text()) == platform
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors == {"exec-step": {"activeDeadlineSeconds": "3600"}}
    done = penstock("compile", author, "-o", "both.json", *given)
    assert (done.returncode, (tmp_path / "both.json").exists()) == (2, False)
    assert "say with --kubernetes where the second goes" in done.stderr
    done = penstock("compile", author, "-o", "x.yaml", "--kubernetes", "y.yaml")
    assert (done.returncode, (tmp_path / "x.yaml").exists()) == (2, False)
    assert "nothing of water is configured for Kubernetes" in done.stderr


def test_what_kubeflow_refuses_is_not_written_unless_asked(author, tmp_path, penstock):
    author.write_text(AUTHOR.replace('["a"]', '["{{inputs.parameters.x}}"]'))

    refused = penstock("compile", author, "-o", "out.yaml")
    assert (refused.returncode, (tmp_path / "out.yaml").exists()) == (1, False)
    assert "holds {{inputs.parameters.x}}, which Argo takes for a reference" in refused.stderr
    assert "out.yaml was not written" in refused.stderr

    assert penstock("compile", author, "-o", "out.yaml", "--no-check").returncode == 0
    checked = penstock("check", "out.yaml")
    assert checked.returncode == 1
    assert "1 error." in checked.stdout


def test_check_counts_warnings_only_when_told_so(author, tmp_path, penstock):
    assert penstock("check", author).stdout == "water: nothing found.\n"

    author.write_text(AUTHOR.replace("step:1", "step:latest"))
    warned = penstock("check", author)
    assert warned.returncode == 0
    assert "has a tag that moves" in warned.stdout
    assert "water: 1 warning." in warned.stdout
    assert penstock("check", author, "--strict").returncode == 1
    assert penstock("check", tmp_path / "gone.yaml").returncode == 2


def test_a_run_here_says_what_would_go_otherwise_on_kubeflow(author, tmp_path, penstock):
    author.write_text(AUTHOR.replace("names=names)", 'names=names).set_retry(1, "1s", 1.5)'))

    done = penstock("run", author, "--root", tmp_path / "runs")

    assert done.returncode == 0, done.stderr
    assert "Note: step is retried with the back-off factor 1.5, and Argo takes whole" in done.stdout


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("pipelines/*/pipeline.py")))
def test_every_shipped_pipeline_is_one_that_kubeflow_takes(file, tmp_path, penstock):
    out = tmp_path / "out.yaml"

    done = penstock("compile", f"penstock.pipelines.{file.parent.name}", "-o", out)

    assert done.returncode == 0, done.stderr
    # Its images are where PENSTOCK_IMAGE_REGISTRY says; nothing else is found.
    found = [finding.text for finding in findings(parse(out.read_text(), str(out)))]
    assert all("is on the node's own disk or nowhere" in text for text in found), found
    backend = os.environ.get("PENSTOCK_TEST_KFP_BACKEND")
    if backend:
        subprocess.run([backend, out], check=True)
