"""Every component runs in its image as Kubeflow runs it, and gives what it gives in one process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

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
    "began", "started", "finished", "created", "time", "seconds", "uri", "destination", "image",
    "host",
}  # fmt: skip
# Who measures how fast this machine is, in which words and numbers, and the pages of them.
MEASURED = {"infra_validator": {"words", "value", "reason", "summary"}, "tuner": set()}
PAGES = {"report", "summary", "infra_blessing.html"}
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
    task = component.replace("_", "-")
    (folder,) = reference.compiled.parent.glob(f"runs/*/*/{task}")
    expected = json.loads((folder / "executor_output.json").read_text())

    ended = launched(component, user)

    assert ended.code == 0, ended.log
    passing = PASSING | MEASURED.get(component, set())
    assert lasting(ended.output, passing) == lasting(expected, passing)
    names = set(reference.executions[task].outputs)
    assert {path.name for path in ended.bucket.iterdir()} == {
        name for name in names if (folder / name).exists()
    }
    pages = PAGES if component in MEASURED else set()
    for name in names:
        assert content(ended.bucket / name, passing, pages) == content(
            folder / name, passing, pages
        )


def content(artifact: Path, passing: set[str], pages: set[str]) -> dict[str, Any]:
    """Return what an artifact holds, by file: what cannot be the same in two runs is left out."""
    files = sorted(artifact.rglob("*")) if artifact.is_dir() else [artifact]
    held: dict[str, Any] = {}
    for path in files:
        name = path.relative_to(artifact.parent).as_posix()
        if path.name == "variables.index":
            held[name] = weights(path.with_suffix(""))
        elif not path.is_file() or path.name.endswith(NUMBERED) or "tfevents" in name:
            continue
        elif path.suffix == ".json":
            held[name] = lasting(json.loads(path.read_text()), passing)
        elif path.suffix == ".parquet" and pages:
            table = pq.read_table(path)
            held[name] = table.select([n for n in table.column_names if n not in passing])
        elif path.name not in pages:
            held[name] = path.read_bytes()
    return held


def weights(prefix: Path) -> list[tuple[tuple[int, ...], str, Any]]:
    """Return the tensors of a checkpoint, sorted, without their names."""
    import tensorflow as tf  # only where there is an image to test

    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith("_")]
    tensors = [np.asarray(reader.get_tensor(name)) for name in names]
    return sorted((tensor.shape, str(tensor.dtype), tensor.tolist()) for tensor in tensors)


def lasting(value: Any, passing: set[str]) -> str:
    """Return JSON without what passes, as text, since a NaN is not even itself."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(held) for name, held in value.items() if name not in passing}
        return [kept(held) for held in value] if isinstance(value, list) else value

    return json.dumps(kept(value), sort_keys=True)
