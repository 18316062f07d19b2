"""`penstock runs`, `penstock lineage` and `penstock gc`, as they are called."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.main import cli
from penstock.errors import PenstockError
from penstock.metadata.store import Store
from penstock.metadata.values import Artifact, ExecutionState, RunState

COMPLETE, CACHED, FAILED, CANCELED = (
    ExecutionState.COMPLETE,
    ExecutionState.CACHED,
    ExecutionState.FAILED,
    ExecutionState.CANCELED,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two runs of one pipeline: the second took its examples from the cache and failed."""
    folder = tmp_path_factory.mktemp("runs")
    with Store.open(folder / "metadata.sqlite") as store:
        for run_id, auc in (("20260101-aa", 0.71), ("20260102-bb", 0.58)):
            own = folder / "flights" / run_id
            store.start_run(run_id, "flights", "d", {"steps": 500, "auc": auc}, own)
            if auc > 0.6:
                outputs = {"examples": (place(own, "gen", "examples", "Examples"),)}
                gen = store.record(run_id, "gen", "gen", COMPLETE, cache_key="gen", outputs=outputs)
            else:
                earlier = store.find_cached("gen").outputs
                gen = store.record(run_id, "gen", "gen", CACHED, outputs=earlier)
            outputs = {
                "model": (place(own, "train", "model", "Model"),),
                "metrics": (place(own, "train", "metrics", "Metrics", auc=auc, summary="ok"),),
            }
            train = store.record(
                run_id,
                "train",
                "train",
                COMPLETE,
                inputs={"examples": gen.outputs["examples"]},
                outputs=outputs,
                output_parameters={"epochs": 3},
            )
            model = {"model": train.outputs["model"]}
            if auc > 0.6:
                store.record(run_id, "push", "push", CANCELED, error="its condition is [false]")
                store.finish_run(run_id, RunState.COMPLETE)
            else:
                store.record(run_id, "push", "push", FAILED, inputs=model, error="Disk [full].")
                store.finish_run(run_id, RunState.FAILED, "push failed.")
    return folder


def place(folder, step, name, kind, **metadata):
    path = folder / step / name
    path.mkdir(parents=True)
    (path / "data").write_text(folder.name + name)
    digest = f"sha256:{name}{folder.name}".ljust(71, "0")
    return Artifact(str(path), f"system.{kind}", name, digest, metadata)


