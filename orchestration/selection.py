"""Part of a pipeline: which steps run, which are taken from an earlier run, which are left out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError
from .report import label
from .spec import Pipeline
from .structure import upstream_tasks


class Part(str, Enum):
    """What becomes of a step."""

    RUN = "run"
    TAKE = "take"
    LEAVE = "leave"


@dataclass(frozen=True)
class Selection:
    """What becomes of each step, by its path without the numbers of iterations.

    Attributes:
        run: Steps that run.
        take: Steps whose outputs are taken from an earlier run.
        reason: Why the others are left out.
        asked: What `select` was asked for, by the names of its arguments.
    """

    run: frozenset[str]
    take: frozenset[str]
    reason: str
    asked: Mapping[str, str | None]

    def part(self, path: str) -> Part:
        """Return what becomes of the step at `path`, iterations included."""
        static = without_iterations(path)
        if static in self.run:
            return Part.RUN
        return Part.TAKE if static in self.take else Part.LEAVE


def without_iterations(path: str) -> str:
    """Return a step's path without the numbers of loop iterations."""
    return "/".join(part for part in path.split("/") if not part.isdigit())


def select(
    pipeline: Pipeline, *, start: str | None, end: str | None, only: str | None
) -> Selection | None:
    """Return the selection that `--from`, `--to` and `--only` mean; None when none is given.

    Args:
        pipeline: The pipeline.
        start: This step and all that depends on it run.
        end: This step and all that it depends on run; with `start`, what lies between them.
        only: This step alone runs.

    Raises:
        PenstockError: A step is not in the pipeline, or the options contradict each other.
    """
    if not (start or end or only):
        return None
    if only and (start or end):
        raise PenstockError("--only says it all; leave out --from and --to.")
    graph = _Graph(pipeline)
    every = frozenset(graph.steps)
    if only:
        run = graph.inside(only)
        reason = f"--only {only}"
    else:
        after = graph.inside(start) | graph.after(start) if start else every
        before = graph.inside(end) | graph.before(end) if end else every
        run = after & before
        reason = " ".join(
            f"--{name} {step}" for name, step in (("from", start), ("to", end)) if step
        )
        if not run:
            raise PenstockError(f"{end} does not depend on {start}, so nothing lies between them.")
    needed = frozenset().union(*(graph.before(step) for step in run)) - run
    asked = {"start": start, "end": end, "only": only}
    return Selection(run, needed, f"left out by {reason}", asked)


_Neighbours = Callable[[dict[str, set[str]], str], set[str]]


class _Graph:
    """The steps of a pipeline and what they wait for, groups seen through."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.siblings: dict[str, dict[str, set[str]]] = {}
        self.steps: list[str] = list(self._walk(pipeline.spec.root, ""))

    def _walk(self, component: pb.ComponentSpec, prefix: str) -> Iterator[str]:
        tasks = component.dag.tasks
        self.siblings[prefix] = {name: upstream_tasks(task) for name, task in tasks.items()}
        for name, task in sorted(tasks.items()):
            inner = self.pipeline.component(task)
            if inner.WhichOneof("implementation") == "dag":
                yield from self._walk(inner, f"{prefix}{name}/")
            else:
                yield f"{prefix}{name}"

    def find(self, name: str) -> str:
        """Return the path of the step or group that a person means by `name`."""
        wanted = without_iterations(name.strip("/"))
        paths = {
            *self.steps,
            *(prefix.rstrip("/") for prefix in self.siblings if prefix),
        }
        found = [
            path
            for path in paths
            if path == wanted or path.endswith(f"/{wanted}") or label(path) == wanted
        ]
        if len(found) == 1 or wanted in found:
            return wanted if wanted in found else found[0]
        if found:
            raise PenstockError(f"{name} could be {' or '.join(sorted(found))}; give the path.")
        raise PenstockError(
            f"{self.pipeline.name} has no step {name}; it has {', '.join(self.steps)}."
        )

    def inside(self, name: str) -> frozenset[str]:
        path = self.find(name)
        return frozenset(s for s in self.steps if s == path or s.startswith(f"{path}/"))

    def before(self, name: str) -> frozenset[str]:
        return self._reach(name, lambda graph, task: graph[task])

    def after(self, name: str) -> frozenset[str]:
        return self._reach(
            name, lambda graph, task: {other for other, up in graph.items() if task in up}
        )

    def _reach(self, name: str, neighbours: _Neighbours) -> frozenset[str]:
        path = self.find(name)
        reached: set[str] = set()
        parts = path.split("/")
        for depth in range(len(parts)):
            prefix = "".join(f"{part}/" for part in parts[:depth])
            graph = self.siblings[prefix]
            waiting, seen = list(neighbours(graph, parts[depth])), set()
            while waiting:
                task = waiting.pop()
                if task not in seen:
                    seen.add(task)
                    waiting.extend(neighbours(graph, task))
                    inner = f"{prefix}{task}"
                    reached |= {s for s in self.steps if s == inner or s.startswith(f"{inner}/")}
        return frozenset(reached)
