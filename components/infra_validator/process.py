"""The process in which the model is asked: started, watched, and ended with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ...models.inquiry import JOURNAL
from ...processes import end_tree, tree_of

_LOOK_SECONDS = 0.05
_LOG = "log.txt"
_SHOWN_LINES = 30


@dataclass(frozen=True)
class Outcome:
    """What came of the process.

    Attributes:
        findings: What it wrote down, in order.
        ending: Why it did not come to its end, in words; empty when it did.
        doing: What it was doing then; empty when it did.
        peak_bytes: The most memory that it and what it started held when it was looked at.
        log: The end of what it printed.
    """

    findings: list[dict[str, Any]] = field(default_factory=list)
    ending: str = ""
    doing: str = ""
    peak_bytes: int = 0
    log: str = ""


def ask_in_process(work: Path, timeout_seconds: float, peak_bytes: int) -> Outcome:
    """Run `penstock.models.probe` on the task in `work`.

    The process starts in an empty folder, so that nothing of the working directory can be imported.

    Args:
        work: Where the task lies.
        timeout_seconds: It is ended when it takes longer.
        peak_bytes: It is ended when it and what it started hold more.
    """
    nowhere = work / "nowhere"
    nowhere.mkdir()
    quiet = {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")}
    with (work / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "penstock.models.probe", str(work)],
            cwd=nowhere,
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ending, held = _watch(process, timeout_seconds, peak_bytes)
    findings = _findings(work / JOURNAL)
    ended = any(finding["finding"] == "end" for finding in findings)
    lines = (work / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    if ended:
        return Outcome(findings, peak_bytes=held)
    return Outcome(
        findings,
        ending or _ended(process.returncode, lines),
        _doing(findings),
        held,
        "\n".join(lines[-_SHOWN_LINES:]),
    )


def _watch(process: subprocess.Popen[bytes], timeout_seconds: float, most: int) -> tuple[str, int]:
    """Wait for a process; return why it was ended, if it was, and the most memory that was seen."""
    first = psutil.Process(process.pid)
    end = time.monotonic() + timeout_seconds
    held = 0
    known: set[psutil.Process] = set()
    try:
        while process.poll() is None:
            tree = tree_of(first)
            known.update(tree)
            held = max(held, sum(_resident(each) for each in tree))
            if held > most:
                return f"held more than {_mib(most)} of memory and was ended", held
            if time.monotonic() > end:
                return f"had not finished after {timeout_seconds:g} s and was ended", held
            time.sleep(_LOOK_SECONDS)
        return "", held
    finally:
        end_tree(first, known)
        process.wait()


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _findings(journal: Path) -> list[dict[str, Any]]:
    if not journal.exists():
        return []
    found = []
    for line in journal.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # the last line of a process that was killed in it
            found.append(json.loads(line))
    return found


def _doing(findings: list[dict[str, Any]]) -> str:
    """Return what was begun last."""
    begun = [finding["what"] for finding in findings if finding["finding"] == "doing"]
    return begun[-1] if begun else "starting"


def _ended(code: int, log: list[str]) -> str:
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL, as the kernel does when memory runs out)"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    said = next((line.strip() for line in reversed(log) if line.strip()), "")
    return f"ended with exit code {code}{f', saying {said!r}' if said else ''}"


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
