"""The promises of training/cluster.py, with workers that are small scripts."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from penstock.errors import PenstockError
from penstock.training.cluster import EXIT_PEER_LOST, EXIT_REFUSED, Limits, run_cluster
from penstock.training.preemption import EXIT_RETRY, Preempted, Preemption

# Each worker runs with `folder`, its `index` and how often workers were started before (`attempt`).
WORKER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from penstock.processes import die_with_parent
die_with_parent(int(os.environ["PENSTOCK_PARENT"]))
folder = Path(sys.argv[1])
config = json.loads(os.environ["TF_CONFIG"])
index = config["task"]["index"] if config else 0
attempt = len(list(folder.glob(f"started-{index}-*")))
(folder / f"started-{index}-{attempt}").write_text(os.environ["TF_CONFIG"])
(folder / f"pid-{index}").write_text(str(os.getpid()))
"""
QUICK = Limits(restarts=2, heartbeat_seconds=1.0, grace_seconds=5.0)


def command(folder: Path, code: str) -> list[str]:
    script = folder / "worker.py"
    script.write_text(WORKER + code)
    return [sys.executable, str(script), str(folder)]


def run(folder: Path, code: str, workers: int = 2, preemption: Preemption | None = None) -> int:
    return run_cluster(command(folder, code), workers, folder, QUICK, preemption or Preemption())


def alive(folder: Path) -> list[int]:
    """Processes, of those that the workers noted, that still run."""
    pids = [int(file.read_text()) for file in folder.glob("pid-*")]
    found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [p.pid for p in found if p.status() != psutil.STATUS_ZOMBIE]


def gone(folder: Path) -> bool:
    end = time.monotonic() + 10
    while alive(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(folder)


def test_workers_find_each_other_and_write_a_log_each(tmp_path):
    assert run(tmp_path, "print('I am', index)", workers=3) == 0

    configs = [json.loads((tmp_path / f"started-{i}-0").read_text()) for i in range(3)]
    addresses = configs[0]["cluster"]["worker"]
    assert all(config["cluster"]["worker"] == addresses for config in configs)
    assert len(set(addresses)) == 3
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": i} for i in range(3)
    ]
    assert [(tmp_path / f"worker-{i}.log").read_text() for i in range(3)] == [
        f"I am {i}\n" for i in range(3)
    ]


def test_one_worker_alone_has_no_cluster(tmp_path):
    run(tmp_path, "", workers=1)

    assert (tmp_path / "started-0-0").read_text() == "{}"


def test_a_killed_worker_is_started_again_with_its_peers(tmp_path, capsys):
    killed = """
if attempt == 0:
    while index == 1 and not (folder / "started-0-0").exists():
        time.sleep(0.01)
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
"""
    assert run(tmp_path, killed) == 1

    assert (tmp_path / "started-0-1").exists()
    assert (tmp_path / "started-1-1").exists()
    assert "worker 1 was ended by SIGKILL; all are started again" in capsys.readouterr().err
    assert gone(tmp_path)


def test_the_lost_worker_is_named_and_not_its_peer_that_fails_before(tmp_path, capsys):
    code = f"""
if attempt == 0 and index == 0:
    sys.exit({EXIT_PEER_LOST})
if attempt == 0:
    time.sleep(1)
    sys.exit(1)
"""
    assert run(tmp_path, code) == 1

    assert "worker 1 ended with exit code 1" in capsys.readouterr().err


def test_workers_lost_too_often_end_the_step_with_a_sentence_and_the_log(tmp_path, capsys):
    with pytest.raises(PenstockError, match=r"3 times .* worker 0 ended with exit code 7"):
        run(tmp_path, "print('out of luck'); sys.exit(7)", workers=1)

    assert capsys.readouterr().err.count("worker 0: out of luck") >= 3
    assert gone(tmp_path)


def test_what_a_worker_refuses_is_not_tried_again(tmp_path):
    refuse = f"""
if index == 1:
    (folder / "refusal-1.txt").write_text("The label is no column.")
    sys.exit({EXIT_REFUSED})
time.sleep(60)
"""
    with pytest.raises(PenstockError, match=r"^The label is no column\.$"):
        run(tmp_path, refuse)

    assert not (tmp_path / "started-1-1").exists()
    assert gone(tmp_path)


