"""The flights pipeline as Kubeflow gets it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentSpec, PipelineSpec

import penstock


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> str:
    target = tmp_path_factory.mktemp("compiled") / "flights.yaml"
    subprocess.run(
        [
            sys.executable, "-m", "penstock", "compile", "penstock.pipelines.flights",
            "-o", str(target),
        ],
        check=True,
    )  # fmt: skip
    return target.read_text()


@pytest.fixture(scope="module")
def spec(compiled) -> PipelineSpec:
    (document,) = yaml.safe_load_all(compiled)
    return json_format.ParseDict(document, PipelineSpec(), ignore_unknown_fields=False)


def dags(spec: PipelineSpec) -> Iterator[ComponentSpec]:
    yield spec.root
    yield from (component for component in spec.components.values() if component.HasField("dag"))


def test_it_is_one_pipeline_spec_of_the_version_kubeflow_reads(spec):
    assert spec.schema_version == "2.1.0"
    assert spec.pipeline_info.name == "flights"


def test_every_component_executor_and_producer_is_found(spec):
    executors = spec.deployment_spec["executors"]
    for dag in dags(spec):
        for task in dag.dag.tasks.values():
            component = spec.components[task.component_ref.name]
            assert component.HasField("dag") or component.executor_label in executors
            inputs = list(task.inputs.parameters.values()) + list(task.inputs.artifacts.values())
            for source in inputs:
                kind = source.WhichOneof("kind")
                producer = getattr(source, kind).producer_task if kind.startswith("task_") else ""
                assert not producer or producer in dag.dag.tasks
            assert set(task.dependent_tasks) <= set(dag.dag.tasks)


def test_every_step_runs_in_the_image_of_this_version(spec):
    for executor in spec.deployment_spec["executors"].values():
        assert executor["container"]["image"].endswith(f"/components:{penstock.__version__}")


def test_only_a_blessed_model_reaches_the_pusher(spec):
    root = spec.root.dag.tasks
    condition = next(task for task in root.values() if task.trigger_policy.condition)

    assert "blessed" in condition.trigger_policy.condition
    assert "pusher" in spec.components[condition.component_ref.name].dag.tasks
    assert "pusher" not in root


def test_compiling_twice_gives_the_same_bytes(compiled, tmp_path):
    again = tmp_path / "again.yaml"
    command = ["compile", "penstock.pipelines.flights", "-o", str(again)]
    subprocess.run([sys.executable, "-m", "penstock", *command], check=True)

    assert again.read_text() == compiled


def test_it_carries_the_reviewed_schema(compiled):
    schema = Path(penstock.__file__).parent / "schemas" / "flights.pbtxt"

    assert schema.read_text() in [
        task["inputs"]["parameters"]["schema_text"]["runtimeValue"]["constant"]
        for task in yaml.safe_load(compiled)["root"]["dag"]["tasks"].values()
        if "schema_text" in task["inputs"].get("parameters", {})
    ]


def test_every_step_loads_in_kfps_runtime(spec, tmp_path):
    """Kubeflow's launcher runs the embedded source with kfp's runtime half alone."""
    for label, executor in spec.deployment_spec["executors"].items():
        container = json_format.MessageToDict(executor["container"])
        source = container["command"][-1]
        (name,) = container["args"][container["args"].index("--function_to_execute") + 1 :]
        script = tmp_path / f"{label}.py"
        script.write_text(f"{source}\nassert callable({name})\n")
        environment = {**os.environ, "_KFP_RUNTIME": "true"}
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, f"{label}: {done.stderr}"
