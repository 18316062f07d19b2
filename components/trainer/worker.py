"""One worker of a training, in the step's own process or in one of several."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.schemas import load_schema
from ...errors import PenstockError
from ...processes import die_with_parent
from ...training.author import load_author_module, module_source
from ...training.cluster import EXIT_PEER_LOST, EXIT_REFUSED, HEARTBEAT, PARENT
from ...training.exchange import Exchange
from ...training.places import SERVER, Place, find_peers, place
from ...training.preemption import EXIT_RETRY, Preempted, Preemption
from ...training.strategies import DEFAULT, MIRRORED, PARAMETER_SERVER, distributed
from .provenance import hardware, library_versions

if TYPE_CHECKING:
    from ...training.fn_args import FnArgs
    from ...training.reporting import Curves
    from ...training.trained import Trained

WORK, INPUTS, MODEL, RESULT = "work.json", "inputs", "model", "result.json"
_PATHS = (
    "examples",
    "transform_graph",
    "schema",
    "statistics",
    "base_model",
    "model_dir",
    "folder",
    "checkpoints",
)
_CURVES = "curves.jsonl"
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Work:
    """What is to be trained, in words that fit a file.

    Paths are strings; see `penstock.components.trainer.executor.train` for what each means.

    Attributes:
        model_dir: Folder of the model that is being made; only the chief writes there.
        folder: Where workers write their logs and results.
        checkpoints: Where checkpoints lie; none are kept when empty.
    """

    examples: str
    transform_graph: str
    schema: str
    statistics: str
    base_model: str
    model_dir: str
    folder: str
    checkpoints: str
    module: str
    label: str
    train_split: str
    eval_split: str
    train_steps: int
    eval_steps: int | None
    batch_size: int
    seed: int
    strategy: str
    data_shards: int
    precision: str
    jit: bool | None
    deterministic: bool
    checkpoint_steps: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    custom_config: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, root: Path) -> Work:
        """Return what `to_json` wrote, with the paths that are relative beneath `root`."""
        content = json.loads(text)
        for name in _PATHS:
            content[name] = str(root / content[name]) if content[name] else ""
        return cls(**{each.name: content[each.name] for each in fields(cls)})


def do_work(work: Work, preemption: Preemption, where: Place) -> dict[str, Any]:
    """Train, and export as the chief.

    Args:
        work: What is to be trained.
        preemption: Says whether to stop.
        where: Which worker this is.

    Returns:
        `kind`, `metrics`, `steps`, `libraries` and `hardware`; nothing from one who only feeds
        the steps of a chief.

    Raises:
        Preempted: The training was told to stop, and has been saved.
        PenstockError: The module, the training or the export is not as it should be.
    """
    from ...training.trained import export_trained, train_model

    author = load_author_module(work.module)
    if work.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    with ExitStack() as stack:
        strategy = stack.enter_context(distributed(work.strategy, work.precision, work.jit))
        args = _fn_args(work, strategy, preemption, where)
        with strategy.scope():
            trained = train_model(author, args)
        _check_kind(trained, work, author)
        if work.strategy == PARAMETER_SERVER and not where.chief:
            return {}
        result: dict[str, Any] = {"metrics": dict(trained.metrics), "steps": trained.steps}
        if where.chief:
            result["kind"] = export_trained(trained, args, author)
            _before(work, trained.curves)
            trained.curves.write(args.model_dir, trained.metrics)
    libraries = library_versions(result.get("kind", "saved_model"))
    return result | {"libraries": libraries, "hardware": hardware()}


def _check_kind(trained: Trained, work: Work, author: ModuleType) -> None:
    """Refuse a model of another kind than Keras' that processes trained each for themselves."""
    from ...models.estimators import Estimator

    if isinstance(trained.model, Estimator) and work.strategy != DEFAULT:
        raise PenstockError(
            f"strategy is {work.strategy!r}, and run_fn in {module_source(author)} returned a "
            f"model of the kind {trained.model.kind}, which trains in one process; "
            "leave strategy, num_workers and num_ps out."
        )


def _fn_args(work: Work, strategy: Any, preemption: Preemption, where: Place) -> FnArgs:
    from ...models.transform_graph import read_transform_graph
    from ...training.fn_args import FnArgs

    model_dir = Path(work.model_dir) if where.chief else Path(work.folder) / f"rest-{where.index}"
    model_dir.mkdir(parents=True, exist_ok=True)
    keeps = bool(work.checkpoints) and where.chief
    curves = Path(work.checkpoints) / _CURVES

    def keep(step: int, metrics: Mapping[str, float]) -> None:
        if keeps:
            with curves.open("a", encoding="utf-8") as sink:
                sink.write(json.dumps([step, dict(metrics)]) + "\n")

    graph = read_transform_graph(work.transform_graph)
    if work.label in graph.columns:
        raise PenstockError(
            f"The label {work.label!r} is read by a feature of the transform graph, which would "
            "tell the model the answer; take it out of FEATURES."
        )
    return FnArgs(
        transform=graph,
        schema=load_schema(work.schema),
        label=work.label,
        train_steps=work.train_steps,
        batch_size=work.batch_size,
        seed=_seed(work, where),
        examples=Path(work.examples),
        train_split=work.train_split,
        eval_split=work.eval_split,
        model_dir=model_dir,
        hyperparameters=work.hyperparameters,
        custom_config=work.custom_config,
        eval_steps=work.eval_steps,
        statistics_dir=Path(work.statistics) if work.statistics else None,
        base_model=Path(work.base_model) if work.base_model else None,
        strategy=strategy,
        num_shards=where.workers,
        index=where.index % where.workers,
        data_shards=work.data_shards,
        callbacks=_callbacks(work, preemption, where),
        reporter=keep,
    )


