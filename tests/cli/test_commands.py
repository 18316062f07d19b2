"""The command as a person meets it: a real process, its words and its exit code."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

AUTHOR = """
from kfp import dsl

component = dsl.component(base_image="none", install_kfp_package=False)


@component
def noisy(rows: int, data: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]) -> int:
    import os

    print("noise of Python")
    os.system("echo noise of a library >&2")
    with open(data.path, "w") as file:
        file.write("x" * rows)
    data.metadata["summary"] = f"{rows} rows written"
    metrics.log_metric("auc", 0.75)
    return rows


@component
def picky(rows: int) -> int:
    from penstock.errors import PenstockError

    if rows > 10:
        raise PenstockError("There are more than 10 rows; give fewer.")
    if rows < 0:
        raise ValueError("a defect")
    return rows


@component
def slow(rows: int, seconds: float) -> int:
    import time

    time.sleep(seconds)
    return rows


@dsl.pipeline(name="water")
def pipeline(rows: int = 3, seconds: float = 0.0):
    checked = picky(rows=noisy(rows=rows).outputs["Output"])
    slow(rows=slow(rows=checked.output, seconds=seconds).output, seconds=0.0)
"""


@pytest.fixture
def author(tmp_path):
    (tmp_path / "author.py").write_text(AUTHOR)
    return tmp_path


def penstock(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_run_says_what_happened_and_where_it_lies(author):
    done = penstock(author, "run", "author.py")

    assert done.returncode == 0
    assert done.stderr == ""
    assert "✓ noisy" in done.stdout
    assert "3 rows written" in done.stdout
    assert re.search(r"noisy\s+auc\s+0.75", done.stdout)
    assert re.search(r"Succeeded in \d+\.\d s: 4 done", done.stdout)
    assert re.search(r"Run \d{8}-\d{6}-\w{4} lies in .*penstock-runs/water/\d{8}", done.stdout)


def test_noise_goes_to_the_log_and_not_to_the_terminal(author):
    done = penstock(author, "run", "author.py")

    (log,) = author.glob("penstock-runs/water/*/noisy/log.txt")
    assert "noise of" not in done.stdout + done.stderr
    assert sorted(log.read_text().splitlines()) == ["noise of Python", "noise of a library"]


def test_the_root_can_be_chosen(author):
    penstock(author, "run", "author.py", "--root", "here")
    penstock(author, "run", "author.py", PENSTOCK_ROOT=str(author / "there"))

    assert len(list(author.glob("here/water/*/noisy/data"))) == 1
    assert len(list(author.glob("there/water/*/noisy/data"))) == 1


def test_a_mendable_failure_is_its_sentence(author):
    done = penstock(author, "run", "author.py", "--param", "rows=11")

    assert done.returncode == 1
    assert "picky failed: There are more than 10 rows; give fewer." in done.stdout
    assert "Traceback" not in done.stdout
    assert "slow  skipped: picky failed" in done.stdout
    assert "Failed in" in done.stdout
    (log,) = author.glob("penstock-runs/water/*/picky/log.txt")
    assert "Traceback" in log.read_text()
    assert f"Log: {log}" in done.stdout


def test_a_defect_shows_the_end_of_its_traceback(author):
    done = penstock(author, "run", "author.py", "-p", "rows=-1")

    assert done.returncode == 1
    assert "picky failed: ValueError: a defect" in done.stdout
    assert 'raise ValueError("a defect")' in done.stdout
    assert "Inputs: rows=-1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "no.such.module"], "There is no module no.such.module"),
        (["run", "author.py", "-p", "cols=1"], "has no parameter cols; it takes rows and seconds"),
        (["run", "author.py", "-p", "rows=x"], "Parameter rows is 'x', but an integer is expected"),
        (["run", "author.py", "--root", "/proc/none"], "cannot be written to /proc/none/water"),
        (["run", "author.py", "--workers", "0"], "--workers"),
        (["run"], "Missing argument"),
        (["compile", "author.py", "-o", "x.txt"], "must end in .yaml"),
        (["flow"], "No such command"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(author, arguments, sentence):
    done = penstock(author, *arguments)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (author / "penstock-runs").exists()


def test_a_compiled_pipeline_runs(author):
    compiled = penstock(author, "compile", "author.py", "-o", "build/water.yaml")
    (author / "author.py").unlink()

    done = penstock(author, "run", "build/water.yaml", "-p", "rows=2")

    assert compiled.stdout == "Wrote build/water.yaml.\n"
    assert (done.returncode, "2 rows written" in done.stdout) == (0, True)


def test_ctrl_c_finishes_the_running_step_and_exits_with_130(author):
    run = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "run", "author.py", "-p", "seconds=1.5"],
        cwd=author,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(author, "slow/log.txt")
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)

    assert run.returncode == 130
    assert "✓ slow" in output
    assert "slow-2  stopped" in output


def test_a_second_ctrl_c_stops_now(author):
    run = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "run", "author.py", "-p", "seconds=600"],
        cwd=author,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(author, "slow/log.txt")
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=30)

    assert run.returncode == 130
    assert "slow  stopped" in output


def wait_for(author, file):
    for _ in range(600):
        if list(author.glob(f"penstock-runs/water/*/{file}")):
            return
        time.sleep(0.05)
    raise AssertionError(f"{file} did not appear")


def test_version_and_help_are_quick():
    started = time.monotonic()
    version = penstock(None, "--version")
    took = time.monotonic() - started

    assert version.stdout.startswith("penstock ")
    assert took < 1.5  # 0.1 s on an idle machine
    for command in ([], ["run"], ["compile"]):
        text = penstock(None, *command, "--help").stdout
        assert "Exit codes:" in text
        assert "130" in text


def test_the_command_line_loads_nothing_heavy(author):
    script = (
        "import sys\n"
        "sys.argv = ['penstock', 'run', 'author.py']\n"
        "from penstock.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'tensorflow', 'apache_beam', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=author, check=True, timeout=120)