def call(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def as_json(*arguments):
    return json.loads(call(*arguments, "--json"))


def test_list_shows_every_run_newest_first(root):
    lines = call("runs", "list", "--root", root).splitlines()

    assert lines[0].split() == ["Run", "Pipeline", "State", "Started", "Duration", "Steps"]
    assert lines[1].startswith("20260102-bb  flights   failed")
    assert lines[1].rstrip().endswith("1 cached, 1 complete, 1 failed")
    assert lines[2].startswith("20260101-aa  flights   complete")
    newest, oldest = as_json("runs", "list", "--root", root)
    assert newest["steps"] == {"CACHED": 1, "COMPLETE": 1, "FAILED": 1}
    assert (oldest["id"], oldest["state"]) == ("20260101-aa", "COMPLETE")


def test_list_of_one_pipeline_and_of_none(root):
    assert len(as_json("runs", "list", "--root", root, "--pipeline", "flights", "-n", 1)) == 1
    assert "No runs yet." in call("runs", "list", "--root", root, "--pipeline", "taxi")


def test_show_says_what_happened(root):
    text = call("runs", "show", "latest", "--root", root)

    for words in (
        "flights 20260102-bb",
        "push failed.",
        "steps  500",
        "Disk [full].",
        "epochs=3",
        "train/model",
        "train/metrics.auc  0.58",
    ):
        assert words in text
    shown = as_json("runs", "show", "20260101", "--root", root)
    assert [step["state"] for step in shown["steps"]] == ["COMPLETE", "COMPLETE", "CANCELED"]
    (model,) = shown["steps"][1]["outputs"]["model"]
    assert model["type"] == "system.Model" and Path(model["uri"]).is_dir()
    assert shown["steps"][1]["metrics"] == {"train/metrics.auc": 0.71}


def test_compare_marks_what_differs(root):
    compared = as_json("runs", "compare", "20260101", "20260102", "--root", root)

    def different(part):
        return {pair["name"] for pair in compared[part] if not pair["same"]}

    assert different("parameters") == {"auc"}
    assert different("steps") == {"push"}  # complete and cached are the same
    assert different("artifacts") == {"train/model", "train/metrics"}
    assert different("metrics") == {"train/metrics.auc"}
    assert different("output_parameters") == set()
    text = call("runs", "compare", "20260101", "20260102", "--root", root)
    assert "≠  train/metrics.auc  0.71" in text and "steps" not in text
    assert text.rstrip().endswith("5 different, 5 the same.")
    assert "   steps" in call("runs", "compare", "20260101", "20260102", "--all", "--root", root)


def test_run_is_the_same_as_itself(root):
    assert "0 different" in call("runs", "compare", "latest", "latest", "--root", root)


def test_lineage_is_a_tree_and_a_picture(root, tmp_path):
    picture = tmp_path / "model.svg"

    text = call("lineage", "model@latest", "--root", root, "--picture", picture)

    lines = [line.strip("│├└─ ") for line in text.splitlines()]
    assert lines[0].startswith("Model #4")
    assert lines.index("came from") < lines.index("led to")
    order = ["train flights 20260102-bb", "Examples #1", "gen flights 20260101-aa", "led to"]
    order += ["push flights 20260102-bb, failed"]
    positions = [next(i for i, x in enumerate(lines) if x.startswith(words)) for words in order]
    assert positions == sorted(positions)
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert f"Wrote {picture}" in text


def test_lineage_as_json(root):
    found = as_json("lineage", root / "flights/20260101-aa/gen/examples/data", "--root", root)

    assert found["artifact"] == 1 and [s["task"] for s in found["origins"]] == ["gen"]
    assert [(s["task"], s["run_id"]) for s in found["uses"]] == [
        ("train", "20260101-aa"),
        ("train", "20260102-bb"),
        ("push", "20260102-bb"),
    ]


def test_gc_says_what_it_would_do_and_does_it_when_told(root):
    old, new = root / "flights/20260101-aa", root / "flights/20260102-bb"

    text = call("gc", "--keep", 1, "--root", root)
    assert "Would delete 2 artifacts and 0 run folders" in text and "--delete" in text
    assert (old / "train/model/data").is_file()

    done = as_json("gc", "--keep", 1, "--delete", "--root", root)
    assert done["deleted"] and done["kept"] == ["20260102-bb"] and done["bytes"] > 0
    assert not (old / "train/model").exists()
    assert (old / "gen/examples/data").is_file(), "the newer run took it from the cache"
    assert (new / "train/model/data").is_file()
    assert "deleted" in call("runs", "show", "20260101", "--root", root)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("gc",), "Say what to keep: --keep N, --keep-run RUN or --newer-than AGE"),
        (("gc", "--newer-than", "soon"), "--newer-than soon is no age; write a number and"),
        (("gc", "--keep-run", "banana"), "knows no run banana"),
        (("runs", "show", "banana"), "knows no run banana"),
        (("runs", "compare", "latest", "banana"), "knows no run banana"),
        (("lineage", "banana"), "knows no artifact banana"),
        (("lineage", "1", "--picture", "/proc/x.svg"), r"cannot be written to /proc/x\.svg"),
    ],
)
def test_wrong_request_is_a_sentence(root, arguments, sentence):
    with pytest.raises(PenstockError, match=sentence):
        CliRunner().invoke(cli, [*arguments, "--root", str(root)], catch_exceptions=False)


def test_command_without_a_store_says_so_and_makes_none(tmp_path):
    program = "from penstock.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "runs", "list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2 and "There is no metadata store at" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_commands_are_loaded_late():
    program = (
        "import sys; import penstock.cli.main; "
        "print([m for m in ('sqlalchemy', 'alembic', 'rich', 'kfp') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
