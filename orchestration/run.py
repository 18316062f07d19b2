"""The local runner: a compiled pipeline, executed on this machine with Kubeflow's semantics."""

import asyncio
import contextlib
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..data.digest import digest_bytes
from ..data.remote_folders import write_remote
from ..errors import PenstockError
from ..metadata import values as md
from ..metadata.store import Store
from .check import check_pipeline
from .copies import Copies
from .dag import Driver, Outcome
from .ledger import Ledger
from .parameters import check_parameters
from .pipeline_root import COMPILED, check_root
from .report import RunReport, State, StepReport, Watch
from .selection import Selection, select
from .spec import Pipeline, parse
from .steps import Steps
from .values import Values
from .workers import Workers

COPIES = ".copies"
ENDS = {
    State.SUCCEEDED: md.RunState.COMPLETE,
    State.FAILED: md.RunState.FAILED,
    State.STOPPED: md.RunState.CANCELED,
}


@dataclass(frozen=True)
class Settings:
    """How a run is executed.

    Attributes:
        root: Under which runs lie, as `<root>/<pipeline>/<run id>`.
        store: The metadata store: a path, or a PostgreSQL URL; `<root>/metadata.sqlite` if None.
        workers: How many steps run side by side at most.
        isolate: Give every step a process of its own.
        containers: Run every step in its image, Python components too.
        use_cache: Take the outputs of steps that ran before on the same inputs.
        explain: Say of every step why it was or was not found in the cache.
        sys_path: Folders that steps import the author's modules from.
        pipeline_root: A folder in an object store that artifacts are kept in, such as
            `s3://bucket/folder`; below `root` if empty.
        copies_limit: How many bytes copies of artifacts in object stores may take below `root`.
    """

    root: Path
    store: str | Path | None = None
    workers: int = 1
    isolate: bool = False
    containers: bool = False
    use_cache: bool = True
    explain: bool = False
    sys_path: tuple[str, ...] = ()
    pipeline_root: str = ""
    copies_limit: int = 20 * 10**9

    @property
    def copies(self) -> Copies:
        """Copies of artifacts that lie in object stores."""
        return Copies(self.root.absolute() / COPIES, self.copies_limit)

    def open_store(self, *, create: bool = True) -> Store:
        """Open the metadata store."""
        return Store.open(self.store or self.root.absolute() / "metadata.sqlite", create=create)


def author_path() -> tuple[str, ...]:
    """Return the folders on this process's import path that are not the interpreter's own."""
    own = {sys.prefix, sys.base_prefix}
    return tuple(
        str(Path(entry or ".").absolute())
        for entry in sys.path
        if not entry.endswith(".zip") and not any(Path(entry).is_relative_to(o) for o in own)
    )


