"""Container components, for real, where podman or docker can run one."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path
from typing import Optional

import pytest
from kfp import dsl

from penstock.errors import PenstockError
from penstock.orchestration.containers import engine
from penstock.orchestration.report import State

IMAGE = "localhost/penstock-test-shell:1"
CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
"""


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module", autouse=True)
def shell_image(tmp_path_factory):
    """An image made of this machine's own shell, so that nothing is pulled."""
    name = engine()
    if name is None:
        pytest.skip("neither podman nor docker is here")
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    programs = {name: Path(shutil.which(name)).resolve() for name in ("sh", "cat", "sleep")}
    linked = run("ldd", *map(str, programs.values())).stdout.split()
    with tarfile.open(archive, "w") as tar:
        for program, path in programs.items():
            tar.add(path, f"bin/{program}")
        for library in {word for word in linked if word.startswith("/") and word[-1] != ":"}:
            tar.add(Path(library).resolve(), library.lstrip("/"))
    if run(name, "import", str(archive), IMAGE).returncode != 0:
        pytest.skip(f"{name} cannot import an image here")
    with pytest.MonkeyPatch.context() as patch:
        if run(name, "run", "--rm", IMAGE, "/bin/sh", "-c", "true").returncode != 0:
            # Inside another container, podman's own limits may be more than is allowed.
            conf = archive.with_name("containers.conf")
            conf.write_text(CONF)
            patch.setenv("CONTAINERS_CONF", str(conf))
            if run(name, "run", "--rm", IMAGE, "/bin/sh", "-c", "true").returncode != 0:
                pytest.skip(f"{name} cannot run a container here")
        yield
        run(name, "rmi", "--force", IMAGE)


@dsl.container_component
def upper(
    word: str,
    table: dsl.Output[dsl.Dataset],
    length: dsl.OutputPath(int),
    suffix: Optional[str] = None,
):
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["/bin/sh", "-c", 'echo "$0$1" > "$2"; echo to the log; echo 3 > "$3"'],
        args=[
            dsl.ConcatPlaceholder(["<", word, ">"]),
            dsl.IfPresentPlaceholder(input_name="suffix", then=suffix, else_="none"),
            table.path,
            length,
        ],
    )


@dsl.container_component
def ends(code: str):
    return dsl.ContainerSpec(image=IMAGE, command=["/bin/sh", "-c"], args=["exit $0", code])


@dsl.container_component
def copy(table: dsl.Input[dsl.Dataset], content: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=IMAGE, command=["/bin/sh", "-c", 'cat "$0" > "$1"', table.path, content]
    )


def test_outputs_of_a_container_arrive(execute):
    @dsl.pipeline
    def pipeline(suffix: Optional[str] = None) -> str:
        made = upper(word="it's", suffix=suffix)
        return copy(table=made.outputs["table"]).outputs["content"]

    without, given = execute(pipeline), execute(pipeline, suffix="-end")

    assert without.outputs == {"Output": "<it's>none\n"}
    assert given.outputs == {"Output": "<it's>-end\n"}
    assert given.by_path["upper"].outputs.parameters == {"length": 3}
    assert "to the log" in given.by_path["upper"].log.read_text()


@pytest.mark.parametrize("code", [1, 3, 42])
def test_exit_codes_are_true(execute, code):
    @dsl.pipeline
    def pipeline():
        ends(code=f"{code}")

    failed = execute(pipeline)

    assert failed.state is State.FAILED
    assert f"ended with exit code {code}." in failed.by_path["ends"].reason


def test_an_image_that_is_not_there_says_so(execute):
    @dsl.container_component
    def nowhere():
        return dsl.ContainerSpec(image=f"localhost/{uuid.uuid4().hex}:1", command=["true"])

    @dsl.pipeline
    def pipeline():
        nowhere()

    failed = execute(pipeline)

    assert "cannot start the image's command" in failed.by_path["nowhere"].reason


def test_environment_variables_reach_a_container(execute):
    @dsl.container_component
    def variable(content: dsl.OutputPath(str)):
        return dsl.ContainerSpec(
            image=IMAGE, command=["/bin/sh", "-c", 'echo "$SPELL" > "$0"', content]
        )

    @dsl.pipeline
    def pipeline() -> str:
        return variable().set_env_variable("SPELL", "open sesame").outputs["content"]

    assert execute(pipeline).outputs == {"Output": "open sesame\n"}


def test_earlier_steps_cannot_be_overwritten(execute):
    @dsl.container_component
    def vandal(table: dsl.Input[dsl.Dataset]):
        return dsl.ContainerSpec(
            image=IMAGE, command=["/bin/sh", "-c", 'echo gone > "$0"', table.path]
        )

    @dsl.pipeline
    def pipeline():
        vandal(table=upper(word="a").outputs["table"])

    failed = execute(pipeline)

    assert failed.failed == {"vandal"}
    assert (failed.folder / "upper" / "table").read_text() == "<a>none\n"


def test_a_container_is_cached_by_its_image_and_command(execute_in):
    @dsl.pipeline
    def pipeline(word: str):
        upper(word=word)

    execute_in(pipeline, word="a")

    assert execute_in(pipeline, word="a").cached == {"upper"}
    assert execute_in(pipeline, word="b").cached == set()


def test_without_an_engine_a_container_is_refused(execute, monkeypatch, tmp_path):
    @dsl.pipeline
    def pipeline():
        ends(code="0")

    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PenstockError, match=r"comp-ends runs in the image .* neither podman nor"):
        execute(pipeline)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_container_ends_with_its_runner(tmp_path, ending):
    (tmp_path / "author.py").write_text(
        "from kfp import dsl\n"
        "@dsl.container_component\n"
        "def endless():\n"
        f"    return dsl.ContainerSpec(image='{IMAGE}', command=['/bin/sleep', '600'])\n"
        "@dsl.pipeline\n"
        "def p():\n"
        "    endless()\n"
    )
    before = running()
    runner = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "run", "author.py"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        env=os.environ,
    )
    wait_until(lambda: running() - before)
    (mine,) = running() - before
    runner.send_signal(ending)
    if ending is signal.SIGINT:
        time.sleep(0.3)
        runner.send_signal(ending)
    runner.wait(60)

    wait_until(lambda: mine not in running())


def running():
    return set(
        run(
            engine(), "ps", "--filter", f"ancestor={IMAGE}", "--format", "{{.Names}}"
        ).stdout.split()
    )


def wait_until(condition):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it did not come to pass in 20 s")


@dsl.container_component
def greedy():
    program = "x=0123456789; while [ ${#x} -lt 200000000 ]; do x=$x$x; done"
    return dsl.ContainerSpec(image=IMAGE, command=["/bin/sh", "-c", program])


def test_limits_of_memory_and_processors_hold(execute, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    @dsl.pipeline
    def unbound():
        greedy()

    @dsl.pipeline
    def bound():
        greedy().set_memory_limit("64M").set_cpu_limit("500m")

    assert execute(unbound).state is State.SUCCEEDED
    killed = execute(bound).by_path["greedy"]
    assert "It was killed, perhaps for want of memory." in killed.reason
    assert killed.notes == ()
    assert not (tmp_path / "oom").exists()
