"""The picture of a lineage: artifacts and steps from left to right, as SVG."""

from collections.abc import Hashable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from .layers import Layout, lay_out
from .lineage import Lineage, Step
from .values import Artifact, ArtifactState, ExecutionState

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
MARGIN, GAP, BETWEEN = 28.0, 18.0, 76.0
LINE = 17.0
COLOURS = {
    "Examples": "#2f6fb4",
    "Dataset": "#2f6fb4",
    "Statistics": "#5b8f3a",
    "Schema": "#5b8f3a",
    "Anomalies": "#5b8f3a",
    "TransformGraph": "#8a5fb0",
    "Model": "#c2571a",
    "PushedModel": "#c2571a",
    "Evaluation": "#b0912a",
    "Blessing": "#b0912a",
    "Metrics": "#b0912a",
}
OTHER = "#7a8794"
STEPS = {
    ExecutionState.FAILED: ("#fbe9e7", "#b3261e"),
    ExecutionState.CACHED: ("#e6f4f7", "#37737f"),
}
STEP = ("#eef1f5", "#5c6a79")


@dataclass(frozen=True)
class Box:
    """A node: lines of text, the first one bold."""

    lines: tuple[str, ...]
    kind: str
    edge: str
    fill: str = "#ffffff"
    thick: bool = False
    dashed: bool = False

    @property
    def width(self) -> float:
        """How wide it must be, by an estimate of the letters' widths."""
        bold, *others = self.lines
        return max([len(bold) * 7.6, *(len(line) * 6.4 for line in others)]) + 30

    @property
    def height(self) -> float:
        """How high it must be."""
        return len(self.lines) * LINE + 15


def draw(lineage: Lineage) -> str:
    """Return a lineage as an SVG document.

    Artifacts are boxes, coloured by type, the one in question with a thick border and those that
    were deleted with a dashed one. Steps are rounded.

    Args:
        lineage: What to draw; hundreds of nodes are fine, thousands are no picture any more.
    """
    steps = {step.id: step for step in (*lineage.origins, *lineage.uses)}
    made_by = {id: step for step in steps.values() for id in step.outputs}
    boxes: dict[Hashable, Box] = {}
    edges: dict[tuple[Hashable, Hashable], None] = {}
    for artifact_id, artifact in lineage.artifacts.items():
        focus = artifact_id == lineage.artifact.id
        boxes["artifact", artifact_id] = _artifact(artifact, made_by.get(artifact_id), focus)
    for step in steps.values():
        boxes["step", step.id] = _step(step)
        edges.update({(("artifact", id), ("step", step.id)): None for id in step.inputs})
        # What a cached step hands on came from elsewhere: an edge back to it could close a circle.
        if step.state is not ExecutionState.CACHED:
            edges.update({(("step", step.id), ("artifact", id)): None for id in step.outputs})
    layout = lay_out({node: box.height for node, box in boxes.items()}, list(edges), GAP)
    return _document(boxes, layout)


def _artifact(artifact: Artifact, maker: Step | None, focus: bool) -> Box:
    kind = artifact.type.removeprefix("system.")
    name = f"{maker.task} → {artifact.name}" if maker and artifact.name else artifact.name
    digest = (artifact.digest or "").removeprefix("sha256:")[:8]
    deleted = artifact.state is not ArtifactState.LIVE
    lines = (
        kind,
        _clip(name or artifact.uri),
        f"#{artifact.id}" + (f"  {digest}" if digest else "") + ("  deleted" if deleted else ""),
    )
    return Box(lines, "artifact", COLOURS.get(kind, OTHER), thick=focus, dashed=deleted)


def _step(step: Step) -> Box:
    fill, edge = STEPS.get(step.state, STEP)
    word = "" if step.state is ExecutionState.COMPLETE else f"  {step.state.value.lower()}"
    return Box((_clip(step.task), f"{step.pipeline} {step.run_id}{word}"), "step", edge, fill)


def _clip(text: str) -> str:
    """Shorten at the front, where paths differ least."""
    return text if len(text) <= 40 else f"…{text[-39:]}"


def _document(boxes: dict[Hashable, Box], layout: Layout) -> str:
    columns = max(layout.column.values()) + 1
    widths = [0.0] * columns
    for node, box in boxes.items():
        widths[layout.column[node]] = max(widths[layout.column[node]], box.width)
    lefts = [MARGIN]
    for width in widths:
        lefts.append(lefts[-1] + width + BETWEEN)
    width = lefts[-1] - BETWEEN + MARGIN
    bottom = max(layout.middle[node] + box.height / 2 for node, box in boxes.items())
    reach = max([bottom, *(y for route in layout.routes.values() for y in route)])
    body = [_edge(edge, boxes, layout, lefts, widths) for edge in layout.routes]
    body += [
        _box(
            box,
            lefts[layout.column[node]],
            layout.middle[node] + MARGIN,
            widths[layout.column[node]],
        )
        for node, box in boxes.items()
    ]
    height = reach + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" style="max-width:100%;height:auto" '
            f'font-family="{FONT}">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0.8 L7.4 4 L0 7.2 z" fill="#9aa5b1"/>'
            "</marker></defs>",
            *body,
            "</svg>\n",
        ]
    )


def _edge(
    edge: tuple[Hashable, Hashable],
    boxes: dict[Hashable, Box],
    layout: Layout,
    lefts: list[float],
    widths: list[float],
) -> str:
    start, end = edge
    x = lefts[layout.column[start]] + _inset(boxes[start], widths[layout.column[start]])[1]
    y = layout.middle[start] + MARGIN
    path = [f"M{x:.1f} {y:.1f}"]
    stops = [
        (lefts[layout.column[start] + 1 + i], widths[layout.column[start] + 1 + i], height + MARGIN)
        for i, height in enumerate(layout.routes[edge])
    ]
    for left, wide, height in stops:
        path += [_curve(x, y, left, height), f"H{left + wide:.1f}"]
        x, y = left + wide, height
    last = layout.column[end]
    goal = lefts[last] + _inset(boxes[end], widths[last])[0]
    path.append(_curve(x, y, goal, layout.middle[end] + MARGIN))
    return (
        f'<path d="{" ".join(path)}" fill="none" stroke="#9aa5b1" stroke-width="1.4" '
        'marker-end="url(#tip)"/>'
    )


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (to_x - x) / 2
    return f"C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"


def _inset(box: Box, wide: float) -> tuple[float, float]:
    """Return where a box begins and ends in its column: in the middle of it."""
    space = (wide - box.width) / 2
    return space, wide - space


def _box(box: Box, left: float, middle: float, wide: float) -> str:
    x = left + _inset(box, wide)[0]
    y = middle - box.height / 2
    radius = 6 if box.kind == "artifact" else box.height / 2
    dashes = ' stroke-dasharray="5 4"' if box.dashed else ""
    parts = [
        f'<g class="{box.kind}"><rect x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius:.1f}" fill="{box.fill}" stroke="{box.edge}" '
        f'stroke-width="{3 if box.thick else 1.3}"{dashes}/>'
    ]
    for number, line in enumerate(box.lines):
        look = (
            f'font-size="13" font-weight="600" fill="{box.edge}"'
            if number == 0
            else 'font-size="11" fill="#4a5560"'
        )
        at = y + 7 + LINE * number + 13
        parts.append(
            f'<text x="{x + box.width / 2:.1f}" y="{at:.1f}" text-anchor="middle" {look}>'
            f"{escape(line)}</text>"
        )
    return "".join([*parts, "</g>"])