def test_a_hung_worker_is_named_and_started_again(tmp_path, capsys):
    hang = """
beat = Path(os.environ["PENSTOCK_HEARTBEAT"])
if attempt == 0:
    while not (folder / f"started-{1 - index}-0").exists():
        time.sleep(0.01)
    beat.write_text("7" if index == 1 else "8")
    time.sleep(60)
"""
    assert run(tmp_path, hang) == 1

    error = capsys.readouterr().err
    assert "worker 1 has given no sign of life for 1 s, since about step 7" in error


def test_a_worker_that_never_gave_a_sign_of_life_is_not_hung(tmp_path):
    assert run(tmp_path, "time.sleep(2)", workers=1) == 0


def test_what_a_worker_started_ends_with_it(tmp_path):
    parent = """
child = subprocess.Popen(["sleep", "60"])
(folder / f"pid-child-{index}").write_text(str(child.pid))
if attempt == 0:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run(tmp_path, parent)

    assert gone(tmp_path)


SERVED = """
kind = config["task"]["type"]
(folder / f"{kind}-{index}").write_text(os.environ["TF_CONFIG"])
attempt = len(list(folder.glob(f"began-{kind}-{index}-*")))
(folder / f"began-{kind}-{index}-{attempt}").touch()
(folder / f"pid-{kind}-{index}").write_text(str(os.getpid()))
"""


def served(folder: Path, code: str, limits: Limits = QUICK, preemption=None) -> int:
    return run_cluster(
        command(folder, SERVED + code), 2, folder, limits, preemption or Preemption(), servers=1
    )


def began(folder: Path) -> set[str]:
    return {file.name.removeprefix("began-") for file in folder.glob("began-*")}


def test_with_servers_there_is_a_chief_whose_end_is_the_end(tmp_path):
    wait = """
print(kind)
while not all((folder / n).exists() for n in ("worker-0", "worker-1", "ps-0")):
    time.sleep(0.01)
time.sleep(0 if kind == "chief" else 60)
"""
    assert served(tmp_path, wait) == 0

    config = json.loads((tmp_path / "ps-0").read_text())
    assert {kind: len(found) for kind, found in config["cluster"].items()} == {
        "chief": 1,
        "worker": 2,
        "ps": 1,
    }
    assert config["task"] == {"type": "ps", "index": 0}
    assert (tmp_path / "chief-0.log").read_text() == "chief\n"
    assert (tmp_path / "ps-0.log").read_text() == "ps\n"
    assert gone(tmp_path)


UNTIL_AGAIN = """
if kind == "chief":
    while not (folder / "began-worker-1-1").exists():
        time.sleep(0.01)
    sys.exit(0)
"""


def test_a_worker_with_servers_is_started_again_alone_at_its_address(tmp_path, capsys):
    killed = """
if (kind, index, attempt) == ("worker", 1, 0):
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""
    assert served(tmp_path, UNTIL_AGAIN + killed) == 1

    assert began(tmp_path) <= {"chief-0-0", "worker-0-0", "worker-1-0", "worker-1-1", "ps-0-0"}
    addresses = [json.loads((tmp_path / n).read_text())["cluster"] for n in ("chief-0", "worker-1")]
    assert addresses[0] == addresses[1]
    assert "worker 1 was ended by SIGKILL; it is started again" in capsys.readouterr().err
    assert gone(tmp_path)


def test_a_hung_worker_with_servers_is_started_again_alone(tmp_path, capsys):
    hang = """
if (kind, index, attempt) == ("worker", 1, 0):
    Path(os.environ["PENSTOCK_HEARTBEAT"]).write_text("7")
time.sleep(60)
"""
    assert served(tmp_path, UNTIL_AGAIN + hang) == 1

    assert "chief-0-1" not in began(tmp_path)
    error = capsys.readouterr().err
    assert "worker 1 has given no sign of life for 1 s, since about step 7; it is st" in error


