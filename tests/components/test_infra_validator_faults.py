"""What infra_validator says of models that cannot be served, and that it outlives all of them."""

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from kfp import dsl

from penstock.components import artifacts
from penstock.components.infra_validator.component import infra_validator
from penstock.components.infra_validator.executor import validate_infra
from penstock.errors import PenstockError
from penstock.evaluation.infra_blessing import read_infra_blessing
from penstock.models.model import write_description
from penstock.models.parity import Parity, write_parity

AUTHORS = Path(__file__).parent / "authors"
FEATURES = {"distance": "float32", "carrier": "string"}
# Small requests, so that a model that takes its time is asked quickly too.
POLICY = {"batches": [{"rows": 1}, {"rows": 8}, {"rows": 64}], "threads": 4}


def flights(rows: int) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "distance": pa.array(random.gamma(4.0, 200.0, rows), mask=random.random(rows) < 0.1),
            "carrier": random.choice(["UA", "B6"], rows),
            "late": random.integers(0, 2, rows),
        }
    )


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    splits = {"train": flights(200), "eval": flights(100), "none": flights(0)}
    return write_artifacts(tmp_path_factory.mktemp("given"), splits)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A function that writes a model that serves in some way."""
    monkeypatch.setenv("PYTHONPATH", str(AUTHORS), prepend=os.pathsep)

    def write(how: str = "well", kind: str = "own_kind:Served", features=FEATURES) -> Path:
        folder = tmp_path / "model" / "serving"
        folder.mkdir(parents=True)
        (folder / "how.json").write_text(json.dumps(how))
        write_description(folder, kind, features, 1)
        return folder.parent

    return write


@pytest.fixture
def check(given, tmp_path):
    """A function that validates a model, and returns its verdict and the checks by name."""

    def run(model: Path, split: str = "eval", **policy):
        result = validate_infra(
            model,
            given.examples,
            given.schema,
            tmp_path / "blessing",
            tmp_path / "report.html",
            split,
            {**POLICY, **policy},
        )
        found = read_infra_blessing(tmp_path / "blessing")
        assert (found.blessed, found.reason) == (result["blessed"], result["reason"])
        assert (tmp_path / "report.html").read_text() == (
            tmp_path / "blessing/infra_blessing.html"
        ).read_text()
        return found, {one["check"]: one for one in found.record["checks"]}

    return run


def failed(found) -> dict[str, str]:
    return {c["check"]: c["words"] for c in found.record["checks"] if c["passed"] is False}


def test_a_model_of_an_own_kind_that_serves_well_is_blessed(served, check):
    found, checks = check(served())

    assert found.blessed is True, found.reason
    assert found.reason.startswith("All 14 checks passed: p99 of 1 row ")
    assert found.record["kind"] == "own_kind:Served"
    assert checks["parity"]["passed"] is None
    assert "left no answers" in checks["parity"]["words"]
    assert found.record["warmup_requests"] == 0


@pytest.mark.parametrize(
    ("how", "which", "words"),
    [
        ("gives NaN", "answers", r"\d+ of 64 rows got an answer that is not a finite number"),
        ("loses a row", "answers", r"64 rows got no answer: .*63, 1"),
        ("shares", "concurrency", r"16 requests, 4 at once, .* as alone, and answers differ"),
        ("counts", "repeatability", r"as at first, and answers differ by up to 0\.\d"),
        ("mixes the batch", "batch_independence", r"requests of \d rows? each row should be"),
        ("gives NaN for NaN", "nan", "NaN are answered with what is not a finite number"),
        ("spreads NaN", "empty_string", "other rows of the request are not finite any more"),
        (
            "crashes",
            "process",
            r"crashed \(SIGSEGV\) while asking predict .* with strings of",
        ),
        ("exits", "process", "ended with exit code 3 while asking predict with 64 rows"),
        ("imports the author's module", "load", "trains_it is not there when the model is served"),
        ("imports what trains", "load", r"penstock\.training is not there when the model"),
    ],
)
def test_a_model_that_cannot_be_served_is_told_why(served, check, how, which, words):
    model = served(how)
    (model / "model.json").write_text('{"module": "/authors/trains_it.py"}')

    found, _ = check(model)

    assert found.blessed is False
    assert re.search(words, failed(found)[which])


def test_a_refusal_of_wild_rows_is_an_answer_where_the_policy_takes_it(served, check):
    model = served("refuses")

    found, checks = check(model)
    strict, _ = check(model, wild={"long_string": "answer"})
    lax, recorded = check(model, wild={"long_string": "warn"})
    without, left = check(model, wild={"long_string": "skip"})

    assert found.blessed is True
    assert checks["long_string"]["words"] == (
        "Rows with strings of 100,000 characters are refused: ValueError: carrier is too long."
    )
    assert list(failed(strict)) == ["long_string"]
    assert lax.blessed is True and "are refused" in recorded["long_string"]["words"]
    assert without.blessed is True and "were not sent" in left["long_string"]["words"]
    assert recorded["long_string"]["passed"] is left["long_string"]["passed"] is None


def test_a_model_that_hangs_is_ended_with_all_that_it_started(served, check):
    before = time.monotonic()

    found, _ = check(served("hangs"), timeout_seconds=15)

    assert time.monotonic() - before < 60  # its child sleeps for ten minutes
    assert failed(found)["process"] == (
        "The process had not finished after 15 s and was ended while asking predict with 64 rows."
    )
    child = int(found.record["log"].split("child ")[1].split()[0])
    assert not psutil.pid_exists(child)


def test_what_a_model_leaves_behind_is_ended(served, check, tmp_path, monkeypatch):
    monkeypatch.setenv("LEFT_BEHIND", str(tmp_path / "pid"))

    found, _ = check(served("leaves a child"))

    assert found.blessed is True, found.reason
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_model_that_takes_too_much_memory_is_ended(served, check):
    found, checks = check(served("eats memory"), peak_memory_mib=500)

    assert "held more than 500 MiB of memory and was ended" in failed(found)["process"]
    assert checks["memory"]["passed"] is False and checks["memory"]["value"] > 500


def test_a_model_slower_than_its_budget_is_not_blessed(served, check):
    batches = [{"rows": 1, "p50_ms": 15, "p99_ms": 10_000}, {"rows": 8}]

    found, checks = check(served("is slow"), batches=batches)

    assert list(failed(found)) == ["latency_p50"]
    assert all(
        one["value"] >= 20  # it sleeps so many milliseconds
        for one in found.record["checks"]
        if one["check"].startswith("latency")
    )
    assert checks["latency_p99"]["passed"] is None  # that of 8 rows has no budget


def test_answers_other_than_the_trainers_are_not_blessed(served, check):
    model = served()
    rows = pa.table({"distance": [500.0, None], "carrier": ["UA", "B6"]})
    write_parity(model, Parity(rows, np.array([[1.5], [1.0]], np.float32), 1e-5))
    same, _ = check(model)
    write_parity(model, Parity(rows, np.array([[1.5], [1.001]], np.float32), 1e-5))

    found, checks = check(model)
    allowed, _ = check(model, tolerance=0.01)

    assert same.blessed is True and allowed.blessed is True
    assert list(failed(found)) == ["parity"]
    assert checks["parity"]["value"] == pytest.approx(0.001 / 2.001, rel=1e-3)


def test_nothing_to_check_is_a_failure(served, check):
    found, checks = check(served(), split="none")

    assert found.blessed is False and list(checks) == ["rows"]
    assert found.reason == "Split 'none' of the examples has no rows, so nothing was checked."


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "xgboost"}, "cannot be loaded: There is no transform graph at"),
        ({"kind": "no_such:Kind"}, "needs no_such, and that is not installed here"),
        ({"features": {**FEATURES, "weather": "string"}}, "takes the feature 'weather', which the"),
        ({"features": {"distance": "int64", "carrier": "string"}}, "cannot say that a value is"),
    ],
)
def test_a_model_that_is_not_what_it_says_is_told_so(served, check, wrong, words):
    found, _ = check(served(**wrong))

    assert found.blessed is False
    assert re.search(words, found.reason)


def test_a_damaged_model_is_told_so(served, check):
    model = served()
    (model / "serving/signature.json").write_text('{"format": 1')

    found, _ = check(model)

    assert "does not describe a model" in failed(found)["load"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"policy": "startup: 3"},
            "wrong: .*'startup' was unexpected.*startup_seconds",
        ),
        ({"policy": {"wild": {"nan": "maybe"}}}, "wrong at wild at nan: 'maybe' is not one of"),
        ({"policy": {"batches": []}}, "wrong at batches"),
        ({"policy": "a: [1"}, "infra policy is not YAML"),
        ({"policy": "7"}, "infra policy is int; give keys and values"),
        ({"split": "test"}, "There is no split 'test' in the examples"),
        ({"model": "nowhere"}, "There is no model at nowhere/serving"),
        ({"examples": "nowhere"}, "There are no examples at nowhere"),
        ({"schema": "nowhere"}, "There is no schema at nowhere"),
    ],
)
def test_what_a_person_can_mend_is_an_error_that_leaves_nothing(
    served, given, tmp_path, change, words
):
    call = {"model": served(), "examples": given.examples, "schema": given.schema, **change}

    with pytest.raises(PenstockError, match=words):
        validate_infra(infra_blessing=tmp_path / "blessing", report=tmp_path / "page", **call)

    assert sorted(os.listdir(tmp_path)) == ["model"]


def test_the_step_goes_on_whatever_the_verdict(served, given, tmp_path):
    kinds = {"model": artifacts.Model, "examples": artifacts.Examples, "schema": artifacts.Schema}
    paths = {"model": served("gives NaN"), "examples": given.examples, "schema": given.schema}
    inputs = {name: kind(name=name, uri=str(paths[name])) for name, kind in kinds.items()}
    blessing = artifacts.InfraBlessing(name="infra_blessing", uri=str(tmp_path / "blessing"))

    outputs = infra_validator.python_func(
        **inputs,
        infra_blessing=blessing,
        summary=dsl.Markdown(name="summary", uri=str(tmp_path / "summary/text.md")),
        report=dsl.HTML(name="report", uri=str(tmp_path / "report/page.html")),
        policy=POLICY,
    )

    assert outputs.blessed is False and "not a finite number" in outputs.reason
    assert blessing.metadata["summary"] == outputs.reason
    assert blessing.metadata["failed_checks"] >= 1
    assert (
        "| **failed** | predict | answers, 64 rows |" in (tmp_path / "summary/text.md").read_text()
    )
    assert "Cannot be served</h1>" in (tmp_path / "report/page.html").read_text()


def test_two_at_once_do_not_disturb_each_other(served, given, tmp_path):
    model = served()

    def run(place: int):
        paths = tmp_path / f"blessing-{place}", tmp_path / f"page-{place}"
        return validate_infra(model, given.examples, given.schema, *paths, policy=POLICY)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))

    assert [result["blessed"] for result in results] == [True, True]
    assert read_infra_blessing(tmp_path / "blessing-0").blessed is True
