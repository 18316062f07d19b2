"""`penstock models`, as one types it."""

import json
import shutil

import pytest
from click.testing import CliRunner

from penstock.cli.main import cli
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.registry.connection import open_registry
from penstock.registry.promotion import challenge


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A registry with three versions, the third not blessed, filled by the command itself."""
    folder = tmp_path_factory.mktemp("models")
    open_registry(folder / "registry")
    for number, auc in ((1, 0.7), (2, 0.75), (3, 0.5)):
        model, blessing = folder / f"model-{number}", folder / f"blessing-{number}"
        (model / "serving").mkdir(parents=True)
        (model / "serving" / "saved_model.pb").write_text(str(number))
        (model / "model.json").write_text(json.dumps({"hyperparameters": {"units": 8 * number}}))
        blessing.mkdir()
        record = {
            "blessed": number != 3,
            "reason": f"auc is {auc}.",
            "model_digest": digest_path(model / "serving"),
            "checks": [{"metric": "auc", "of": "value", "slice": {}, "value": auc}],
        }
        (blessing / "blessing.json").write_text(json.dumps(record))
        done = call(folder, "register", "flights", str(model), "--blessing", str(blessing))
        assert done == f"flights has this model as version {number}. auc is {auc}.\n"
    return folder


@pytest.fixture
def place(filled, tmp_path):
    """A copy; the files that the registry's database names stay where they are."""
    shutil.copytree(filled / "registry", tmp_path / "registry")
    return tmp_path


def call(place, *arguments):
    options = ["--registry", str(place / "registry")]
    done = CliRunner().invoke(cli, ["models", *arguments, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def rows(output):
    return [line.split() for line in output.splitlines()]


def test_promote_rollback_and_what_is_told_of_it(place):
    serve = place / "serve"

    promoted = call(place, "promote", "flights", "1", "--destination", str(serve), "--by", "ann")
    call(place, "promote", "flights", "2", "--why", "better", "--by", "ben")
    back = call(place, "rollback", "flights", "--why", "slow", "--by", "cy")

    assert promoted == f"Version 1 is the champion of flights, served from {serve / '1'}.\n"
    assert back == f"Version 1 is the champion of flights, served from {serve / '3'}.\n"
    assert (serve / "3" / "saved_model.pb").read_text() == "1"
    history = rows(call(place, "history", "flights"))
    assert [row[:2] for row in history[1:]] == [
        ["rollback", "1"],
        ["promote", "2"],
        ["promote", "1"],
    ]
    assert history[1][-3:] == ["cy", "slow", str(serve / "3")]
    assert "now" in history[1] and "now" not in history[2]
    told = json.loads(call(place, "history", "flights", "--json"))
    assert [(e["kind"], e["version"], e["by"]) for e in told] == [
        ("promote", 1, "ann"),
        ("promote", 2, "ben"),
        ("rollback", 1, "cy"),
    ]
    assert told[0]["until"] == told[1]["at"] and told[2]["until"] is None


def test_a_challenger_is_withdrawn(place):
    call(place, "promote", "flights", "1")
    challenge(open_registry(place / "registry"), "flights", 2, where="")

    said = call(place, "withdraw", "flights", "--why", "slow", "--by", "cy")

    assert said == "Version 2 is no longer the challenger of flights.\n"
    assert rows(call(place, "list"))[1] == ["flights", "3", "1", "-"]
    assert rows(call(place, "history", "flights"))[1][:2] == ["withdraw", "2"]


def test_list_names_products_versions_and_roles(place):
    call(place, "promote", "flights", "1")
    call(place, "promote", "flights", "2")

    assert rows(call(place, "list"))[1] == ["flights", "3", "2", "-"]
    listed = rows(call(place, "list", "flights"))[1:]
    assert [row[:3] for row in listed] == [
        ["3", "no", "auc"],
        ["2", "champion", "yes"],
        ["1", "previous", "yes"],
    ]
    told = json.loads(call(place, "list", "--json"))
    assert [(v["version"], v["role"], v["blessed"]) for v in told["flights"]] == [
        (1, "previous", True),
        (2, "champion", True),
        (3, "", False),
    ]


def test_show_and_compare(place):
    call(place, "promote", "flights", "2")

    shown = call(place, "show", "flights")
    compared = call(place, "compare", "flights", "1", "champion")

    assert shown.splitlines()[0].split() == ["flights", "version", "2", "champion"]
    assert "blessed: auc is 0.75." in shown and '{"units": 16}' in shown
    assert ["metrics.auc", "0.7", "0.75", "+0.05"] in rows(compared)
    assert ["facts.hyperparameters.units", "8", "16"] in rows(compared)
    told = json.loads(call(place, "compare", "flights", "1", "2", "--json"))
    assert told["metrics.auc"] == {"left": 0.7, "right": 0.75}


def test_nothing_yet_is_said(place, tmp_path):
    assert "flights was never deployed" in call(place, "history", "flights")
    assert "No versions of trains" in call(place, "list", "trains")
    open_registry(tmp_path / "empty" / "registry")
    assert "No models in the registry" in call(tmp_path / "empty", "list")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("promote", "flights", "3"), "is not blessed: auc is 0.5; promote a blessed one"),
        (("promote", "flights", "9"), "has no version 9"),
        (("promote", "flights", "best"), "'best' is no version"),
        (("promote", "flights", "previous"), "flights has no previous"),
        (("promote", "flights", "1", "--expect", "2"), "is none by now, not 2"),
        (("rollback", "flights"), "no earlier champion"),
        (("show", "trains"), "trains has no champion"),
        (("show", "a/b"), "cannot be a product's name"),
    ],
)
def test_what_cannot_be_done_says_why(place, arguments, sentence):
    with pytest.raises(PenstockError) as raised:
        call(place, *arguments)

    assert sentence in str(raised.value)
    assert call(place, "history", "flights").startswith("flights was never deployed")


def test_reading_makes_no_registry(tmp_path):
    with pytest.raises(PenstockError, match="There is no registry at"):
        call(tmp_path, "list")

    assert list(tmp_path.iterdir()) == []
