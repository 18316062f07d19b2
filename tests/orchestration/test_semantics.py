"""What the compiled PipelineSpec means, one row of the table a test."""

# KFP's groups read better nested.
# ruff: noqa: SIM117

import json
from typing import List, NamedTuple, Optional

import pytest
from kfp import dsl

from penstock.errors import PenstockError
from penstock.orchestration.report import State

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def text(value: str) -> str:
    return value


@component
def number(value: int) -> int:
    return value


@component
def real(value: float) -> float:
    return value


@component
def flag(value: bool) -> bool:
    return value


@component
def join(parts: List[str]) -> str:
    return "+".join(parts)


@component
def numbers(count: int) -> List[int]:
    return list(range(count))


@component
def show(value: dict) -> str:
    import json

    return json.dumps(value, sort_keys=True)


@component
def show_list(value: list) -> str:
    import json

    return json.dumps(value)


@component
def write(content: str, data: dsl.Output[dsl.Dataset]):
    with open(data.path, "w") as file:
        file.write(content)
    data.metadata["length"] = len(content)


@component
def read(data: dsl.Input[dsl.Dataset]) -> str:
    with open(data.path) as file:
        return f"{file.read()}:{data.metadata.get('length')}"


@component
def fail(message: str = "broken on purpose") -> str:
    raise RuntimeError(message)


@component
def default(value: str = "the default") -> str:
    return value


@component
def final(status: dsl.PipelineTaskFinalStatus) -> str:
    return f"{status.state} of {status.pipeline_task_name}: {status.error_message}"


def test_data_flows_from_output_to_input(execute):
    @dsl.pipeline
    def chain(word: str) -> str:
        first = text(value=word)
        return text(value=first.output).output

    run = execute(chain, word="water")

    assert run.outputs == {"Output": "water"}
    assert run.ran == {"text", "text-2"}


def test_artifacts_flow_with_their_metadata(execute):
    @dsl.pipeline
    def chain() -> str:
        return read(data=write(content="abc").outputs["data"]).output

    run = execute(chain)

    assert run.outputs == {"Output": "abc:3"}
    assert (run.folder / "write" / "data").read_text() == "abc"


def test_after_orders_steps_without_data(execute):
    order = []

    @dsl.pipeline
    def ordered():
        late = text(value="late")
        early = number(value=1)
        late.after(early)

    execute(ordered, watch=lambda step: order.append((step.path, step.state)), workers=2)

    assert order.index(("number", State.SUCCEEDED)) < order.index(("text", State.RUNNING))


def test_parameter_types_arrive_exactly(execute):
    @component
    def types(i: int, f: float, s: str, b: bool, d: dict, li: list) -> str:
        return repr((i, f, s, b, d, li))

    @dsl.pipeline
    def pipeline(i: int, f: float, s: str, b: bool, d: dict, li: list) -> str:
        return types(i=i, f=f, s=s, b=b, d=d, li=li).output

    given = {
        "i": 3,
        "f": 2.0,
        "s": 'it\'s "quoted" {{$}}\n',
        "b": True,
        "d": {"n": 1, "x": 1.5, "deep": [{"k": None}]},
        "li": [1, 2.5, "3", False],
    }

    assert execute(pipeline, **given).outputs["Output"] == repr(tuple(given.values()))


def test_an_integer_in_a_list_stays_an_integer(execute):
    @dsl.pipeline
    def pipeline() -> NamedTuple("Out", [("upstream", str), ("constant", str)]):
        out = NamedTuple("Out", [("upstream", str), ("constant", str)])
        return out(
            upstream=show_list(value=numbers(count=3).output).output,
            constant=show_list(value=[1, 2.5, [3]]).output,
        )

    assert execute(pipeline).outputs == {"upstream": "[0, 1, 2]", "constant": "[1, 2.5, [3]]"}