def _seed(work: Work, where: Place) -> int:
    """Return the seed of a process.

    Workers of parameter servers read all rows each, in orders of their own. One that is started
    again takes another order, or it would come to the rows at the front of the first more often.
    """
    if work.strategy != PARAMETER_SERVER or where.chief:
        return work.seed
    own = np.random.SeedSequence([work.seed, where.index, time.time_ns()])
    return int(own.generate_state(1)[0])


def _callbacks(work: Work, preemption: Preemption, where: Place) -> tuple[Any, ...]:
    from ...training.checkpoints import Checkpoints
    from ...training.heartbeat import Heartbeat

    callbacks: list[Any] = []
    if work.strategy == PARAMETER_SERVER and not where.chief:
        return ()
    if HEARTBEAT in os.environ:
        callbacks.append(Heartbeat(Path(os.environ[HEARTBEAT])))
    if work.checkpoints:
        folder = Path(work.checkpoints)
        folder.mkdir(parents=True, exist_ok=True)
        callbacks.append(Checkpoints(folder, work.checkpoint_steps, where, preemption))
    return tuple(callbacks)


def _before(work: Work, curves: Curves) -> None:
    """Put in front of the curves what was reported before the training was last taken up."""
    file = Path(work.checkpoints) / _CURVES
    if not work.checkpoints or not file.exists():
        return
    kept: dict[str, dict[int, float]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        step, metrics = json.loads(line)
        for name, value in metrics.items():
            kept.setdefault(name, {})[step] = value
    curves.points = {name: sorted(points.items()) for name, points in kept.items()}


def main(root: str) -> None:
    """Do the work in `work.json` of a folder, and end with what became of it as exit code.

    0: done. `EXIT_REFUSED`: the work is not as it should be, and the sentence is in
    `refusal-<index>.txt`. `EXIT_PEER_LOST`: another process is gone. `EXIT_RETRY`: told to stop.

    Args:
        root: The folder, as a path or as a URL; from a URL what is needed is copied first, and the
            model is copied there.
    """
    if parent := os.environ.get(PARENT):
        die_with_parent(int(parent))
    preemption = Preemption()
    exchange = Exchange(root)
    with preemption.listened_to():
        folder = _brought(exchange)
        work = Work.from_json((folder / WORK).read_text(encoding="utf-8"), folder)
        find_peers()
        where = Place() if work.strategy in (DEFAULT, MIRRORED) else place()
        if work.strategy == PARAMETER_SERVER and not where.chief:
            threading.Thread(target=_leave_at_the_end, args=(exchange,), daemon=True).start()
        try:
            if where.role == SERVER:
                from ...training.feed import hold_weights

                hold_weights()
            result = do_work(work, preemption, where)
        except Preempted:
            sys.stderr.write("penstock: told to stop; the training is saved.\n")
            _leave(EXIT_RETRY)
        except PenstockError as error:
            if _peer_lost(error):
                _leave(EXIT_PEER_LOST)
            exchange.write_text(f"refusal-{where.index}.txt", str(error))
            sys.stderr.write(f"penstock: {error}\n")
            _leave(EXIT_REFUSED)
        if where.chief:
            if exchange.remote:
                exchange.put(Path(work.model_dir), MODEL)
            exchange.write_text(RESULT, json.dumps(result, default=str))
        # Peers that leave while the chief still exports would look to it like lost ones.
        _leave_at_the_end(exchange)


def _leave_at_the_end(exchange: Exchange) -> None:
    """End this process well when the chief has written the result."""
    while not exchange.exists(RESULT):
        time.sleep(_LOOK_SECONDS)
    _leave(0)


def _brought(exchange: Exchange) -> Path:
    """Return the folder with the work on this machine."""
    if not exchange.remote:
        return Path(exchange.root)
    folder = Path(tempfile.mkdtemp(prefix="penstock-worker-"))
    exchange.get(WORK, folder / WORK)
    exchange.get(INPUTS, folder / INPUTS)
    return folder


def _peer_lost(error: BaseException) -> bool:
    import tensorflow as tf

    lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    return isinstance(error.__cause__, (*lost, tf.errors.DeadlineExceededError))


def _leave(code: int) -> None:
    """End at once: TensorFlow's own way out waits for, and complains of, peers that have left."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
