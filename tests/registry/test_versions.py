"""A model becomes a version of its product once, whole, with what is known of it."""

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from penstock.components.champion_resolver.executor import resolve_champion
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.metadata.garbage import Keep, delete_garbage
from penstock.metadata.store import Store
from penstock.metadata.values import Artifact, ExecutionState, RunState
from penstock.registry.champion import resolve
from penstock.registry.connection import open_registry
from penstock.registry.promotion import promote
from penstock.registry.registration import register_version
from penstock.registry.versions import fetch_version, products, version, versions

from .conftest import write_blessing


def test_a_registered_model_comes_back_as_it_was(registry, product, trained, tmp_path):
    model, blessing = trained("one")

    made = register_version(registry, product, model, blessing, pipeline="flights", run="r1")
    shutil.rmtree(model)
    again = version(registry, product, made.number)
    fetch_version(registry, again, tmp_path / "fetched")

    assert (made.number, again) == (1, made)
    assert digest_path(tmp_path / "fetched" / "serving") == made.digest == blessing.model_digest
    assert sorted(p.name for p in (tmp_path / "fetched").iterdir()) == ["model.json", "serving"]
    assert made.metrics == {"auc": 0.7}
    assert made.stands() == (True, "auc is 0.7.")
    assert (made.facts["pipeline"], made.facts["run"], made.facts["seed"]) == ("flights", "r1", 7)
    assert product in products(registry) and f"{product}.deployments" not in products(registry)
    tracked = registry.client.get_run(made.tracking_run).data
    assert (tracked.metrics, tracked.params) == ({"auc": 0.7}, {"units": "16"})


def test_the_same_content_is_one_version_and_takes_the_newer_blessing(
    registry, product, trained, tmp_path
):
    model, blessing = trained("one", blessed=False)
    other, others = trained("two")
    first = register_version(registry, product, model, blessing)
    second = register_version(registry, product, other, others)
    (model.parent / "blessing" / "blessing.json").unlink()
    (model.parent / "blessing").rmdir()
    better = write_blessing(model.parent, model, True, None, 0.9)
    again = register_version(registry, product, shutil.copytree(model, tmp_path / "copy"), better)

    assert [first.number, second.number, again.number] == [1, 2, 1]
    assert first.stands()[0] is False and again.stands() == (True, "auc is 0.9.")
    assert again.metrics == {"auc": 0.9}
    assert [one.number for one in versions(registry, product)] == [1, 2]


def test_a_forced_blessing_ends(registry, product, trained):
    end = datetime.now(timezone.utc) + timedelta(days=1)
    forced = {"by": "ann", "reason": "demo", "expires": end.isoformat()}
    model, blessing = trained("one", blessed=False, forced=forced)

    made = register_version(registry, product, model, blessing)

    assert made.stands()[0] is True
    assert made.stands(end - timedelta(seconds=1))[0] is True
    late, reason = made.stands(end)
    assert late is False and "forced by ann expired" in reason


def test_a_model_without_a_blessing_is_not_blessed(registry, product, trained):
    model, _ = trained("one")

    made = register_version(registry, product, model)

    assert made.stands() == (False, "It was registered without a blessing.")
    assert (made.blessing, made.metrics) == (None, {})


def test_what_cannot_be_registered_fails_with_a_sentence(folder, trained, tmp_path):
    registry = open_registry(folder)
    model, _ = trained("one")
    _, others = trained("two")

    def refused(sentence, product="flights", model=model, blessing=None):
        with pytest.raises(PenstockError) as raised:
            register_version(registry, product, model, blessing)
        assert sentence in str(raised.value)
        assert products(registry) == []

    refused("There is no model at", model=tmp_path / "nothing")
    refused("is of another model", blessing=others)
    for name in ("", "a/b", ".x", "flights.deployments", "x" * 101, "a b", "models:/a"):
        refused("cannot be a product's name", product=name)
    (model / "model.json").write_text("[]")
    refused("is not what the trainer wrote (it is no object)")