def test_defaults_of_pipeline_and_component_apply(execute):
    @dsl.pipeline
    def pipeline(word: str = "from the pipeline") -> NamedTuple("Out", [("a", str), ("b", str)]):
        out = NamedTuple("Out", [("a", str), ("b", str)])
        return out(a=text(value=word).output, b=default().output)

    assert execute(pipeline).outputs == {"a": "from the pipeline", "b": "the default"}
    assert execute(pipeline, word="given").outputs["a"] == "given"


def test_optional_inputs_may_stay_away(execute):
    @component
    def optional(word: Optional[str] = None, data: Optional[dsl.Input[dsl.Dataset]] = None) -> str:
        return f"{word} {data}"

    @dsl.pipeline
    def pipeline(word: Optional[str] = None) -> str:
        return optional(word=word).output

    assert execute(pipeline).outputs == {"Output": "None None"}
    assert execute(pipeline, word="here").outputs == {"Output": "here None"}


def test_named_outputs_and_output_paths(execute):
    @component
    def several(
        table: dsl.OutputPath(str), size: dsl.OutputPath(int), flags: dsl.OutputPath(list)
    ) -> NamedTuple("Out", [("x", int), ("y", dict)]):
        with open(table, "w") as file:
            file.write("007")
        with open(size, "w") as file:
            file.write("7")
        with open(flags, "w") as file:
            file.write("[true, false]")
        return NamedTuple("Out", [("x", int), ("y", dict)])(x=1, y={"k": 0.5})

    @dsl.pipeline
    def pipeline() -> str:
        made = several()
        return text(
            value=f"{made.outputs['table']} {made.outputs['size']} {made.outputs['flags']} "
            f"{made.outputs['x']} {made.outputs['y']}"
        ).output

    assert execute(pipeline).outputs == {"Output": '007 7 [true, false] 1 {"k": 0.5}'}


def test_a_step_that_forgets_an_output_fails(execute):
    @component
    def forgetful(promised: dsl.OutputPath(str)):
        pass

    @dsl.pipeline
    def pipeline():
        forgetful()

    run = execute(pipeline)

    assert run.state is State.FAILED
    assert "without its output promised" in run.by_path["forgetful"].reason


def test_a_nested_pipeline_passes_parameters_and_artifacts(execute):
    @dsl.pipeline
    def inner(content: str) -> NamedTuple("Out", [("length", str), ("data", dsl.Dataset)]):
        made = write(content=content)
        out = NamedTuple("Out", [("length", str), ("data", dsl.Dataset)])
        return out(length=read(data=made.outputs["data"]).output, data=made.outputs["data"])

    @dsl.pipeline
    def outer() -> NamedTuple("Out", [("a", str), ("b", str)]):
        nested = inner(content="deep")
        out = NamedTuple("Out", [("a", str), ("b", str)])
        return out(a=nested.outputs["length"], b=read(data=nested.outputs["data"]).output)

    run = execute(outer)

    assert run.outputs == {"a": "deep:4", "b": "deep:4"}
    assert {"inner/write", "inner/read", "read"} == run.ran


@pytest.mark.parametrize(
    ("given", "branch"),
    [({"n": 1}, "one"), ({"n": 2}, "two"), ({"n": -5}, "other"), ({"n": 2**40}, "other")],
)
def test_if_elif_else_takes_one_branch(execute, given, branch):
    @dsl.pipeline
    def branches(n: int) -> str:
        with dsl.If(n == 1):
            one = text(value="one")
        with dsl.Elif(n == 2):
            two = text(value="two")
        with dsl.Else():
            other = text(value="other")
        return text(value=dsl.OneOf(one.output, two.output, other.output)).output

    run = execute(branches, **given)

    assert run.outputs == {"Output": branch}
    assert len(run.ran) == 2
    assert len(run.not_taken) == 2


