"""Random pipelines: the runner against a reference interpreter that fits on a page.

PENSTOCK_EXAMPLES sets how many, drawn anew each time.
"""

import os
from collections import Counter
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from kfp import dsl
from kfp.compiler import Compiler

from penstock.errors import PenstockError
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, run_pipeline
from penstock.orchestration.spec import parse

component = dsl.component(base_image="none", install_kfp_package=False)
OPERATORS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}


@component
def mix(salt: int, a: int, b: int) -> int:
    value = (31 * a + 7 * b + salt) % 100
    if value % 11 == 3:
        raise RuntimeError("this value fails")
    return value


@component
def total(salt: int, values: list) -> int:
    return (sum(values) + salt) % 100


@dataclass(frozen=True)
class Step:
    """`mix` on two earlier values, by their distance back."""

    salt: int
    a: int
    b: int


@dataclass(frozen=True)
class Branch:
    """`if value <operator> bound: ... else: ...`, whose OneOf is the next value."""

    value: int
    operator: str
    bound: int
    then: tuple
    otherwise: tuple


@dataclass(frozen=True)
class Loop:
    """Over literal items; `total` of the collected last values is the next value."""

    salt: int
    items: tuple
    body: tuple


salts, distances = st.integers(0, 10**6), st.integers(0, 5)
steps = st.builds(Step, salts, distances, distances)


def blocks(inner):
    return st.tuples(steps) | st.lists(inner, min_size=1, max_size=4).map(tuple).flatmap(
        lambda nodes: steps.map(lambda last: (*nodes, last))
    )


nodes = st.recursive(
    steps,
    lambda inner: st.one_of(
        inner,
        st.builds(
            Branch,
            distances,
            st.sampled_from(sorted(OPERATORS)),
            st.integers(0, 100),
            blocks(inner),
            blocks(inner),
        ),
        st.builds(
            Loop, salts, st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple),
            blocks(inner),
        ),
    ),
    max_leaves=8,
)  # fmt: skip


def outer(block, size):
    """Positions below `size` that a block reads."""
    read, base = set(), size
    for node in block:
        if isinstance(node, Step):
            read |= {size - 1 - node.a % size, size - 1 - node.b % size}
        elif isinstance(node, Branch):
            read |= {size - 1 - node.value % size}
            read |= outer(node.then, size) | outer(node.otherwise, size)
        else:
            read |= outer(node.body, size + 1) - {size}
        size += 1
    return {position for position in read if position < base}


def reference(block, known, ran):
    """Interpret a block: its last value, or None when a step in it failed or was skipped."""
    base, known = len(known), list(known)
    for node in block:
        value = None
        if all(known[position] is not None for position in outer([node], len(known))):
            if isinstance(node, Step):
                a, b = known[-1 - node.a % len(known)], known[-1 - node.b % len(known)]
                value = (31 * a + 7 * b + node.salt) % 100
                value = None if value % 11 == 3 else value
                ran[node.salt, a, b, value] += 1
            elif isinstance(node, Branch):
                tested = known[-1 - node.value % len(known)]
                taken = OPERATORS[node.operator](tested, node.bound)
                value = reference(node.then if taken else node.otherwise, known, ran)
            else:
                last = [reference(node.body, [*known, item], ran) for item in node.items]
                if None not in last:
                    value = (sum(last) + node.salt) % 100
                    ran[(node.salt, *last, value)] += 1
        known.append(value)
    return None if None in known[base:] else known[-1]


def build(block, known):
    """The same block as KFP tasks."""
    known = list(known)
    for node in block:
        if isinstance(node, Step):
            a, b = known[-1 - node.a % len(known)], known[-1 - node.b % len(known)]
            known.append(mix(salt=node.salt, a=a, b=b).output)
        elif isinstance(node, Branch):
            tested = known[-1 - node.value % len(known)]
            with dsl.If(OPERATORS[node.operator](tested, node.bound)):
                then = build(node.then, known)
            with dsl.Else():
                otherwise = build(node.otherwise, known)
            known.append(dsl.OneOf(then, otherwise))
        else:
            with dsl.ParallelFor(list(node.items)) as item:
                last = build(node.body, [*known, item])
            known.append(total(salt=node.salt, values=dsl.Collected(last)).output)
    return known[-1]


def executed(report):
    ran = Counter()
    for step in report.steps:
        if step.log is not None:
            given = step.inputs.parameters
            values = given.get("values") or [given["a"], given["b"]]
            ran[(given["salt"], *values, step.outputs.parameters.get("Output"))] += 1
    return ran


@settings(
    max_examples=int(os.environ.get("PENSTOCK_EXAMPLES", "40")),
    deadline=None,
    derandomize="PENSTOCK_EXAMPLES" not in os.environ,
    # Each example is a run, so that shrinking one would take minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(block=st.lists(nodes, min_size=1, max_size=5), start=st.integers(0, 99))
def test_the_runner_agrees_with_the_reference(block, start, shared_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")

    def pipeline(n: int):
        build(block, [n])

    try:
        pipeline = dsl.pipeline(pipeline)
        Compiler().compile(pipeline, str(folder / "pipeline.yaml"))
        compiled = parse((folder / "pipeline.yaml").read_text(), "pipeline.yaml")
    except (AssertionError, KeyError, RuntimeError, ValueError):
        assume(False)  # what KFP's compiler cannot express

    expected = Counter()
    result = reference(block, [start], expected)
    try:
        report = run_pipeline(
            compiled, {"n": start}, Settings(shared_root, workers=2, use_cache=False)
        )
    except PenstockError as error:
        assume("KFP's compiler loses" not in str(error))
        raise

    assert {step.reason for step in report.failures()} <= {"RuntimeError: this value fails"}
    assert executed(report) == expected
    assert report.state is (State.FAILED if result is None else State.SUCCEEDED)
