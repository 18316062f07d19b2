"""Two runs side by side."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .executions import Executions
from .values import Artifact, Execution, ExecutionState, Run

METRICS = ("system.Metrics", "system.ClassificationMetrics")


@dataclass(frozen=True)
class Pair:
    """One thing of two runs.

    Attributes:
        name: What it is: a parameter, `step`, `step/output` or `step/output.metric`.
        left: What it is in the first run; None when it has no such thing.
        right: What it is in the second.
        same: Whether both runs have it, and the same.
        known: Whether that can be told: of an artifact without a digest it cannot.
    """

    name: str
    left: Any
    right: Any
    same: bool
    known: bool = True


@dataclass(frozen=True)
class Comparison:
    """Two runs, side by side; each part ordered by name, the steps as they ran.

    Attributes:
        left: The first run.
        right: The second.
        parameters: The pipelines' parameters.
        steps: How each step ended.
        outputs: The steps' output parameters.
        artifacts: The digests of what the steps produced.
        metrics: The metrics that the steps recorded.
    """

    left: Run
    right: Run
    parameters: tuple[Pair, ...]
    steps: tuple[Pair, ...]
    outputs: tuple[Pair, ...]
    artifacts: tuple[Pair, ...]
    metrics: tuple[Pair, ...]


def steps_of(executions: Iterable[Execution]) -> list[Execution]:
    """Return the last execution of each step, ordered by when the step first started."""
    last: dict[str, Execution] = {}
    for execution in executions:
        last[execution.task] = execution
    return list(last.values())


def metrics_of(step: Execution) -> dict[str, Any]:
    """Return what a step's metrics artifacts say, as `step/output.metric`."""
    return {
        f"{place}.{name}": value
        for place, artifact in artifacts_of(step).items()
        if artifact.type in METRICS
        for name, value in artifact.metadata.items()
        if name not in ("summary", "display_name") and isinstance(value, bool | int | float | str)
    }


def artifacts_of(step: Execution) -> dict[str, Artifact]:
    """Return a step's output artifacts as `step/output`, with an index where it is a list."""
    return {
        f"{step.task}/{name}" + (f"[{index}]" if len(artifacts) > 1 else ""): artifact
        for name, artifacts in step.outputs.items()
        for index, artifact in enumerate(artifacts)
    }


def compare(store: Executions, left: Run, right: Run) -> Comparison:
    """Return two runs side by side."""
    sides = [steps_of(store.executions(run.id)) for run in (left, right)]
    digests: list[dict[str, str]] = []
    unknown: set[str] = set()
    for steps in sides:
        made = {place: a for step in steps for place, a in artifacts_of(step).items()}
        unknown |= {place for place, artifact in made.items() if artifact.digest is None}
        digests.append({place: artifact.digest or artifact.uri for place, artifact in made.items()})
    return Comparison(
        left=left,
        right=right,
        parameters=_pairs(left.parameters, right.parameters),
        steps=_ends(*({step.task: step.state for step in steps} for steps in sides)),
        outputs=_pairs(*(_outputs(steps) for steps in sides)),
        artifacts=_pairs(*digests, unknown=unknown),
        metrics=_pairs(
            *({k: v for step in steps for k, v in metrics_of(step).items()} for steps in sides)
        ),
    )


def _outputs(steps: Iterable[Execution]) -> dict[str, Any]:
    return {
        f"{step.task}/{name}": value
        for step in steps
        for name, value in step.output_parameters.items()
    }


def _ends(
    left: Mapping[str, ExecutionState], right: Mapping[str, ExecutionState]
) -> tuple[Pair, ...]:
    """Return how steps ended; what was found in the cache counts as complete."""

    def end(states: Mapping[str, ExecutionState], task: str) -> str | None:
        state = states.get(task)
        return None if state is None else state.value

    def outcome(word: str | None) -> str | None:
        return ExecutionState.COMPLETE.value if word == ExecutionState.CACHED.value else word

    pairs = [(task, end(left, task), end(right, task)) for task in dict.fromkeys([*left, *right])]
    return tuple(Pair(task, a, b, outcome(a) == outcome(b)) for task, a, b in pairs)


def _pairs(
    left: Mapping[str, Any], right: Mapping[str, Any], *, unknown: Iterable[str] = ()
) -> tuple[Pair, ...]:
    doubtful = set(unknown)
    pairs = []
    for name in sorted({*left, *right}):
        same = name in left and name in right and left[name] == right[name]
        known = name not in doubtful
        pairs.append(Pair(name, left.get(name), right.get(name), same and known, known))
    return tuple(pairs)