def test_conditions_on_every_type_and_operator(execute):
    @dsl.pipeline
    def conditions(i: int, f: float, s: str, b: bool):
        with dsl.If(i != 3):
            text(value="i").set_display_name("i != 3")
        with dsl.If(i >= 3.5):
            text(value="i").set_display_name("i >= 3.5")
        with dsl.If(f < 0.25):
            text(value="f").set_display_name("f < 0.25")
        with dsl.If(f <= 1):
            text(value="f").set_display_name("f <= 1")
        with dsl.If(s == 'say "hi"'):
            text(value="s").set_display_name("s quoted")
        with dsl.If(s > "a"):
            text(value="s").set_display_name("s > a")
        with dsl.If(b == True):  # noqa: E712
            text(value="b").set_display_name("b")
            with dsl.If(i > 4):
                text(value="b").set_display_name("b and i > 4")

    def taken(**given):
        run = execute(conditions, **given)
        return {run.by_path[path].name for path in run.ran}

    assert taken(i=5, f=0.5, s='say "hi"', b=True) == {
        "i != 3", "i >= 3.5", "f <= 1", "s quoted", "s > a", "b", "b and i > 4",
    }  # fmt: skip
    assert taken(i=3, f=0.2, s="A", b=False) == {"f < 0.25", "f <= 1"}


def test_a_condition_compares_two_outputs(execute):
    @dsl.pipeline
    def compare(a: int, b: int):
        left, right = number(value=a), number(value=b)
        with dsl.If(left.output < right.output):
            text(value="less")

    assert "condition-1/text" in execute(compare, a=1, b=2).ran
    assert "condition-1" in execute(compare, a=2, b=1).not_taken


def test_a_compared_string_with_an_apostrophe_is_refused(execute):
    # KFP writes it unescaped, which is not CEL: Kubeflow fails that run in the middle.
    @dsl.pipeline
    def apostrophe(s: str):
        with dsl.If(s == "it's"):
            text(value=s)

    with pytest.raises(PenstockError, match=r"task condition-1 the condition .* not valid CEL"):
        execute(apostrophe, s="it's")


def test_a_loop_over_literals(execute):
    @dsl.pipeline
    def loop() -> str:
        with dsl.ParallelFor(["a", "b", "c"]) as item:
            each = text(value=f"<{item}>")
        return join(parts=dsl.Collected(each.output)).output

    run = execute(loop)

    assert run.outputs == {"Output": "<a>+<b>+<c>"}
    assert sorted(step.outputs.parameters["Output"] for step in run.steps("text")) == [
        "<a>",
        "<b>",
        "<c>",
    ]


def test_a_loop_over_literal_objects(execute):
    @component
    def pair(n: int, m: int) -> str:
        return f"{n}/{m}"

    @dsl.pipeline
    def loop() -> str:
        with dsl.ParallelFor([{"n": 1, "m": 10}, {"n": 2, "m": 20}]) as item:
            each = pair(n=item.n, m=item.m)
        return join(parts=dsl.Collected(each.output)).output

    assert execute(loop).outputs == {"Output": "1/10+2/20"}


def test_a_reference_that_the_compiler_lost_is_refused(execute):
    # Kubeflow's driver: "parent DAG does not have input parameter".
    @dsl.pipeline
    def loop():
        with dsl.ParallelFor([{"n": 1}]) as item:
            text(value=f"{item.n}")

    with pytest.raises(PenstockError, match=r"task for-loop-\d reads loop-item-param-\d-subvar-n"):
        execute(loop)


def test_a_loop_over_an_upstream_list(execute):
    @dsl.pipeline
    def loop(count: int) -> str:
        with dsl.ParallelFor(numbers(count=count).output) as item:
            each = text(value=f"{item}")
            with dsl.If(item == 1):
                number(value=item)
        return join(parts=dsl.Collected(each.output)).output

    run = execute(loop, count=3)

    assert run.outputs == {"Output": "0+1+2"}
    assert "for-loop-1/1/condition-2/number" in run.ran
    assert {"for-loop-1/0/condition-2", "for-loop-1/2/condition-2"} == run.not_taken


