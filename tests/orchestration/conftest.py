import types

import pytest
from kfp.compiler import Compiler

from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, here, run_pipeline
from penstock.orchestration.spec import parse


@pytest.fixture
def compiled(tmp_path):
    """Compile a pipeline function to YAML, as `penstock compile` does, and read it."""

    def compile_pipeline(pipeline):
        file = tmp_path / "compiled.yaml"
        Compiler().compile(pipeline, str(file))
        return parse(file.read_text(), str(file))

    return compile_pipeline


@pytest.fixture
def execute(compiled, tmp_path):
    """Compile a pipeline, run the YAML, and return what happened.

    Beside the report: each step by its path, and the paths that ran, failed and so on.
    """

    def run(pipeline, workers=1, isolate=False, watch=lambda step: None, **parameters):
        settings = here(Settings(root=tmp_path / "runs", workers=workers, isolate=isolate))
        report = run_pipeline(compiled(pipeline), parameters, settings, watch)
        return types.SimpleNamespace(
            report=report,
            state=report.state,
            outputs=report.outputs.parameters,
            by_path={step.path: step for step in report.steps},
            ran={step.path for step in report.steps if step.state.is_success},
            failed={step.path for step in report.steps if step.state is State.FAILED},
            skipped={step.path for step in report.steps if step.state is State.SKIPPED},
            not_taken={step.path for step in report.steps if step.state is State.NOT_TAKEN},
            folder=report.folder,
            steps=lambda name: [step for step in report.steps if step.name == name],
        )

    return run
