"""What is refused before the first step, by name and place."""

import pytest
import yaml
from kfp import dsl

from penstock.errors import PenstockError
from penstock.orchestration.check import check_pipeline
from penstock.orchestration.spec import parse

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def text(value: str) -> str:
    return value


@dsl.pipeline(name="water")
def chain():
    text(value=text(value="a").output)


def changed(pipeline, change):
    document = yaml.safe_load(pipeline.text)
    change(document)
    return parse(yaml.safe_dump(document), "changed.yaml")


def tasks(document):
    return document["root"]["dag"]["tasks"]


def executor(document):
    return document["deploymentSpec"]["executors"]["exec-text"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda d: tasks(d)["text"]["componentRef"].update(name="comp-gone"),
            "task text refers to the component comp-gone, which is not there",
        ),
        (
            lambda d: tasks(d)["text"].update(dependentTasks=["gone"]),
            "task text depends on the task gone, which is not there",
        ),
        (
            lambda d: tasks(d)["text"].update(dependentTasks=["text-2"]),
            "the tasks text -> text-2 wait for each other",
        ),
        (
            lambda d: tasks(d)["text"].update(triggerPolicy={"condition": "size('a') > 0"}),
            "in task text the condition size",
        ),
        (
            lambda d: tasks(d)["text"]["inputs"]["parameters"]["value"].update(
                runtimeValue={"constant": "{{$.workspace_path}}"}
            ),
            r"input value of task text uses the placeholder \{\{\$.workspace_path\}\}",
        ),
        (
            lambda d: tasks(d)["text"]["inputs"]["parameters"]["value"].update(
                runtimeValue={"runtimeParameter": "x"}
            ),
            "is a runtime parameter of KFP 1",
        ),
        (
            lambda d: d["deploymentSpec"]["executors"].update(
                {"exec-text": {"resolver": {"outputArtifactQueries": {}}}}
            ),
            "component comp-text is a resolver, which runs on Vertex AI only",
        ),
        (
            lambda d: executor(d)["container"].update(lifecycle={}),
            "component comp-text has a lifecycle hook",
        ),
        (
            lambda d: d["components"]["comp-text"].update(executorLabel="exec-gone"),
            "component comp-text refers to the executor exec-gone, which is not there",
        ),
        (
            lambda d: executor(d)["container"].update(
                args=["--executor_input", "{{$}}", "--function_to_execute", "gone"]
            ),
            "component comp-text embeds a source without the function gone",
        ),
    ],
)
def test_what_cannot_run_is_named_with_its_place(compiled, change, sentence):
    with pytest.raises(PenstockError, match=f"water cannot run here: .*{sentence}"):
        check_pipeline(changed(compiled(chain), change))


def test_a_one_of_that_only_a_condition_reads_is_refused(compiled):
    @dsl.pipeline
    def pipeline(n: int):
        with dsl.If(n == 1):
            one = text(value="one")
        with dsl.Else():
            other = text(value="other")
        with dsl.If(dsl.OneOf(one.output, other.output) == "one"):
            text(value="again")

    with pytest.raises(PenstockError, match=r"loses a dsl\.OneOf that only a condition reads"):
        check_pipeline(compiled(pipeline))


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("no-such-package>=1", "no-such-package is not installed here: run `pip install"),
        ("kfp<1", r"installs kfp<1 in its image, but version 2\."),
        ("git+https://example.org/x.git", "only plain requirements"),
    ],
)
def test_packages_to_install_must_be_there(compiled, package, sentence):
    @dsl.component(base_image="none", install_kfp_package=False, packages_to_install=[package])
    def needy():
        pass

    @dsl.pipeline
    def pipeline():
        needy()

    with pytest.raises(PenstockError, match=sentence):
        check_pipeline(compiled(pipeline))


def test_packages_that_are_there_are_no_problem(execute):
    @dsl.component(base_image="none", packages_to_install=["click>=8", "PyYAML"])
    def content() -> str:
        import yaml

        return yaml.safe_dump({"a": 1})

    @dsl.pipeline
    def pipeline() -> str:
        return content().output

    assert execute(pipeline).outputs == {"Output": "a: 1\n"}