def test_an_empty_loop_collects_nothing(execute):
    @dsl.pipeline
    def loop() -> str:
        with dsl.ParallelFor(numbers(count=0).output) as item:
            each = text(value=f"{item}")
        return show_list(value=dsl.Collected(each.output)).output

    assert execute(loop).outputs == {"Output": "[]"}


def test_nested_loops_collect_nested_lists(execute):
    @component
    def dotted(a: str, b: str) -> str:
        return f"{a}.{b}"

    @component
    def flatten(rows: list) -> str:
        return repr(rows)

    @dsl.pipeline
    def loops(outer: List[str], inner: List[str]) -> str:
        with dsl.ParallelFor(outer) as a:
            with dsl.ParallelFor(inner) as b:
                each = dotted(a=a, b=b)
        return flatten(rows=dsl.Collected(each.output)).output

    expected = [["a.x", "a.y"], ["b.x", "b.y"]]
    assert execute(loops, outer=["a", "b"], inner=["x", "y"]).outputs == {"Output": repr(expected)}


def test_artifacts_of_a_loop_are_collected_in_order(execute):
    @component
    def concatenate(files: dsl.Input[List[dsl.Dataset]]) -> str:
        return "".join(open(file.path).read() for file in files)

    @dsl.pipeline
    def loop() -> str:
        with dsl.ParallelFor(["x", "y", "z"]) as item:
            each = write(content=item)
        return concatenate(files=dsl.Collected(each.outputs["data"])).output

    assert execute(loop, workers=3).outputs == {"Output": "xyz"}


def test_a_loop_over_artifacts(execute):
    @component
    def copy(data: dsl.Input[dsl.Dataset]) -> str:
        return "<" + open(data.path).read() + ">"

    @dsl.pipeline
    def makes() -> List[dsl.Dataset]:
        with dsl.ParallelFor(["x", "y"]) as item:
            made = write(content=item)
        return dsl.Collected(made.outputs["data"])

    @dsl.pipeline
    def loop() -> str:
        with dsl.ParallelFor(makes().output) as data:
            copied = copy(data=data)
        return join(parts=dsl.Collected(copied.output)).output

    assert execute(loop).outputs == {"Output": "<x>+<y>"}


def test_one_of_two_artifacts(execute):
    @dsl.pipeline
    def branches(n: int) -> str:
        with dsl.If(n == 1):
            one = write(content="one")
        with dsl.Else():
            other = write(content="other")
        return read(data=dsl.OneOf(one.outputs["data"], other.outputs["data"])).output

    assert execute(branches, n=1).outputs == {"Output": "one:3"}
    assert execute(branches, n=2).outputs == {"Output": "other:5"}


def test_groups_inside_a_nested_pipeline(execute):
    @dsl.pipeline
    def inner(items: List[str], word: Optional[str] = None) -> str:
        with dsl.ParallelFor(items) as item:
            with dsl.If(item != "b"):
                text(value=item)
            each = text(value=item)
        return join(parts=dsl.Collected(each.output)).output

    @dsl.pipeline
    def outer() -> str:
        with dsl.ExitHandler(final()):
            nested = inner(items=["a", "b"])
            text(value=nested.output)
        return text(value="done").output

    run = execute(outer)

    assert run.state is State.SUCCEEDED
    assert run.by_path["exit-handler-1/text"].outputs.parameters == {"Output": "a+b"}
    assert "exit-handler-1/inner/for-loop-1/1/condition-2" in run.not_taken
    assert "exit-handler-1/inner/for-loop-1/0/condition-2/text" in run.ran


