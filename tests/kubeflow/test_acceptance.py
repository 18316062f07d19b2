"""What `penstock check` says, and that Kubeflow's own backend says the same where it can be asked.

`PENSTOCK_TEST_KFP_BACKEND` names a program that is given a compiled file and does with it what
Kubeflow's API server does at upload and at the creation of a run: it exits with 0 when it accepts
the pipeline. Without it the cases are held to what 2.16.1 said when they were written.
"""

import os
import subprocess
from typing import List

import pytest
import yaml
from kfp import dsl
from kfp.compiler import Compiler

from penstock.orchestration.kubeflow.acceptance import findings
from penstock.orchestration.kubeflow.finding import Severity
from penstock.orchestration.spec import parse

BACKEND = os.environ.get("PENSTOCK_TEST_KFP_BACKEND")
component = dsl.component(base_image="registry.example/step:1", install_kfp_package=False)


@component
def text(value: str) -> str:
    return value


@component
def number(n: int) -> int:
    return n


@component
def make(data: dsl.Output[dsl.Dataset]):
    pass


@component
def read(data: dsl.Input[dsl.Dataset]) -> str:
    return data.uri


@component
def fold(data: dsl.Input[List[dsl.Dataset]]) -> str:
    return str(len(data))


@dsl.pipeline(name="water")
def chain(word: str = "a", n: int = 1):
    first = text(value=word)
    text(value=first.output)
    number(n=n)
    read(data=make().outputs["data"])


@pytest.fixture
def compiled(tmp_path):
    def compile_pipeline(pipeline):
        file = tmp_path / "pipeline.yaml"
        Compiler().compile(pipeline, str(file))
        return file.read_text()

    return compile_pipeline


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    file = tmp_path_factory.mktemp("chain") / "chain.yaml"
    Compiler().compile(chain, str(file))
    return file.read_text()


@pytest.fixture
def judged(tmp_path):
    """Check a text; where the backend can be asked, it must agree on what it accepts."""

    def judge(given, *, accepted):
        found = findings(parse(given, "pipeline.yaml"))
        if BACKEND:
            file = tmp_path / "judged.yaml"
            file.write_text(given)
            done = subprocess.run([BACKEND, file], capture_output=True, text=True, check=False)
            assert (done.returncode == 0) is accepted, done.stdout + done.stderr
        return [(finding.severity.value, finding.text) for finding in found]

    return judge


def changed(given, change):
    document = yaml.safe_load(given)
    change(document)
    return yaml.safe_dump(document)


def tasks(document):
    return document["root"]["dag"]["tasks"]


def test_a_pipeline_that_kubeflow_takes_has_no_findings(chained, judged):
    assert judged(chained, accepted=True) == []


