"""The command as a person meets it: a real process, its words and its exit code."""

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

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
    slow(rows=slow(rows=checked.output, seconds=seconds).output, seconds=0.001)
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


def test_a_terminal_without_unicode_is_served_too(author):
    done = penstock(author, "run", "author.py", PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, "")
    assert "? noisy" in done.stdout


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
        (["compile"], "Missing argument"),
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


@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
def test_a_second_ctrl_c_and_sigterm_stop_now(author, signals):
    run = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "run", "author.py", "-p", "seconds=600"],
        cwd=author,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(author, "slow/log.txt")
    for number in signals:
        time.sleep(0.2)
        run.send_signal(number)
    output, _ = run.communicate(timeout=30)

    assert run.returncode == 130
    assert "slow  stopped" in output

    compiled = next(author.glob("penstock-runs/water/*/pipeline.yaml"))
    compiled.write_text(compiled.read_text().replace("time.sleep(seconds)", "pass"))
    resumed = penstock(author, "run", "--resume", "latest")
    assert resumed.returncode == 0
    assert "✓ picky  cached" in resumed.stdout


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


def test_a_second_run_is_cached_and_says_why(author):
    penstock(author, "run", "author.py")

    again = penstock(author, "run", "author.py", "--explain-cache", "-p", "seconds=0.01")

    assert "✓ noisy  cached" in again.stdout
    assert re.search(r"parameter seconds: .* -> 0.01", again.stdout)
    assert "1 done, 3 cached" in again.stdout
    assert "✓ noisy  cached" not in penstock(author, "run", "author.py", "--no-cache").stdout


def test_a_failed_run_is_resumed_by_the_command_it_printed(author):
    source = (author / "author.py").read_text()
    (author / "author.py").write_text(
        source.replace("return rows", "open('there').close(); return rows", 1)
    )
    failed = penstock(author, "run", "author.py", "-p", "rows=4")
    (author / "there").touch()
    command = re.search(r"To go on from there: penstock (.*)", failed.stdout)[1].split()
    resumed = penstock(author, *command)

    assert (failed.returncode, resumed.returncode) == (1, 0)
    assert "noisy failed: FileNotFoundError" in failed.stdout
    assert re.search(r"water, run .* resumed", resumed.stdout)
    assert "4 rows written" in resumed.stdout


def test_a_failed_step_runs_alone_by_the_command_it_printed(author):
    failed = penstock(author, "run", "author.py", "-p", "rows=11")
    command = re.search(r"Again, alone: penstock (.*)", failed.stdout)[1].split()
    alone = penstock(author, *command)

    assert "--only picky" in " ".join(command)
    assert alone.returncode == 1
    assert "✓ noisy  cached" in alone.stdout
    assert "slow  not taken: left out by --only picky" in alone.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run"], "Say what to run: TARGET, or --resume RUN"),
        (["run", "author.py", "--resume", "latest"], "leave out TARGET"),
        (["run", "--resume", "latest"], "There is no metadata store"),
        (["run", "author.py", "--only", "nothing"], "has no step nothing"),
        (["run", "author.py", "--only", "picky"], "water was never run here"),
    ],
)
def test_a_wrong_way_to_go_on_is_one_sentence(author, arguments, sentence):
    done = penstock(author, *arguments)

    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_damaged_store_is_one_sentence(author):
    (author / "penstock-runs").mkdir()
    (author / "penstock-runs" / "metadata.sqlite").write_bytes(b"not a database" * 1000)

    done = penstock(author, "run", "author.py")

    assert done.returncode == 2
    assert re.fullmatch(r"penstock: The metadata store .*\n", done.stderr)


def test_openlineage_events_go_to_a_file(author):
    penstock(author, "run", "author.py", "--openlineage", "events/all.jsonl", "-p", "rows=11")

    lines = (author / "events" / "all.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    jobs = [(event["job"]["name"], event["eventType"]) for event in events]
    assert jobs == [
        ("water", "START"),
        ("water.noisy", "START"),
        ("water.noisy", "COMPLETE"),
        ("water.picky", "START"),
        ("water.picky", "FAIL"),
        ("water", "FAIL"),
    ]
    run_id = events[0]["run"]["runId"]
    assert {e["run"]["facets"]["parent"]["run"]["runId"] for e in events[1:-1]} == {run_id}
    assert {Path(made["name"]).name for made in events[2]["outputs"]} == {"data", "metrics"}
    assert "fewer" in events[4]["run"]["facets"]["errorMessage"]["message"]


def test_openlineage_events_are_posted_and_a_deaf_server_fails_nothing(author):
    received = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api/v1/lineage"
        penstock(author, "run", "author.py", "--openlineage", url)
        server.shutdown()
    deaf = penstock(author, "run", "author.py", "--openlineage", url)

    assert [event["eventType"] for event in received].count("COMPLETE") == 5
    assert deaf.returncode == 0
    assert "OpenLineage events do not arrive at http://127.0.0.1" in " ".join(deaf.stdout.split())