def test_there_is_no_such_version_says_which_there_are(folder, trained):
    registry = open_registry(folder)
    register_version(registry, "flights", *trained("one"))

    with pytest.raises(PenstockError, match=r"flights has no version 7 .* \(it has 1\)"):
        version(registry, "flights", 7)
    with pytest.raises(PenstockError, match=r"trains has no version 1 .* \(it has none\)"):
        version(registry, "trains", 1)


@pytest.mark.parametrize("fault", ["changed", "gone"])
def test_files_that_are_not_what_was_registered_are_not_given_out(folder, trained, tmp_path, fault):
    registry = open_registry(folder)
    made = register_version(registry, "flights", *trained("one"))
    if fault == "changed":
        (Path(made.source) / "serving" / "saved_model.pb").write_text("tampered")
    else:
        shutil.rmtree(made.source)

    with pytest.raises(PenstockError, match="of flights"):
        fetch_version(registry, made, tmp_path / "fetched")

    assert not (tmp_path / "fetched").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("tmp")] == []


def test_where_a_registry_can_lie(tmp_path, monkeypatch):
    def refused(where, sentence, **options):
        with pytest.raises(PenstockError) as raised:
            open_registry(where, **options)
        assert sentence in str(raised.value)

    file = tmp_path / "file"
    file.write_text("x")
    refused(" ", "The registry is not said")
    refused("postgresql://host/db", "start an MLflow server on that database")
    refused(file, "cannot be written to")
    refused(tmp_path / "nothing", "There is no registry at", create=False)
    assert not (tmp_path / "nothing").exists()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PenstockError, match="could not list its products"):
        products(open_registry("http://127.0.0.1:9"))


def test_two_that_open_a_new_registry_at_once_both_can(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from penstock.registry.connection import open_registry\n"
        "from penstock.registry.versions import products\n"
        "print(products(open_registry(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "new")]

    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    assert [process.communicate()[0] for process in both] == ["[]\n", "[]\n"]


def test_the_facts_are_json_that_others_can_read(registry, product, trained):
    made = register_version(registry, product, *trained("one"))

    raw = registry.client.get_model_version(product, "1")

    assert json.loads(raw.tags["penstock.facts"]) == made.facts
    assert raw.tags["penstock.blessed"] == "true"


def test_cleaning_up_runs_leaves_what_was_registered_and_what_a_kept_run_was_given(
    trained, tmp_path
):
    # Given a registry among the runs, a model that a run has trained, and the champion that a later
    # run was given
    runs = tmp_path / "runs"
    where = str(runs / "registry")
    registry = open_registry(where)
    model, blessing = trained("one")
    made = register_version(registry, "flights", model, blessing)
    promote(registry, "flights", made.number)
    given = runs / "flights" / "r2" / "champion"
    with Store.open(str(runs / "metadata.sqlite")) as store:
        for run, place in (("r1", runs / "flights" / "r1" / "model"), ("r2", given)):
            store.start_run(run, "flights", "d", {}, place.parent)
            if run == "r1":
                shutil.copytree(model, place)
            else:
                resolve_champion(
                    place, place.parent / "blessing", str(runs / "registry"), "flights"
                )
            one = Artifact(str(place), "system.Model", "model", digest_path(place))
            store.record(run, "step", "c", ExecutionState.COMPLETE, outputs={"model": (one,)})
            store.finish_run(run, RunState.COMPLETE)

        garbage = delete_garbage(store, runs, Keep(last=1))

    assert [run.id for run in garbage.dropped] == ["r1"]
    assert not (runs / "flights" / "r1").exists()
    assert digest_path(given / "serving") == made.digest
    again = resolve(open_registry(where), "flights")
    fetch_version(registry, again, tmp_path / "fetched")
    assert digest_path(tmp_path / "fetched" / "serving") == made.digest