@pytest.mark.parametrize("lost", ["ps", "chief"])
def test_without_a_server_or_the_chief_all_are_started_again(tmp_path, capsys, lost):
    killed = f"""
if (kind, attempt) == ({lost!r}, 0):
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0 if (kind, attempt) == ("chief", 1) else 60)
"""
    assert served(tmp_path, killed) == 1

    assert f"{lost} 0 was ended by SIGKILL; all are started again" in capsys.readouterr().err
    assert gone(tmp_path)


def test_workers_that_do_not_stay_end_the_step_after_so_many_restarts(tmp_path):
    fall = "sys.exit(9) if kind == 'worker' else time.sleep(60)"

    with pytest.raises(PenstockError, match=r"started 3 times .* worker \d ended with exit code 9"):
        served(tmp_path, fall)

    assert gone(tmp_path)


def test_with_servers_the_chief_saves_while_the_others_are_there(tmp_path):
    preemption = Preemption()
    save = f"""
def stop(number, frame):
    others = [int((folder / f"pid-{{n}}").read_text()) for n in ("worker-0", "worker-1", "ps-0")]
    [os.kill(pid, 0) for pid in others]
    (folder / "saved").touch()
    os._exit({EXIT_RETRY})
while kind == "chief" and not all((folder / f"pid-{{n}}").exists() for n in ("worker-0", "worker-1",
                                                                          "ps-0")):
    time.sleep(0.01)
if kind == "chief":
    signal.signal(signal.SIGTERM, stop)
    (folder / "ready").touch()
time.sleep(60)
"""

    def tell() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        preemption.told = True

    threading.Thread(target=tell).start()
    with pytest.raises(Preempted):
        served(tmp_path, save, preemption=preemption)

    assert (tmp_path / "saved").exists()
    assert gone(tmp_path)


def test_an_interrupt_leaves_no_process(tmp_path, monkeypatch):
    def interrupt(seconds: float) -> None:
        if len(list(tmp_path.glob("pid-*"))) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("penstock.training.cluster.time.sleep", interrupt)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "time.sleep(60)")

    monkeypatch.undo()
    assert gone(tmp_path)


def supervised(folder: Path, code: str, noted: int = 2) -> subprocess.Popen:
    """A process that runs two workers, once `noted` processes run."""
    main = f"""
import sys
from pathlib import Path
from penstock.training.cluster import Limits, run_cluster
from penstock.training.preemption import Preemption
preemption = Preemption()
with preemption.listened_to():
    run_cluster({command(folder, code)!r}, 2, Path({str(folder)!r}), Limits(), preemption)
"""
    process = subprocess.Popen([sys.executable, "-c", main])
    end = time.monotonic() + 30
    while len(list(folder.glob("pid-*"))) < noted and time.monotonic() < end:
        time.sleep(0.05)
    return process


def test_kill_9_of_the_parent_leaves_no_process(tmp_path):
    process = supervised(
        tmp_path,
        """
child = subprocess.Popen(["sleep", "60"])
(folder / f"pid-child-{index}").write_text(str(child.pid))
child.wait()
""",
        noted=4,
    )

    process.kill()
    process.wait()

    assert gone(tmp_path)


def test_sigterm_lets_workers_save_and_ends_with_the_code_for_retry(tmp_path):
    save = f"""
def stop(number, frame):
    (folder / f"saved-{{index}}").touch()
    os._exit({EXIT_RETRY})
signal.signal(signal.SIGTERM, stop)
(folder / f"ready-{{index}}").touch()
time.sleep(60)
"""
    process = supervised(tmp_path, save)
    while len(list(tmp_path.glob("ready-*"))) < 2:
        time.sleep(0.05)

    process.terminate()

    assert process.wait(timeout=20) == EXIT_RETRY == 143
    assert len(list(tmp_path.glob("saved-*"))) == 2
    assert gone(tmp_path)


def test_a_worker_that_does_not_stop_in_time_is_killed(tmp_path):
    preemption = Preemption()
    preemption.told = True

    with pytest.raises(Preempted):
        run_cluster(
            command(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"),
            2,
            tmp_path,
            Limits(grace_seconds=0.5),
            preemption,
        )

    assert gone(tmp_path)


def test_sigterm_while_nobody_saves_ends_at_once():
    preemption = Preemption()

    with pytest.raises(Preempted) as stopped, preemption.listened_to():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    assert stopped.value.code == EXIT_RETRY
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
