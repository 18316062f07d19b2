"""Times importing and compiling a shipped pipeline, beside a bare kfp pipeline of the same size.

The bare one is written from the compiled one: as many components, each with the same inputs,
outputs and descriptions, and as many tasks with the same constants, in one file that imports kfp
alone. Each is imported and compiled in a process of its own, in turns.

`python benchmarks/compile.py [RUNS]` prints the table.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from penstock.orchestration.spec import Pipeline, plain
from penstock.orchestration.target import load

TARGET = "penstock.pipelines.flights"
TYPES = {
    pb.ParameterType.STRING: "str",
    pb.ParameterType.NUMBER_INTEGER: "int",
    pb.ParameterType.NUMBER_DOUBLE: "float",
    pb.ParameterType.BOOLEAN: "bool",
    pb.ParameterType.LIST: "list",
    pb.ParameterType.STRUCT: "dict",
}
COMPILE = """
import sys
from kfp.compiler import Compiler
from {module} import {function}
Compiler().compile({function}, sys.argv[1])
print("TensorFlow" if "tensorflow" in sys.modules else "")
"""


def bare_source(pipeline: Pipeline) -> str:
    """Return a Python file with a bare kfp pipeline of the same size."""
    components = [
        _component(name.removeprefix("comp-").replace("-", "_"), component)
        for name, component in sorted(pipeline.spec.components.items())
        if component.executor_label
    ]
    root = pipeline.spec.root
    parameters = ", ".join(
        f"{name}: {TYPES[parameter.parameter_type]} = {plain(parameter.default_value)!r}"
        for name, parameter in sorted(root.input_definitions.parameters.items())
    )
    head = ['@dsl.pipeline(name="bare")', f"def bare({parameters}):"]
    return "\n".join(["from kfp import dsl", "", *components, *head, *_tasks(pipeline, root, {})])


def _component(name: str, component: pb.ComponentSpec) -> str:
    given, made = component.input_definitions, component.output_definitions
    required, optional, described = [], [], []
    for key, artifact in sorted(given.artifacts.items()):
        declared = f"{key}: dsl.Input[dsl.Artifact]"
        (optional if artifact.is_optional else required).append(
            declared + (" = None" if artifact.is_optional else "")
        )
        described.append((key, artifact.description))
    for key, parameter in sorted(given.parameters.items()):
        declared = f"{key}: {TYPES[parameter.parameter_type]}"
        default = f" = {plain(parameter.default_value)!r}"
        (optional if parameter.is_optional else required).append(
            declared + (default if parameter.is_optional else "")
        )
        described.append((key, parameter.description))
    required += [f"{key}: dsl.Output[dsl.Artifact]" for key in sorted(made.artifacts)]
    required += [
        f"{key}: dsl.OutputPath({TYPES[parameter.parameter_type]})"
        for key, parameter in sorted(made.parameters.items())
    ]
    arguments = "\n".join(f"        {key}: {' '.join(text.split())}" for key, text in described)
    return (
        '@dsl.component(base_image="registry.example/step:1", install_kfp_package=False)\n'
        f"def {name}({', '.join([*required, *optional])}):\n"
        f'    r"""A step.\n\n    Args:\n{arguments}\n    """\n'
        f"    from work import {name}\n\n    {name}()\n\n"
    )


def _tasks(
    pipeline: Pipeline, parent: pb.ComponentSpec, outer: dict[str, tuple[str, str]]
) -> Iterator[str]:
    """Yield a line per task, after those of its producers."""
    waiting = dict(sorted(parent.dag.tasks.items()))
    while waiting:
        for name, task in list(waiting.items()):
            wired = _wired(task, outer)
            if any(producer in waiting for producer, _ in wired.values()):
                continue
            del waiting[name]
            component = pipeline.component(task)
            if component.HasField("dag"):
                yield from _tasks(pipeline, component, wired)
            else:
                function = task.component_ref.name.removeprefix("comp-").replace("-", "_")
                given = ", ".join(f"{key}={value}" for key, (_, value) in sorted(wired.items()))
                yield f"    {_variable(name)} = {function}({given})"


def _wired(
    task: pb.PipelineTaskSpec, outer: dict[str, tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Return by input the task it comes from, "" for none, and the expression to write."""
    found = {}
    for key, source in task.inputs.artifacts.items():
        made = source.task_output_artifact
        expression = f"{_variable(made.producer_task)}.outputs[{made.output_artifact_key!r}]"
        found[key] = outer.get(source.component_input_artifact, (made.producer_task, expression))
    for key, source in task.inputs.parameters.items():
        made = source.task_output_parameter
        if source.HasField("runtime_value"):
            found[key] = ("", repr(plain(source.runtime_value.constant)))
        elif source.HasField("component_input_parameter"):
            name = source.component_input_parameter
            found[key] = outer.get(name, ("", name))
        else:
            expression = f"{_variable(made.producer_task)}.outputs[{made.output_parameter_key!r}]"
            found[key] = (made.producer_task, expression)
    return found


def _variable(task: str) -> str:
    return f"{task.replace('-', '_')}_task"


def took(command: list[str], folder: Path) -> float:
    """Return the seconds that a process takes, start to end."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or "TensorFlow" in done.stdout:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started


def measure(folder: Path, runs: int) -> list[tuple[str, float, int]]:
    """Return (what, median seconds, bytes of YAML) of each."""
    pipeline = load(TARGET)
    (folder / "bare.py").write_text(bare_source(pipeline))
    python, penstock = [sys.executable, "-W", "ignore"], "penstock.cli"
    bare = COMPILE.format(module="bare", function="bare")
    ours = COMPILE.format(module=TARGET, function="flights_pipeline")
    compared = {
        "a bare pipeline, import and compile": [*python, "-c", bare, "1.yaml"],
        "flights, import and compile": [*python, "-c", ours, "2.yaml"],
        "a bare pipeline, `kfp dsl compile`": [
            *(*python, "-c", "from kfp.cli.__main__ import main; main()", "dsl", "compile"),
            *("--py", "bare.py", "--output", "3.yaml"),
        ],
        "flights, `penstock compile --no-check`": [
            *(*python, "-m", penstock, "compile", TARGET, "-o", "4.yaml", "--no-check")
        ],
        "flights, `penstock compile`": [*python, "-m", penstock, "compile", TARGET, "-o", "5.yaml"],
    }
    times: dict[str, list[float]] = {what: [] for what in compared}
    for _ in range(runs):
        for what, command in compared.items():
            times[what].append(took(command, folder))
    sizes = [(folder / f"{n}.yaml").stat().st_size for n in range(1, len(compared) + 1)]
    return [
        (what, statistics.median(seconds), size)
        for (what, seconds), size in zip(times.items(), sizes, strict=True)
    ]


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), runs)
    print(f"Median of {runs}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    print("| | seconds | times its peer | bytes of YAML |\n|---|---|---|---|")
    for place, (what, seconds, size) in enumerate(rows):
        peer = rows[0 if place < 2 else 2][1]
        print(f"| {what} | {seconds:.2f} | {seconds / peer:.2f} | {size:,} |")


if __name__ == "__main__":
    main()