# What the backend refuses at upload or when a run is created is an error.
REFUSED = {
    "pipeline name in capitals": (
        lambda d: d["pipelineInfo"].update(name="Water"),
        "the pipeline's name 'Water' must be lower-case letters",
    ),
    "pipeline name too long": (
        lambda d: d["pipelineInfo"].update(name="w" * 129),
        "the pipeline's name has 129 characters, and Kubeflow takes 127",
    ),
    "task name with a digit first": (
        lambda d: tasks(d).update({"2nd": tasks(d).pop("number")}),
        "task 2nd must have a name of letters, digits and '-', the first a letter",
    ),
    "task name too long": (
        lambda d: tasks(d).update({"n" * 125: tasks(d).pop("number")}),
        "characters, and Argo takes 128",
    ),
    "component not there": (
        lambda d: tasks(d)["number"]["componentRef"].update(name="comp-gone"),
        "task number refers to the component comp-gone, which is not there",
    ),
    "executor not there": (
        lambda d: d["components"]["comp-number"].update(executorLabel="exec-gone"),
        "component comp-number refers to the executor exec-gone, which is not there",
    ),
    "producer not there": (
        lambda d: tasks(d)["text-2"]["inputs"]["parameters"]["value"]["taskOutputParameter"].update(
            producerTask="gone"
        ),
        "task text-2 depends on the task gone, which is not there",
    ),
    "dependency not there": (
        lambda d: tasks(d)["number"].update(dependentTasks=["gone"]),
        "task number depends on the task gone, which is not there",
    ),
    "circle": (
        lambda d: tasks(d)["text"].update(dependentTasks=["text-2"]),
        "the tasks text -> text-2 wait for each other",
    ),
    "condition on an importer": (
        lambda d: (
            d["deploymentSpec"]["executors"].update(
                {
                    "exec-make": {
                        "importer": {
                            "artifactUri": {"constant": "gs://b/x"},
                            "typeSchema": {
                                "schemaTitle": "system.Dataset",
                                "schemaVersion": "0.0.1",
                            },
                        }
                    }
                }
            ),
            tasks(d)["make"].update(triggerPolicy={"condition": "true == true"}),
        ),
        "make is an importer with a condition, which Kubeflow refuses",
    ),
    "only tasks of the exit": (
        lambda d: (
            [tasks(d).pop(name) for name in ("text", "text-2", "make", "read")],
            tasks(d)["number"].update(triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}),
        ),
        "the pipeline has no task, or only tasks that run at its exit",
    ),
    "resolver": (
        lambda d: d["deploymentSpec"]["executors"].update(
            {"exec-number": {"resolver": {"outputArtifactQueries": {}}}}
        ),
        "number is a resolver: it runs on Vertex AI only",
    ),
    "reference of Argo's in a constant": (
        lambda d: tasks(d)["text"]["inputs"]["parameters"].update(
            value={"runtimeValue": {"constant": "Dear {{inputs.parameters.name}}"}}
        ),
        "task text holds {{inputs.parameters.name}}, which Argo takes for a reference of its own",
    ),
    "reference of Argo's in a default": (
        lambda d: d["root"]["inputDefinitions"]["parameters"]["word"].update(
            defaultValue="{{tasks.a}}"
        ),
        "the pipeline holds {{tasks.a}}",
    ),
    "reference of Argo's in a source": (
        lambda d: d["deploymentSpec"]["executors"]["exec-text"]["container"]["command"].append(
            "print('{{ pod.name }}')"
        ),
        "the container of exec-text holds {{pod.name}}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_backend_refuses_is_an_error(chained, judged, case):
    change, sentence = REFUSED[case]

    found = judged(changed(chained, change), accepted=False)

    assert any(severity == "error" and sentence in text for severity, text in found), found


def test_a_loop_over_artifacts_is_refused(compiled, judged):
    @dsl.pipeline
    def inner(sets: dsl.Input[List[dsl.Dataset]]):
        with dsl.ParallelFor(sets) as item:
            read(data=item)

    @dsl.pipeline(name="outer")
    def pipeline():
        with dsl.ParallelFor([1, 2]):
            made = make()
        inner(sets=dsl.Collected(made.outputs["data"]))

    (finding,) = judged(compiled(pipeline), accepted=False)

    assert finding[0] == "error"
    assert finding[1].startswith("for-loop-1 in comp-inner is a loop over artifacts")


# What passes the compiler and goes wrong in the driver or the pod.
WRONG_LATER = {
    "a constant of another type": (
        lambda d: tasks(d)["number"]["inputs"]["parameters"].update(
            n={"runtimeValue": {"constant": "one"}}
        ),
        "task number is given n as a constant that is not an integer",
    ),
    "an output of another type": (
        lambda d: tasks(d)["number"]["inputs"]["parameters"].update(
            n={"taskOutputParameter": {"producerTask": "text", "outputParameterKey": "Output"}}
        ),
        "task number is given n as a string, not an integer",
    ),
    "a default of another type": (
        lambda d: d["root"]["inputDefinitions"]["parameters"]["n"].update(defaultValue="one"),
        "the default of n of the pipeline is not an integer",
    ),
    "no value": (
        lambda d: tasks(d)["number"].pop("inputs"),
        "task number is not given the parameter n, which has no default",
    ),
    "no artifact": (
        lambda d: tasks(d)["read"]["inputs"].pop("artifacts"),
        "task read is not given the artifact data",
    ),
    "no type": (
        lambda d: d["root"]["inputDefinitions"]["parameters"].update(free={"isOptional": True}),
        "the pipeline's parameter free has no type: annotate it",
    ),
    "a final status from outside": (
        lambda d: d["root"]["inputDefinitions"]["parameters"].update(
            end={"parameterType": "TASK_FINAL_STATUS", "isOptional": True}
        ),
        "the pipeline's parameter end is a task's final status, which only a task can be",
    ),
    "an artifact from outside": (
        lambda d: d["root"]["inputDefinitions"].update(
            artifacts={
                "data": {
                    "artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
                }
            }
        ),
        "the pipeline takes the artifact data, and Kubeflow gives a run parameters alone",
    ),
    "too long a constant": (
        lambda d: tasks(d)["text"]["inputs"]["parameters"].update(
            value={"runtimeValue": {"constant": "x" * 140_000}}
        ),
        "task text, with its constants, has 140,1",
    ),
    "no image": (
        lambda d: d["deploymentSpec"]["executors"]["exec-text"]["container"].update(image=""),
        "text: an empty text is not a reference of an image",
    ),
    "a quantity that is none": (
        lambda d: d["deploymentSpec"]["executors"]["exec-text"]["container"].update(
            resources={"resourceCpuLimit": "many"}
        ),
        "exec-text: many is not a quantity of cpu",
    ),
    "a request above the limit": (
        lambda d: d["deploymentSpec"]["executors"]["exec-text"]["container"].update(
            resources={"resourceMemoryLimit": "1G", "resourceMemoryRequest": "1Gi"}
        ),
        "exec-text: the request of memory, 1Gi, is above its limit, 1G",
    ),
}


@pytest.mark.parametrize("case", WRONG_LATER)
def test_what_fails_in_the_run_is_an_error(chained, judged, case):
    change, sentence = WRONG_LATER[case]

    found = judged(changed(chained, change), accepted=True)

    assert any(severity == "error" and sentence in text for severity, text in found), found


# What some backends, some clusters or the second run get wrong.
DOUBTFUL = {
    "a tag that moves": (
        lambda d: d["deploymentSpec"]["executors"]["exec-make"]["container"].update(
            image="registry.example:5000/step:latest"
        ),
        "make: registry.example:5000/step:latest has a tag that moves, and Kubeflow's cache knows",
    ),
    "no tag": (
        lambda d: (
            d["deploymentSpec"]["executors"]["exec-make"]["container"].update(
                image="registry.example:5000/step"
            ),
            tasks(d)["make"].update(cachingOptions={}),
        ),
        "has a tag that moves, so two steps of one run may differ",
    ),
    "an image on one's own machine": (
        lambda d: d["deploymentSpec"]["executors"]["exec-make"]["container"].update(
            image="localhost/step:1"
        ),
        "make: localhost/step:1 is on the node's own disk or nowhere",
    ),
    "a cached step that reads by name": (
        lambda d: tasks(d)["text"]["inputs"]["parameters"].update(
            value={"runtimeValue": {"constant": "s3://bucket/data"}}
        ),
        "text reads value=s3://bucket/data and is cached by that name",
    ),
    "a cached step that reads by the name in a parameter": (
        lambda d: d["root"]["inputDefinitions"]["parameters"]["word"].update(
            defaultValue="gs://bucket/data"
        ),
        "text reads value=gs://bucket/data and is cached by that name",
    ),
    "a cached step without outputs": (
        lambda d: d["components"]["comp-read"].pop("outputDefinitions"),
        "read has no outputs and is cached, so what it does elsewhere it does once",
    ),
    "a text that Argo replaces": (
        lambda d: tasks(d)["text"]["inputs"]["parameters"].update(
            value={"runtimeValue": {"constant": "{{workflow.name}}"}}
        ),
        "task text holds {{workflow.name}}, which Argo replaces before a step sees it",
    ),
    "an expression that Argo replaces": (
        lambda d: tasks(d)["text"]["inputs"]["parameters"].update(
            value={"runtimeValue": {"constant": "{{=1+1}}"}}
        ),
        "task text holds {{=1+1}}, which Argo replaces before a step sees it",
    ),
    "an input that its component lacks": (
        lambda d: tasks(d)["number"]["inputs"]["parameters"].update(
            m={"runtimeValue": {"constant": 1}}
        ),
        "task number is given the parameter m, which its component lacks",
    ),
    "a fractional back-off": (
        lambda d: tasks(d)["text"].update(
            retryPolicy={"maxRetryCount": 2, "backoffFactor": 1.5, "backoffMaxDuration": "9s"}
        ),
        "text is retried with the back-off factor 1.5, and Argo takes whole numbers",
    ),
    "retries that never begin": (
        lambda d: tasks(d)["text"].update(retryPolicy={"maxRetryCount": 2, "backoffFactor": 2}),
        "text is not retried 0 s after its first attempt began, and the first has begun before",
    ),
    "another compiler": (
        lambda d: d.update(sdkVersion="tfx-1.16.0"),
        "sdkVersion is tfx-1.16.0, not kfp-2.x",
    ),
    "a large pipeline": (
        lambda d: [
            tasks(d).update(
                {
                    f"text-{n}": {
                        **tasks(d)["text"],
                        "inputs": {
                            "parameters": {"value": {"runtimeValue": {"constant": "x" * 120_000}}}
                        },
                    }
                }
            )
            for n in range(10, 14)
        ],
        "and Kubernetes keeps objects up to 1,572,864",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_goes_wrong_sometimes_is_a_warning(chained, judged, case):
    change, sentence = DOUBTFUL[case]

    found = judged(changed(chained, change), accepted=True)

    assert any(severity == "warning" and sentence in text for severity, text in found), found


def test_a_reference_of_argos_is_said_of_its_task_and_not_of_the_pipeline_too(chained):
    def change(document):
        value = {"runtimeValue": {"constant": "{{pod.name}}"}}
        tasks(document)["text"]["inputs"]["parameters"]["value"] = value

    (finding,) = findings(parse(changed(chained, change), "pipeline.yaml"))

    assert finding.text.startswith("task text holds {{pod.name}}")


def test_findings_begin_with_errors(chained):
    def change(document):
        document["sdkVersion"] = ""
        tasks(document)["number"]["inputs"]["parameters"]["n"] = {"runtimeValue": {"constant": "a"}}

    found = findings(parse(changed(chained, change), "pipeline.yaml"))

    assert [finding.severity for finding in found] == [Severity.ERROR, Severity.WARNING]


def test_what_older_backends_take_otherwise_is_a_warning(compiled, judged):
    @dsl.pipeline
    def inner() -> dsl.Dataset:
        return make().outputs["data"]

    @dsl.pipeline(name="outer")
    def pipeline(n: int = 1):
        with dsl.If(n == 1):
            one = make()
        with dsl.Else():
            other = make()
        read(data=dsl.OneOf(one.outputs["data"], other.outputs["data"]))
        read(data=inner().output)
        with dsl.ParallelFor([1, 2]):
            made = make()
        fold(data=dsl.Collected(made.outputs["data"]))

    found = judged(compiled(pipeline), accepted=True)

    assert [severity for severity, _ in found] == ["warning", "warning"]
    assert "is a dsl.OneOf of artifacts: before Kubeflow 2.17" in found[0][1]
    assert "Output in comp-inner is an artifact output of a nested pipeline" in found[1][1]


def test_placeholders_of_commands_that_kubeflow_does_not_resolve(compiled, judged):
    @dsl.container_component
    def look(data: dsl.Input[dsl.Dataset], out: dsl.OutputPath(str), word: str = ""):
        return dsl.ContainerSpec(
            image="registry.example/look:1",
            command=["look", out],
            args=[
                dsl.IfPresentPlaceholder("word", then=["--word", word]),
                dsl.IfPresentPlaceholder("data", then=["--data", data.path], else_=["--none"]),
                dsl.ConcatPlaceholder(["--word=", word]),
            ],
        )

    @dsl.pipeline
    def pipeline():
        look(data=make().outputs["data"])

    concat, artifact, parameter = judged(compiled(pipeline), accepted=True)

    assert concat[0] == artifact[0] == "error"
    assert "component comp-look uses dsl.ConcatPlaceholder" in concat[1]
    assert "asks by dsl.IfPresentPlaceholder for the artifact data" in artifact[1]
    assert parameter[0] == "warning"
    assert "asks by dsl.IfPresentPlaceholder for word: Kubeflow before 2.17" in parameter[1]
