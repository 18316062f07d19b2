"""The process that runs Python steps, one after another, away from the terminal.

Started as `python -m penstock.orchestration.worker FD`, where FD is its end of a socket. It reads
one JSON request per line and answers each with one JSON line. Libraries are imported once per
worker, not once per step. Like KFP's own launcher it sets `_KFP_RUNTIME`, so that what a step can
import here is what it can import there.
"""

import json
import linecache
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from pathlib import Path
from typing import Any

MODULE = "ephemeral_component"
# run_step, _execute and KFP's Executor.execute
FRAMES_OF_OURS = 3
_containers: list[list[str]] = []


def main() -> None:
    """Serve requests until the other end closes; then end at once, also in mid-step."""
    os.environ["_KFP_RUNTIME"] = "true"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    while True:
        answer = run_step(requests.get())
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _receive(connection: socket.socket, requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    with connection.makefile("rb") as lines:
        for line in lines:
            requests.put(json.loads(line))
    # The runner is gone or wants this step stopped. A container does not end with its client, and
    # threads of TensorFlow would outlive an exit.
    for kill in list(_containers):
        subprocess.run(kill, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
    os.kill(os.getpid(), signal.SIGKILL)


def run_step(request: dict[str, Any]) -> dict[str, Any]:
    """Run one step with everything it prints going to its log.

    Args:
        request: `log`, a path. For a Python component `source`, `function`, `executor_input`,
            `sys_path` (folders put in front) and `environment` (variables set for good: such a
            worker runs one step). For a container `container`, what `container_request` returns.

    Returns:
        `{"ok": True}`, or `{"ok": False, "reason": sentence, "mendable": bool}`.
    """
    with Path(request["log"]).open("ab", buffering=0) as log:
        _point_output_at(log.fileno())
        try:
            if "container" in request:
                return _contain(**request["container"])
            for folder in reversed(request["sys_path"]):
                if folder not in sys.path:
                    sys.path.insert(0, folder)
            os.environ.update(request["environment"])
            _execute(request["source"], request["function"], request["executor_input"])
        except (Exception, SystemExit) as error:
            return _failure(error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    return {"ok": True}


def _point_output_at(descriptor: int) -> None:
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _execute(source: str, function: str, executor_input: dict[str, Any]) -> None:
    module = types.ModuleType(MODULE)
    file = f"<{function}>"
    module.__file__ = file
    sys.modules[MODULE] = module
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - as KFP's executor_main does

    from kfp.dsl.executor import Executor

    Executor(executor_input=executor_input, function_to_execute=getattr(module, function)).execute()


def _contain(command: list[str], kill: list[str], image: str) -> dict[str, Any]:
    _containers.append(kill)
    # Podman's monitor leaves a file where it was started when memory runs out.
    with tempfile.TemporaryDirectory() as aside:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=aside).returncode
    _containers.remove(kill)
    if code == 0:
        return {"ok": True}
    reason = f"The container of image {image} ended with exit code {code}."
    if code in (125, 126, 127):
        reason += f" {command[0]} uses this code when it cannot start the image's command."
    if code == 137:
        reason += " It was killed, perhaps for want of memory."
    return {"ok": False, "reason": reason, "mendable": False}


def _failure(error: BaseException) -> dict[str, Any]:
    from ..errors import PenstockError

    _print_from(error, FRAMES_OF_OURS)
    mendable = isinstance(error, PenstockError)
    if mendable:
        reason = str(error)
    elif isinstance(error, SystemExit):
        reason = f"The step called sys.exit({error.code!r})."
    else:
        reason = "".join(traceback.format_exception_only(error)).strip()
    return {"ok": False, "reason": reason, "mendable": mendable}


def _print_from(error: BaseException, frames: int) -> None:
    """Print a traceback without the frames between the worker and the author's code."""
    trace = error.__traceback__
    deep = trace
    for _ in range(frames):
        deep = deep and deep.tb_next
    traceback.print_exception(type(error), error, deep or trace)


if __name__ == "__main__":
    main()
