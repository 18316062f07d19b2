"""Nothing that a process started outlives it."""

import subprocess
import sys

import psutil

from penstock.processes import end_tree, tree_of

# A child that starts a grandchild in a session of its own, and says both their numbers.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def test_a_process_ends_with_all_that_it_started():
    started = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    own, child = map(int, started.stdout.readline().split())
    process, grandchild = psutil.Process(own), psutil.Process(child)
    assert tree_of(process) == [process, grandchild]

    end_tree(process)

    assert started.wait() == -9
    assert not grandchild.is_running()
    assert tree_of(process) == []


def test_ending_what_is_gone_ends_what_it_left_behind():
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    process = psutil.Process(gone.pid)
    gone.wait()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    end_tree(process, [psutil.Process(left.pid)])

    assert not psutil.pid_exists(left.pid)
    left.wait()
