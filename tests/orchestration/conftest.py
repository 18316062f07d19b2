import types

import pytest
from kfp.compiler import Compiler

from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, author_path, run_pipeline
from penstock.orchestration.spec import parse


@pytest.fixture
def compiled(tmp_path):
    """Compile a pipeline function to YAML, as `penstock compile` does, and read it."""

    def compile_pipeline(pipeline):
        file = tmp_path / "compiled.yaml"
        Compiler().compile(pipeline, str(file))
        return parse(file.read_text(), str(file))

    return compile_pipeline


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory):
    """One root for all runs that do not look at earlier ones: making a store takes a while."""
    return tmp_path_factory.mktemp("shared") / "runs"


@pytest.fixture
def execute(compiled, shared_root):
    """Compile a pipeline, run the YAML afresh, and return what happened; see `ran`."""

    def run(pipeline, workers=1, isolate=False, watch=ignore, **parameters):
        return ran(
            compiled(pipeline),
            parameters,
            Settings(
                shared_root,
                workers=workers,
                isolate=isolate,
                use_cache=False,
                sys_path=author_path(),
            ),
            watch,
        )

    return run


@pytest.fixture
def database_url():
    """The store of `execute_in`, the root's own; a module may put `where` in its place."""
    return


@pytest.fixture
def execute_in(compiled, tmp_path, database_url):
    """The same in a root of the test's own, where runs find each other's outputs."""

    def run(pipeline, options=types.MappingProxyType({}), watch=ignore, **parameters):
        settings = Settings(
            tmp_path / "runs", store=database_url, sys_path=author_path(), **options
        )
        return ran(compiled(pipeline), parameters, settings, watch)

    return run


def ignore(step):
    """Watch nothing."""


def ran(pipeline, parameters, settings, watch=ignore, **options):
    """Run, and return each step by its path, and the paths that ran, failed and so on."""
    return summed_up(run_pipeline(pipeline, parameters, settings, watch, **options))


@pytest.fixture
def outcome():
    return summed_up


def summed_up(report):
    def paths(*states):
        return {step.path for step in report.steps if step.state in states}

    return types.SimpleNamespace(
        report=report,
        run_id=report.run_id,
        folder=report.folder,
        state=report.state,
        outputs=report.outputs.parameters,
        by_path={step.path: step for step in report.steps},
        ran=paths(State.SUCCEEDED, State.CACHED),
        cached=paths(State.CACHED),
        failed=paths(State.FAILED),
        skipped=paths(State.SKIPPED),
        not_taken=paths(State.NOT_TAKEN),
        stopped=paths(State.STOPPED),
        steps=lambda name: [step for step in report.steps if step.name == name],
    )
