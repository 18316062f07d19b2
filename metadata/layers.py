"""Places the nodes of a directed graph without circles in columns, so that edges cross little.

The method is Sugiyama's: columns by the longest path, each long edge cut by waypoints, the order
within a column by the neighbours' mean, heights by the same with a least distance (K. Sugiyama,
S. Tagawa, M. Toda: Methods for Visual Understanding of Hierarchical System Structures, 1981).
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)
SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        column: The column of each node, from 0.
        middle: The height of each node's middle, from the top.
        routes: The heights, per edge, at each column it passes between its ends.
    """

    column: Mapping[Hashable, int]
    middle: Mapping[Hashable, float]
    routes: Mapping[tuple[Hashable, Hashable], Sequence[float]]


def lay_out(
    heights: Mapping[Hashable, float], edges: Sequence[tuple[Hashable, Hashable]], gap: float
) -> Layout:
    """Return where to draw each node.

    Args:
        heights: Each node's height; the order is kept where nothing else decides.
        edges: From left to right; no circles.
        gap: The least distance between two nodes of a column.
    """
    column = _columns(list(heights), edges)
    waypoints: dict[tuple[Hashable, Hashable], list[Hashable]] = {}
    size: dict[Hashable, float] = dict(heights)
    links: list[tuple[Hashable, Hashable]] = []
    columns: dict[int, list[Hashable]] = defaultdict(list)
    for node in heights:
        columns[column[node]].append(node)
    for edge in edges:
        points: list[Hashable] = [(edge, x) for x in range(column[edge[0]] + 1, column[edge[1]])]
        waypoints[edge] = points
        for point, x in zip(points, range(column[edge[0]] + 1, column[edge[1]]), strict=True):
            size[point] = 0.0
            columns[x].append(point)
        links += pairwise([edge[0], *points, edge[1]])
    order = [columns[x] for x in range(len(columns))]
    before, after = _neighbours(links)
    _untangle(order, before, after)
    middle = _heights(order, before, after, size, gap)
    top = min(middle[node] - size[node] / 2 for node in middle)
    middle = {node: y - top for node, y in middle.items()}
    return Layout(
        column=column,
        middle={node: middle[node] for node in heights},
        routes={edge: [middle[point] for point in points] for edge, points in waypoints.items()},
    )


def _columns(
    nodes: Sequence[Hashable], edges: Sequence[tuple[Hashable, Hashable]]
) -> dict[Hashable, int]:
    """Return each node's column: right of all it comes from, and close to what comes of it."""
    before, after = _neighbours(edges)
    waiting = {node: len(before[node]) for node in nodes}
    ready = [node for node in nodes if not waiting[node]]
    column = dict.fromkeys(nodes, 0)
    sequence = []
    while ready:
        node = ready.pop(0)
        sequence.append(node)
        for other in after[node]:
            column[other] = max(column[other], column[node] + 1)
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    for node in reversed(sequence):
        if after[node] and not before[node]:
            column[node] = min(column[other] for other in after[node]) - 1
    return column


def _neighbours(
    edges: Sequence[tuple[Hashable, Hashable]],
) -> tuple[dict[Hashable, list[Hashable]], dict[Hashable, list[Hashable]]]:
    before: dict[Hashable, list[Hashable]] = defaultdict(list)
    after: dict[Hashable, list[Hashable]] = defaultdict(list)
    for left, right in edges:
        before[right].append(left)
        after[left].append(right)
    return before, after


def _untangle(
    order: list[list[Hashable]],
    before: Mapping[Hashable, list[Hashable]],
    after: Mapping[Hashable, list[Hashable]],
) -> None:
    for sweep in range(SWEEPS):
        rightward = sweep % 2 == 0
        for nodes in order if rightward else reversed(order):
            place = {node: i for column in order for i, node in enumerate(column)}
            near = before if rightward else after

            def mean(node: Hashable, near=near, place=place) -> float:  # type: ignore[no-untyped-def]
                around = [place[other] for other in near[node]]
                return sum(around) / len(around) if around else place[node]

            nodes.sort(key=mean)


def _heights(
    order: Sequence[Sequence[Hashable]],
    before: Mapping[Hashable, list[Hashable]],
    after: Mapping[Hashable, list[Hashable]],
    size: Mapping[Hashable, float],
    gap: float,
) -> dict[Hashable, float]:
    """Return the middles, each as near to its neighbours' mean as the least distance allows."""
    middle: dict[Hashable, float] = {}
    for nodes in order:
        y = 0.0
        for node in nodes:
            middle[node] = y + size[node] / 2
            y += size[node] + gap
    for sweep in range(SWEEPS):
        for nodes in order if sweep % 2 == 0 else reversed(order):
            wanted = []
            for node in nodes:
                near = [*before[node], *after[node]]
                wanted.append(sum(middle[n] for n in near) / len(near) if near else middle[node])
            for node, y in zip(nodes, _apart(nodes, wanted, size, gap), strict=True):
                middle[node] = y
    return middle


def _apart(
    nodes: Sequence[Hashable],
    wanted: Sequence[float],
    size: Mapping[Hashable, float],
    gap: float,
) -> list[float]:
    """Return heights in this order and apart, with the least squared distance from those wanted.

    With the distances subtracted it is isotonic regression, solved by pooling neighbours that
    want to change places (R. E. Barlow et al.: Statistical Inference under Order Restrictions).
    """
    offsets = [0.0]
    for left, right in pairwise(nodes):
        offsets.append(offsets[-1] + (size[left] + size[right]) / 2 + gap)
    pools: list[tuple[float, int]] = []
    for target, offset in zip(wanted, offsets, strict=True):
        total, count = target - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            other, more = pools.pop()
            total, count = total + other, count + more
        pools.append((total, count))
    levels = [total / count for total, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]