def test_parallelism_limits_a_loop(execute):
    running, most = set(), []

    def watch(step):
        (running.add if step.state is State.RUNNING else running.discard)(step.path)
        most.append(len(running))

    @dsl.pipeline
    def loop():
        with dsl.ParallelFor([1, 2, 3, 4], parallelism=2) as item:
            number(value=item)

    execute(loop, workers=4, watch=watch)

    assert max(most) == 2


def test_an_exit_task_runs_after_success_and_failure(execute):
    @dsl.pipeline
    def handled(message: str):
        with dsl.ExitHandler(final(), name="the work"):
            with dsl.If(message != ""):
                fail(message=message)
            with dsl.If(message == ""):
                text(value="fine")

    good = execute(handled, message="")
    bad = execute(handled, message="no luck")

    assert good.state is State.SUCCEEDED
    assert good.by_path["final"].outputs.parameters["Output"].startswith("SUCCEEDED of exit-")
    assert bad.state is State.FAILED
    assert "FAILED of exit-handler-1" in bad.by_path["final"].outputs.parameters["Output"]
    assert "no luck" in bad.by_path["final"].outputs.parameters["Output"]


def test_an_importer_names_an_artifact(execute, tmp_path):
    (tmp_path / "given.txt").write_text("imported")

    @dsl.pipeline
    def imports(folder: str, version: int) -> NamedTuple("Out", [("a", str), ("b", str)]):
        from_parameter = dsl.importer(artifact_uri=folder, artifact_class=dsl.Dataset)
        computed = dsl.importer(
            artifact_uri=text(value=folder).output,
            artifact_class=dsl.Dataset,
            metadata={"length": f"v{version}"},
            reimport=True,
        )
        out = NamedTuple("Out", [("a", str), ("b", str)])
        return out(a=read(data=from_parameter.output).output, b=read(data=computed.output).output)

    run = execute(imports, folder=str(tmp_path / "given.txt"), version=2)

    assert run.outputs == {"a": "imported:None", "b": "imported:v2"}


def test_a_step_is_retried_as_often_as_asked(execute, tmp_path):
    @component
    def flaky(counter: str) -> int:
        with open(counter, "a") as file:
            file.write("x")
        tries = len(open(counter).read())
        if tries < 3:
            raise RuntimeError(f"try {tries}")
        return tries

    @dsl.pipeline
    def retried(counter: str) -> int:
        return flaky(counter=counter).set_retry(3, backoff_duration="0s").output

    @dsl.pipeline
    def given_up(counter: str) -> int:
        return flaky(counter=counter).set_retry(1, backoff_duration="0s").output

    run = execute(retried, counter=str(tmp_path / "a"))
    short = execute(given_up, counter=str(tmp_path / "b"))

    assert (run.outputs, run.by_path["flaky"].attempts) == ({"Output": 3}, 3)
    assert (short.state, short.by_path["flaky"].attempts) == (State.FAILED, 2)


def test_retries_back_off(execute, tmp_path):
    @dsl.pipeline
    def retried():
        fail().set_retry(2, backoff_duration="1s", backoff_factor=0.5)

    run = execute(retried)

    assert 1.5 <= run.by_path["fail"].seconds < 4


def test_no_retry_begins_after_the_longest_time(execute):
    @dsl.pipeline
    def retried():
        fail().set_retry(5, backoff_duration="2s", backoff_max_duration="1s")

    assert execute(retried).by_path["fail"].attempts == 1


def test_environment_variables_reach_their_step_only(execute):
    @component
    def variable() -> str:
        import os

        return os.environ.get("PENSTOCK_TEST_VARIABLE", "unset")

    @dsl.pipeline
    def environments() -> NamedTuple("Out", [("a", str), ("b", str)]):
        with_it = variable().set_env_variable("PENSTOCK_TEST_VARIABLE", "set")
        without = variable().after(with_it)
        out = NamedTuple("Out", [("a", str), ("b", str)])
        return out(a=with_it.output, b=without.output)

    assert execute(environments).outputs == {"a": "set", "b": "unset"}


