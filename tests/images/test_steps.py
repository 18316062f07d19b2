"""Every component runs in its image as Kubeflow runs it, and gives what it gives in one process."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from .launcher import ARBITRARY, ROOT, SCHEMES, Ended, User, launch

COMPONENTS = sorted(
    path.parent.name for path in Path(__file__).parents[2].glob("components/*/component.py")
)
# Each component sees every kind of bucket as one of the users.
PLACES = {
    (component, user): list(SCHEMES)[(at + other) % len(SCHEMES)]
    for at, component in enumerate(COMPONENTS)
    for other, user in enumerate((ROOT, ARBITRARY))
}
# Where and when a step ran, and how long it took: all else is to be equal.
PASSING = {
    "started", "finished", "created", "time", "seconds", "uri", "destination", "image", "host",
}  # fmt: skip
# Keras numbers what it saves by its place in memory; what it holds is compared instead.
NUMBERED = ("saved_model.pb", "fingerprint.pb", ".keras", ".index", ".data-00000-of-00001")


@pytest.fixture(scope="module")
def launched(reference, tmp_path_factory):
    """Run a component's step again, once for each user."""
    ended: dict[tuple[str, User], Ended] = {}

    def run(component: str, user: User) -> Ended:
        if (component, user) not in ended:
            folder = tmp_path_factory.mktemp(f"{component}-{user.name}")
            execution = reference.executions[component.replace("_", "-")]
            place = PLACES[component, user]
            ended[component, user] = launch(reference.compiled, execution, user, place, folder)
        return ended[component, user]

    return run


@pytest.mark.parametrize("user", [ROOT, ARBITRARY], ids=lambda user: user.name)
@pytest.mark.parametrize("component", COMPONENTS)
def test_component_in_its_image_gives_what_it_gives_in_one_process(
    reference, launched, component, user
):
    expected = reference.executions[component.replace("_", "-")]

    ended = launched(component, user)

    assert ended.code == 0, ended.log
    assert ended.output.get("parameterValues", {}) == expected.output_parameters
    assert {path.name for path in ended.bucket.iterdir()} == set(expected.outputs)
    described = ended.output["artifacts"]
    for name, (artifact,) in expected.outputs.items():
        made = reference.compiled.parent / Path(artifact.uri).relative_to("/house")
        assert content(ended.bucket / name) == content(made)
        assert lasting(described[name]["artifacts"][0]["metadata"]) == lasting(artifact.metadata)


def content(artifact: Path) -> dict[str, Any]:
    """Return what an artifact holds, by file: what cannot be the same in two runs is left out."""
    if artifact.is_file():
        return {"": artifact.read_bytes()}
    held: dict[str, Any] = {}
    for path in sorted(artifact.rglob("*")):
        name = path.relative_to(artifact).as_posix()
        if path.name == "variables.index":
            held[name] = weights(path.with_suffix(""))
        elif path.is_dir() or path.name.endswith(NUMBERED) or "tfevents" in name:
            continue
        elif path.suffix == ".json":
            held[name] = lasting(json.loads(path.read_text()))
        else:
            held[name] = path.read_bytes()
    return held


def weights(prefix: Path) -> list[tuple[tuple[int, ...], bytes]]:
    """Return the tensors of a checkpoint, sorted, without their names."""
    reader = tf.train.load_checkpoint(str(prefix))
    tensors = [reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if n[0] != "_"]
    return sorted((tensor.shape, tensor.tobytes()) for tensor in tensors)


def lasting(value: Any) -> Any:
    """Return JSON without what passes."""
    if isinstance(value, dict):
        return {name: lasting(held) for name, held in value.items() if name not in PASSING}
    if isinstance(value, list):
        return [lasting(held) for held in value]
    return value
