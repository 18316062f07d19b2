"""Tuners in compiled pipelines: tasks that share a study, and a trainer that takes the best."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from kfp import dsl
from kfp.compiler import Compiler
from sqlalchemy import create_engine, text

from penstock.components import trainer, transform, tuner
from penstock.components.artifacts import Examples, Schema, Statistics
from penstock.components.trainer.executor import train
from penstock.components.transform.executor import fit_transform
from penstock.errors import PenstockError
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, run_pipeline
from penstock.orchestration.spec import parse
from penstock.training.hyperparameters import write_hyperparameters

AUTHORS = Path(__file__).parent / "authors"
TUNABLE, TRIPS = str(AUTHORS / "tunable.py"), str(AUTHORS / "trips.py")


def trips(rows: int) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "distance": pa.array(random.gamma(4.0, 250.0, rows)),
            "carrier": pa.array(random.choice(["UA", "B6"], rows)),
            "hour": pa.array(random.integers(0, 24, rows)),
            "tail": pa.array(random.choice(["N1", "N2", "N3"], rows)),
            "day": pa.array(np.arange(rows) // 20),
            "late": pa.array(random.integers(0, 2, rows)),
        }
    )


def test_parallel_tasks_share_a_study_and_the_last_reports_the_best(
    write_artifacts, database, tmp_path
):
    given = write_artifacts(tmp_path / "given", {"train": trips(600)})

    search = {
        "module": TUNABLE,
        "label": "late",
        "study": "shared",
        "trials": 7,
        "folds": 2,
        "time_column": "day",
        "train_steps": 1,
        "space": {"units": {"type": "int", "low": 1, "high": 64}},
        "hyperparameters": {"units": 21},
    }

    @dsl.pipeline
    def share(examples: dsl.Input[Examples], schema: dsl.Input[Schema], storage: str):
        with dsl.ParallelFor([0, 1]):
            part = tuner(examples=examples, schema=schema, storage=storage, **search)
            part.set_caching_options(False)

    @dsl.pipeline(name="tuned")
    def pipeline(storage: str):
        examples = dsl.importer(artifact_uri=str(given.examples), artifact_class=Examples).output
        schema = dsl.importer(artifact_uri=str(given.schema), artifact_class=Schema).output
        shared = share(examples=examples, schema=schema, storage=storage)
        tuner(examples=examples, schema=schema, storage=storage, **search).after(shared)

    Compiler().compile(pipeline, str(tmp_path / "tuned.yaml"))
    spec = parse((tmp_path / "tuned.yaml").read_text(), "tuned.yaml")
    report = run_pipeline(spec, {"storage": database}, Settings(tmp_path / "runs"))

    assert report.state is State.SUCCEEDED, [step.reason for step in report.steps]
    tables = [pq.read_table(f).to_pylist() for f in tmp_path.glob("runs/**/trials.parquet")]
    assert len(tables) == 3
    for table in tables:
        assert sorted(row["slot"] for row in table) == list(range(7))
        assert {row["state"] for row in table} <= {"complete", "pruned"}
    bests = {file.read_text() for file in tmp_path.glob("runs/**/hyperparameters.json")}
    (best,) = (json.loads(text) for text in bests)
    scores = [row["score"] for row in tables[0] if row["score"] is not None]
    assert best["score"]["mean"] == min(scores)
    with create_engine(database.replace("postgresql://", "postgresql+psycopg://")).connect() as c:
        assert c.execute(text("SELECT count(*) FROM studies")).scalar() == 1
    assert "secret" not in "".join(bests)


def test_a_pipeline_leads_the_best_to_the_trainer(tmp_path):
    @dsl.pipeline(name="led")
    def pipeline():
        kinds = {"examples": Examples, "schema": Schema, "statistics": Statistics}
        given = {
            name: dsl.importer(artifact_uri=name, artifact_class=kind).output
            for name, kind in kinds.items()
        }
        graph = transform(module="m", **given).output
        del given["statistics"]
        tuned = tuner(module="m", label="late", **given)
        trainer(
            transform_graph=graph,
            module="m",
            label="late",
            best_hyperparameters=tuned.outputs["best_hyperparameters"],
            **given,
        )

    Compiler().compile(pipeline, str(tmp_path / "led.yaml"))
    spec = next(yaml.safe_load_all((tmp_path / "led.yaml").read_text()))
    taken = spec["components"]["comp-trainer"]["inputDefinitions"]["artifacts"]
    assert taken["best_hyperparameters"]["artifactType"]["schemaTitle"] == "system.HyperParameters"
    assert taken["best_hyperparameters"]["isOptional"]


@pytest.fixture(scope="module")
def ready(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ready")
    given = write_artifacts(folder, {"train": trips(600), "eval": trips(200)})
    fit_transform(given.examples, given.statistics, given.schema, folder / "graph", TRIPS)
    return given, folder / "graph"


def test_the_trainer_takes_the_best_and_what_is_given_comes_before_it(ready, tmp_path):
    given, graph = ready
    (tmp_path / "best").mkdir()
    write_hyperparameters(tmp_path / "best", {"hyperparameters": {"units": 5, "depth": 2}})
    taken = (given.examples, graph, given.schema, tmp_path / "model", TRIPS, "late")
    options = {"train_steps": 2, "best_hyperparameters": tmp_path / "best"}
    train(*taken, hyperparameters={"depth": 3.0, "more": 1}, **options)
    content = json.loads((tmp_path / "model" / "model.json").read_text())
    assert content["hyperparameters"] == {"units": 5, "depth": 3, "more": 1}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There are no hyperparameters at .*: hyperparameters.json is missing"),
        ("{", "does not hold hyperparameters"),
        ('{"format": 9, "hyperparameters": {}}', "has format 9, this version of Penstock reads 1"),
    ],
)
def test_what_are_no_hyperparameters_is_one_sentence(ready, content, sentence, tmp_path):
    given, graph = ready
    best = Path(tmp_path / "best")
    best.mkdir()
    if content is not None:
        (best / "hyperparameters.json").write_text(content)
    taken = (given.examples, graph, given.schema, tmp_path / "model", TRIPS, "late")
    with pytest.raises(PenstockError, match=sentence):
        train(*taken, best_hyperparameters=best)
