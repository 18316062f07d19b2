"""Lineage is what a search through everything recorded would find, and its picture is whole."""

import hashlib
import xml.etree.ElementTree as ET
from collections import defaultdict
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.metadata.integrity import problems
from penstock.metadata.layers import lay_out
from penstock.metadata.lineage import lineage
from penstock.metadata.picture import draw
from penstock.metadata.values import Artifact, ExecutionState

COMPLETE, CACHED, FAILED = (
    ExecutionState.COMPLETE,
    ExecutionState.CACHED,
    ExecutionState.FAILED,
)
SVG = "{http://www.w3.org/2000/svg}"


def digest(name):
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


@pytest.fixture
def chain(store):
    """Examples to a model to a blessing, in run r1; then again from the cache, in run r2."""
    made = {}
    for run in ("r1", "r2"):
        store.start_run(run, "flights", "d", {}, f"/runs/{run}")
        for task, inputs, outputs in (
            ("example_gen", (), ("examples",)),
            ("trainer", ("examples",), ("model", "metrics")),
            ("evaluator", ("examples", "model"), ("blessing",)),
        ):
            given_ = {name: (made[name],) for name in inputs}
            if run == "r1":
                new = {
                    name: (Artifact(f"/runs/r1/{task}/{name}", "system.X", name, digest(name)),)
                    for name in outputs
                }
                step = store.record(run, task, task, COMPLETE, inputs=given_, outputs=new)
                made.update({name: artifacts[0] for name, artifacts in step.outputs.items()})
            else:
                old = {name: (made[name],) for name in outputs}
                store.record(run, task, task, CACHED, inputs=given_, outputs=old)
    return made


def tasks(steps):
    return [step.task for step in steps]


def test_origins_and_uses_are_found(store, chain):
    found = lineage(store, chain["model"])

    assert tasks(found.origins) == ["trainer", "example_gen"]
    assert tasks(found.uses) == ["evaluator"]
    assert {a.name for a in found.artifacts.values()} == {*chain}
    assert not found.truncated


def test_cached_steps_that_repeat_others_are_counted_only(store, chain):
    found = lineage(store, chain["examples"])

    assert [step.run_id for step in found.uses] == ["r1", "r1"]
    assert found.repeated == 2


def test_cached_step_that_used_another_copy_is_shown(store, chain):
    copy = Artifact("/elsewhere/examples", digest=digest("examples"))
    step = store.record(
        "r2", "again", "trainer", CACHED, inputs={"e": (copy,)}, outputs={"m": (chain["model"],)}
    )

    found = lineage(store, step.inputs["e"][0])

    assert tasks(found.uses) == ["again", "evaluator"]
    assert tasks(lineage(store, chain["model"]).origins) == ["trainer", "example_gen"]


def test_a_failed_step_was_led_to(store, chain):
    store.record("r2", "pusher", "pusher", FAILED, inputs={"m": (chain["model"],)})

    found = lineage(store, chain["model"])

    assert [(step.task, step.state) for step in found.uses][-1] == ("pusher", FAILED)


def test_depth_limits_both_directions_and_says_so(store, chain):
    found = lineage(store, chain["model"], depth=1)

    assert tasks(found.origins) == ["trainer"] and tasks(found.uses) == ["evaluator"]
    assert found.truncated


def test_limit_keeps_what_is_nearest(store):
    store.start_run("r1", "flights", "d", {}, "/runs/r1")
    made = [Artifact("/0", digest="0")]
    for number in range(1, 30):
        step = store.record(
            "r1",
            f"t{number}",
            "c",
            COMPLETE,
            inputs={"i": (made[-1],)} if number > 1 else {},
            outputs={"o": (Artifact(f"/{number}", digest=str(number)),)},
        )
        made.append(step.outputs["o"][0])

    found = lineage(store, made[15], limit=4)

    assert found.truncated
    assert tasks(found.origins)[:4] == ["t15", "t14", "t13", "t12"]
    assert tasks(found.uses)[:3] == ["t16", "t17", "t18"]
    assert len(found.origins) <= 5 and len(found.uses) <= 5


histories = st.lists(
    st.tuples(st.sets(st.integers(0, 40), max_size=3), st.integers(0, 3)), min_size=1, max_size=14
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories, data=st.data())
def test_lineage_is_what_a_search_finds(store, history, data):
    run = f"r{len(store.runs())}"
    store.start_run(run, "flights", "d", {}, f"/runs/{run}")
    made, consumed, produced = [], defaultdict(set), defaultdict(set)
    for number, (wanted, count) in enumerate(history):
        inputs = [made[i % len(made)] for i in wanted] if made else []
        new = tuple(
            Artifact(f"/{run}/{number}/{k}", digest=f"{run}{number}{k}") for k in range(count)
        )
        step = store.record(
            run, f"t{number}", "c", COMPLETE, inputs={"i": tuple(inputs)}, outputs={"o": new}
        )
        made += step.outputs.get("o", ())
        consumed[f"t{number}"] = {a.id for a in inputs}
        produced[f"t{number}"] = {a.id for a in step.outputs.get("o", ())}
    if not made:
        return
    start = data.draw(st.sampled_from(made))

    def search(sources, targets):
        reached, steps, front = {start.id}, set(), [start.id]
        while front:
            here = front.pop()
            for task in sources:
                if here in sources[task]:
                    steps.add(task)
                    new = targets[task] - reached
                    reached |= new
                    front += new
        return steps

    found = lineage(store, start)

    assert set(tasks(found.origins)) == search(produced, consumed)
    assert set(tasks(found.uses)) == search(consumed, produced)
    assert problems(store) == []
    check_picture(draw(found), found)