def test_placeholders_of_the_job(execute):
    @dsl.pipeline(name="named")
    def pipeline() -> str:
        return text(
            value="|".join(
                [
                    dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                    dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
                    dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                    dsl.PIPELINE_TASK_NAME_PLACEHOLDER,
                    dsl.PIPELINE_TASK_ID_PLACEHOLDER,
                    dsl.PIPELINE_ROOT_PLACEHOLDER,
                ]
            )
        ).output

    run = execute(pipeline)
    name, resource, job, task, task_id, root = run.outputs["Output"].split("|")

    assert (name, resource) == (f"named-{run.report.run_id}",) * 2
    assert (job, task) == (run.report.run_id, "text")
    assert len(task_id) == 36
    assert run.folder.parts[: len(root.split("/"))][-1] == "runs"


def test_references_inside_lists_and_objects(execute):
    @dsl.pipeline
    def pipeline(word: str) -> str:
        made = number(value=4)
        return show(value={"a": [word, "and"], "b": {"c": made.output}}).output

    run = execute(pipeline, word="key")

    assert json.loads(run.outputs["Output"]) == {"a": ["key", "and"], "b": {"c": "4"}}


def test_ignore_upstream_failure_runs_with_the_default(execute):
    @dsl.pipeline
    def pipeline():
        default(value=fail().output).ignore_upstream_failure()
        text(value=fail(message="again").output)

    run = execute(pipeline)

    assert run.state is State.FAILED
    assert run.by_path["default"].outputs.parameters == {"Output": "the default"}
    assert run.skipped == {"text"}
    assert run.by_path["text"].cause == "fail-2"


def test_what_does_not_depend_on_a_failure_goes_on(execute):
    @dsl.pipeline
    def pipeline():
        broken = fail()
        text(value=text(value=broken.output).output)
        text(value="independent")

    run = execute(pipeline)

    assert run.failed == {"fail"}
    assert run.skipped == {"text", "text-2"}
    assert {run.by_path[path].cause for path in run.skipped} == {"fail"}
    assert run.ran == {"text-3"}
    assert run.by_path["fail"].reason == "RuntimeError: broken on purpose"


def test_a_failed_iteration_fails_the_loop_but_not_its_siblings(execute):
    @component
    def picky(value: int) -> int:
        if value == 1:
            raise RuntimeError("not one")
        return value

    @dsl.pipeline
    def loop():
        with dsl.ParallelFor([0, 1, 2]) as item:
            each = picky(value=item)
        show_list(value=dsl.Collected(each.output))

    run = execute(loop)

    assert [step.state for step in run.steps("picky")].count(State.SUCCEEDED) == 2
    assert run.failed == {"for-loop-2/1/picky"}
    assert run.by_path["show-list"].cause == "for-loop-2/1/picky"


def test_resource_requests_are_named_as_not_applied(execute):
    @dsl.pipeline
    def pipeline():
        text(value="x").set_memory_limit("1G").set_accelerator_type("nvidia.com/gpu")

    step = execute(pipeline).by_path["text"]

    assert step.state is State.SUCCEEDED
    assert any("resourceMemoryLimit" in note for note in step.notes)


def test_kubernetes_configuration_is_named_as_not_applied(execute):
    from kfp import kubernetes

    @dsl.pipeline
    def pipeline():
        kubernetes.add_node_selector(text(value="x"), "disk", "ssd")

    assert "kubernetes.nodeSelector" in execute(pipeline).by_path["text"].notes


def test_imports_inside_a_step_are_what_kubeflow_allows(execute):
    # Kubeflow's launcher sets _KFP_RUNTIME, under which kfp.dsl has no @dsl.component.
    @component
    def authoring() -> bool:
        from kfp import dsl as inner

        return hasattr(inner, "component")

    @dsl.pipeline
    def pipeline() -> bool:
        return authoring().output

    assert execute(pipeline).outputs == {"Output": False}