class Stop:
    """A request to stop: the first asks for no further steps, the second ends those that run."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self._workers: Workers | None = None

    def attach(self, workers: Workers) -> None:
        """Say whose steps a second request ends."""
        self._workers = workers

    def __call__(self) -> bool:
        """Request a stop; return True when it was the second request."""
        again = self.requested.is_set()
        self.requested.set()
        if again and self._workers is not None:
            self._workers.close()
        return again


def run_pipeline(
    pipeline: Pipeline,
    parameters: Mapping[str, Any],
    settings: Settings,
    watch: Watch = lambda step: None,
    stop: Stop | None = None,
    *,
    selection: Selection | None = None,
    base: str = "latest",
) -> RunReport:
    """Execute a compiled pipeline.

    Steps that do not depend on each other go on when one fails; those that depend on it are
    skipped. Every output lies under `<root>/<pipeline>/<run id>/<step>/<output>`.

    Args:
        pipeline: What to run.
        parameters: The pipeline's parameters by name.
        settings: How to run it.
        watch: Called with each step when it starts and when it ends, never twice at once.
        stop: Ends the run early.
        selection: The part of the pipeline to run.
        base: The earlier run that the other part is taken from: an id or `latest`.

    Returns:
        What happened; a failed step is a state, not an exception.

    Raises:
        PenstockError: The pipeline cannot run here, a parameter does not fit, the root cannot be
            written, or the store cannot be used.
    """
    check_pipeline(pipeline, containers=settings.containers)
    given = check_parameters(pipeline, parameters)
    kept_in = check_root(settings.pipeline_root) if settings.pipeline_root else ""
    run_id, folder = _new_folder(settings.root, pipeline)
    artifacts = _begin_in_store(kept_in, pipeline, run_id, folder) if kept_in else ""
    with settings.open_store() as store:
        part: dict[str, Any] = {}
        taken: list[md.Execution] = []
        if selection is not None:
            source = _base(store, pipeline, base) if selection.take else None
            taken = store.executions(source) if source else []
            part = {"selection": dict(selection.asked), "base": source}
        run = store.start_run(
            run_id,
            pipeline.name,
            digest_bytes(pipeline.text.encode()),
            given,
            folder,
            properties={"sys_path": list(settings.sys_path), "artifacts": artifacts, **part},
        )
        ledger = Ledger(store, run_id, settings.copies, shared=bool(artifacts), taken=taken)
        return _drive(pipeline, run, ledger, settings, watch, stop or Stop(), selection)


def resume_run(
    run_id: str,
    settings: Settings,
    watch: Watch = lambda step: None,
    stop: Stop | None = None,
) -> RunReport:
    """Continue a run that failed, was stopped or killed.

    The pipeline, its parameters and the part that was asked for are the run's own. Steps that had
    finished, and whose artifacts are unaltered, are kept; the others run.

    Args:
        run_id: The run: its id, the beginning of it, or `latest`.
        settings: How to run it; `root` and `store` say where it is found.
        watch: See `run_pipeline`.
        stop: See `run_pipeline`.

    Raises:
        PenstockError: There is no such run, a living process is at it, or its folder is gone.
    """
    with settings.open_store(create=False) as store:
        found = store.run(run_id)
        compiled = Path(found.folder) / COMPILED
        try:
            text = compiled.read_text()
        except OSError as error:
            raise PenstockError(
                f"Run {found.id} cannot be resumed: {compiled} cannot be read ({error.strerror})."
            ) from error
        pipeline = parse(text, str(compiled))
        check_pipeline(pipeline, containers=settings.containers)
        selection = None
        if found.properties.get("selection"):
            selection = select(pipeline, **found.properties["selection"])
        source = found.properties.get("base")
        ledger = Ledger(
            store,
            found.id,
            settings.copies,
            shared=bool(found.artifacts),
            kept=store.executions(found.id),
            taken=store.executions(source) if source else [],
        )
        run = store.resume_run(found.id)
        return _drive(pipeline, run, ledger, settings, watch, stop or Stop(), selection)


def _drive(
    pipeline: Pipeline,
    run: md.Run,
    ledger: Ledger,
    settings: Settings,
    watch: Watch,
    stop: Stop,
    selection: Selection | None,
) -> RunReport:
    started = time.monotonic()
    ended: list[StepReport] = []
    one_at_a_time = threading.Lock()

    def seen(step: StepReport) -> None:
        with one_at_a_time:
            if step.state is not State.RUNNING:
                ended.append(step)
            watch(step)

    folder = Path(run.folder)
    # The cache looks for the author's modules as the steps do.
    import_path = [*settings.sys_path, *run.properties.get("sys_path", ())]
    sys.path.extend(entry for entry in import_path if entry not in sys.path)
    workers = Workers(import_path)
    stop.attach(workers)
    threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="step")
    steps = Steps(
        folder,
        workers,
        settings.copies,
        ledger,
        seen,
        stop.requested,
        settings.isolate,
        settings.containers,
        settings.use_cache,
        settings.explain,
        run.artifacts,
    )
    driver = Driver(
        pipeline, run.id, folder, steps, threads, seen, stop.requested, run.started, selection
    )
    outcome = Outcome(State.STOPPED, reason="The runner ended early.")
    try:
        outcome = asyncio.run(driver.run(Values(dict(run.parameters))))
    finally:
        workers.close()
        threads.shutdown()
        ledger.store.finish_run(run.id, ENDS[outcome.state], outcome.reason or None)
    return RunReport(
        pipeline.name,
        run.id,
        folder,
        outcome.state,
        tuple(ended),
        outcome.outputs,
        time.monotonic() - started,
        run.artifacts,
    )


def _base(store: Store, pipeline: Pipeline, base: str) -> str:
    if base != "latest":
        return store.run(base).id
    runs = store.runs(pipeline.name, limit=1)
    if not runs:
        raise PenstockError(
            f"{pipeline.name} was never run here, so no step can be taken from an earlier run; "
            "run it whole first."
        )
    return runs[0].id


def _new_folder(root: Path, pipeline: Pipeline) -> tuple[str, Path]:
    home = root.absolute() / pipeline.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        run_id, folder = next(_free(home))
        (folder / COMPILED).write_text(pipeline.text)
    except OSError as error:
        raise PenstockError(
            f"The run cannot be written to {home}: {error.strerror}; choose a writable folder "
            "with --root or PENSTOCK_ROOT."
        ) from error
    return run_id, folder


def _begin_in_store(root: str, pipeline: Pipeline, run_id: str, folder: Path) -> str:
    """Return where a run's artifacts will lie; one that cannot be written to costs no step."""
    artifacts = f"{root}/{pipeline.name}/{run_id}"
    try:
        write_remote(f"{artifacts}/{COMPILED}", pipeline.text.encode())
    except PenstockError:
        shutil.rmtree(folder)
        raise
    return artifacts


def _free(home: Path) -> Iterator[tuple[str, Path]]:
    while True:
        run_id = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileExistsError):
            (home / run_id).mkdir()
            yield run_id, home / run_id