def check_picture(text, found):
    """Every artifact and step is drawn once, inside the picture, and no two boxes overlap."""
    picture = ET.fromstring(text)
    groups = picture.findall(f"{SVG}g")
    steps = {step.id for step in (*found.origins, *found.uses)}
    assert sum(g.get("class") == "artifact" for g in groups) == len(found.artifacts)
    assert sum(g.get("class") == "step" for g in groups) == len(steps)
    _, _, width, height = map(float, picture.get("viewBox").split())
    boxes = []
    for group in groups:
        rectangle = group.find(f"{SVG}rect")
        x, y, w, h = (float(rectangle.get(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width + 1 and y + h <= height + 1
        boxes.append((x, y, x + w, y + h))
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_picture_of_a_chain_marks_the_artifact_in_question(store, chain):
    picture = ET.fromstring(draw(lineage(store, chain["model"])))

    thick = [
        group
        for group in picture.findall(f"{SVG}g")
        if group.find(f"{SVG}rect").get("stroke-width") == "3"
    ]
    (focus,) = thick
    assert "trainer → model" in [line.text for line in focus.findall(f"{SVG}text")]


def test_names_are_escaped_in_the_picture(store):
    store.start_run("r1", "a<b>&c", "d", {}, "/runs/r1")
    step = store.record(
        "r1", "<t>", "c", COMPLETE, outputs={"o": (Artifact("/x", name="<&>", digest="d"),)}
    )

    check_picture(draw(lineage(store, step.outputs["o"][0])), lineage(store, step.outputs["o"][0]))


@given(
    edges=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda e: e[0] < e[1]),
        max_size=25,
        unique=True,
    )
)
@settings(deadline=None)
def test_edges_go_from_left_to_right_and_nothing_touches(edges):
    heights = dict.fromkeys(range(10), 20.0)

    layout = lay_out(heights, edges, 8.0)

    assert all(layout.column[a] < layout.column[b] for a, b in edges)
    for a, b in combinations(heights, 2):
        if layout.column[a] == layout.column[b]:
            assert abs(layout.middle[a] - layout.middle[b]) >= 28 - 1e-6
    for (a, b), route in layout.routes.items():
        assert len(route) == layout.column[b] - layout.column[a] - 1


@pytest.mark.parametrize(
    "text",
    [
        "/runs/r1/trainer/model",
        "/runs/r1/trainer/model/serving/saved_model.pb",
        digest("model"),
        digest("model")[:12],
        "trainer/model@r1",
        "model@latest",
        "model@r2",
    ],
)
def test_artifact_is_found_by_what_people_call_it(store, chain, text):
    assert store.find(text).id == chain["model"].id


def test_artifact_is_found_by_number_and_short_digest(store, chain):
    store.record(
        "r2", "t", "c", COMPLETE, outputs={"o": (Artifact("/y", digest="sha256:abcdef0123"),)}
    )

    assert store.find(str(chain["model"].id)).name == "model"
    assert store.find("abcdef").uri == "/y"
    assert store.find("sha256:abcdef01").uri == "/y"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/nowhere", "knows no artifact /nowhere; give its number"),
        ("999", "has no artifact 999"),
        ("banana@r1", "Run r1 made no artifact named banana; it made evaluator/blessing, example"),
        ("trainer@r1", "Run r1 made several artifacts named trainer; it made trainer/metrics, tr"),
        ("model@nowhere", "knows no run nowhere"),
    ],
)
def test_artifact_that_is_not_found(store, chain, text, sentence):
    with pytest.raises(PenstockError, match=sentence):
        store.find(text)


def test_digest_that_several_share_the_beginning_of(store, chain):
    for digest in ("sha256:abcdef01", "sha256:abcdef02"):
        store.record(
            "r1",
            digest[-2:],
            "c",
            COMPLETE,
            outputs={"o": (Artifact(f"/{digest}", digest=digest),)},
        )

    with pytest.raises(PenstockError, match="Several artifacts have a digest that begins with"):
        store.find("abcdef")


def test_item_of_a_list_is_found_by_its_index(store, chain):
    models = tuple(Artifact(f"/models/{n}", digest=f"sha256:m{n}") for n in range(3))
    store.record("r1", "loop", "c", COMPLETE, outputs={"models": models})

    assert store.find("loop/models[1]@r1").uri == "/models/1"
    with pytest.raises(PenstockError, match=r"several .* loop/models\[0\], loop/models\[1\]"):
        store.find("loop/models@r1")
