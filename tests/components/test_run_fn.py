"""What a `run_fn` may return and be given: Keras by `keras_run_fn`, and models beyond Keras."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

import penstock
from penstock.components.trainer.executor import train
from penstock.components.trainer.scale import Scale
from penstock.components.transform.executor import fit_transform
from penstock.data.digest import digest_path
from penstock.data.examples import read_table
from penstock.errors import PenstockError
from penstock.models.loading import load_model
from penstock.models.parity import read_parity
from penstock.models.transform_graph import read_transform_graph
from penstock.training.author import load_author_module
from penstock.training.fn_args import FnArgs
from penstock.training.reporting import Pruned
from penstock.training.trained import train_model

MODULE = str(Path(__file__).parent / "authors" / "chosen.py")


def trips(rows: int, seed: int, carriers=("UA", "B6", "EV")) -> pa.Table:
    """Rows of which one in five is late, the far ones rather; the first carrier leads."""
    random = np.random.default_rng(seed)
    distance = random.gamma(4.0, 250.0, rows)
    late = random.random(rows) < 1 / (1 + np.exp(-(distance - 1400) / 250))
    carrier = random.choice(carriers, rows, p=[0.5, 0.3, 0.2])
    return pa.table({"distance": distance, "carrier": carrier, "late": late.astype(np.int64)})


@pytest.fixture(scope="module")
def given(write_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    return write_artifacts(folder, {"train": trips(2000, 0), "eval": trips(800, 1)}, shards=2)


@pytest.fixture(scope="module")
def graph(given, tmp_path_factory) -> Path:
    return fit(given, tmp_path_factory.mktemp("graph") / "graph")


def fit(given, path: Path, **settings) -> Path:
    fit_transform(given.examples, given.statistics, given.schema, path, MODULE, **settings)
    return path


def run(given, graph, path, does, hyperparameters=None, train_steps=60, config=None, **settings):
    return train(
        given.examples,
        graph,
        given.schema,
        path,
        MODULE,
        "late",
        train_steps=train_steps,
        batch_size=100,
        hyperparameters=hyperparameters,
        custom_config={"does": does, **(config or {})},
        **settings,
    )


def arguments(given, graph, folder, does="fits", **settings) -> FnArgs:
    """What a tuner, say, makes for a trial of its own."""
    settings = {"train_steps": 60, "custom_config": {"does": does}, **settings}
    return FnArgs(
        transform=read_transform_graph(graph),
        schema=None,
        label="late",
        batch_size=100,
        seed=0,
        examples=given.examples,
        train_split="train",
        eval_split="eval",
        model_dir=folder,
        **settings,
    )


@pytest.fixture(scope="module")
def champion(given, graph, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("champion") / "model"
    run(given, graph, path, "fits", train_steps=200)
    return path


def weights(model: Path) -> list[np.ndarray]:
    return keras.models.load_model(model / "model.keras").get_weights()


def curves(model: Path) -> dict:
    return json.loads((model / "metrics.json").read_text())["curves"]


def test_curves_reach_metrics_json_and_tensorboard_alike(champion):
    found = curves(champion)
    metrics = json.loads((champion / "metrics.json").read_text())["final"]

    assert set(found) == {"train_loss", "train_auc", "eval_loss", "eval_auc"}
    assert [step for step, _ in found["eval_auc"]] == list(range(20, 201, 20))
    assert metrics["eval_auc"] == pytest.approx(found["eval_auc"][-1][1], abs=1e-6)
    assert metrics == json.loads((champion / "model.json").read_text())["metrics"]
    (events,) = (champion / "run" / "tensorboard").iterdir()
    written = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert written == pytest.approx(
        {(step, name): value for name, points in found.items() for step, value in points}
    )


def test_training_ends_at_the_last_step_also_between_evaluations(given, graph, tmp_path):
    settings = {"settings": {"evaluate_every": 25}}

    summary = run(given, graph, tmp_path / "model", "fits", config=settings)

    assert summary["steps"] == 60
    assert [step for step, _ in curves(tmp_path / "model")["eval_loss"]] == [25, 50, 60]


def test_several_workers_train_by_the_same_lines_as_one(given, graph, tmp_path):
    """Given two processes with class weights, evaluations between the steps and early stopping."""
    settings = {"settings": {"evaluate_every": 25, "patience": 9, "class_weights": "balanced"}}

    alone = run(given, graph, tmp_path / "one", "fits", config=settings, scale=Scale(data_shards=2))
    together = run(
        given,
        graph,
        tmp_path / "two",
        "fits",
        config=settings,
        scale=Scale(strategy="multi_worker", num_workers=2),
    )

    assert together["steps"] == alone["steps"] == 60
    for both in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(*both, atol=1e-4)
    one, two = (curves(tmp_path / name)["eval_loss"] for name in ("one", "two"))
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_epochs_are_steps_over_the_training_rows(given, graph, tmp_path):
    summary = run(given, graph, tmp_path / "model", "fits", epochs=3)

    assert summary["steps"] == 60


def test_early_stopping_keeps_the_best_evaluation(given, graph, tmp_path):
    """Given a rate at which the loss soon rises again."""
    settings = {"settings": {"evaluate_every": 5, "patience": 2, "monitor": "eval_loss"}}

    summary = run(
        given, graph, tmp_path / "model", "fits", {"rate": 3.0}, train_steps=500, config=settings
    )

    losses = curves(tmp_path / "model")["eval_loss"]
    best = min(losses, key=lambda point: point[1])
    assert summary["steps"] == losses[-1][0] == best[0] + 10 < 500
    assert summary["metrics"]["eval_loss"] == pytest.approx(best[1], rel=1e-5)


@pytest.mark.parametrize(
    ("weights_asked", "total"), [("balanced", 1.0), ({0: 1.0, 1: 3.0}, None), (None, None)]
)
def test_class_weights_move_the_mean_prediction(given, graph, tmp_path, weights_asked, total):
    """Given a model of one bias, whose best answer is the weighted share of label 1."""
    late = trips(2000, 0)["late"].to_numpy().mean()
    model = biased(arguments(given, graph, tmp_path, train_steps=300), weights_asked)

    expected = {None: late, "balanced": 0.5}.get(
        weights_asked if not isinstance(weights_asked, dict) else "own", 3 * late / (1 + 2 * late)
    )
    assert float(model(first(given, graph, tmp_path))[0, 0]) == pytest.approx(expected, abs=0.03)
    assert total is None or abs(late - 0.5) > 0.2


def biased(args: FnArgs, asked) -> keras.Model:
    from penstock.training.keras_run import keras_run_fn

    def build(fn_args):
        inputs = fn_args.transform.inputs()
        nothing = keras.ops.zeros_like(inputs["distance"])
        model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(nothing))
        model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
        return model

    return keras_run_fn(args, build, class_weights=asked, verbose=0)


def first(given, graph, folder):
    features, _ = next(iter(arguments(given, graph, folder).eval_data(2)))
    return features


def test_training_starts_from_the_champion(given, graph, tmp_path, champion):
    """Given a rate of nothing, what comes out is what went in."""
    run(given, graph, tmp_path / "new", "fits", {"rate": 0.0}, base_model=champion)

    for new, old in zip(weights(tmp_path / "new"), weights(champion), strict=True):
        np.testing.assert_array_equal(new, old)
    record = json.loads((tmp_path / "new" / "model.json").read_text())
    assert record["base_model_digest"] == digest_path(champion / "serving")


def test_a_champion_of_another_architecture_is_refused(given, graph, tmp_path, champion):
    with pytest.raises(PenstockError, match=r"weights of the shapes \[6, 4\], .* new one \[6, 8\]"):
        run(given, graph, tmp_path / "new", "fits", {"units": 8}, base_model=champion)


def test_a_champion_that_counts_other_categories_is_refused_until_transform_keeps_them(
    write_artifacts, tmp_path, champion
):
    """Given newer rows, in which another carrier is the commonest."""
    later = write_artifacts(
        tmp_path / "later",
        {
            "train": trips(2000, 2, carriers=("EV", "UA", "B6")),
            "eval": trips(800, 3, carriers=("EV", "UA", "B6")),
        },
    )
    own = fit(later, tmp_path / "own")
    kept = fit(later, tmp_path / "kept", base_model=champion)

    with pytest.raises(
        PenstockError, match=r"numbers the values of 'carrier' otherwise .* the same"
    ):
        run(later, own, tmp_path / "new", "fits", base_model=champion)
    run(later, kept, tmp_path / "new", "fits", {"rate": 0.0}, base_model=champion)

    before, after = (
        json.loads((path / "transform.json").read_text())["features"]
        for path in (champion / "transform", kept)
    )
    assert {n: f["state"] for n, f in before.items()} == {n: f["state"] for n, f in after.items()}
    assert {f["source"] for f in after.values()} == {"base_model"}
    rows = read_table(later.examples, "eval")
    np.testing.assert_array_equal(
        load_model(tmp_path / "new").predict(rows), load_model(champion).predict(rows)
    )


def test_what_is_declared_anew_is_fitted_anew(given, tmp_path, champion):
    code = Path(MODULE).read_text().replace('Categorical("carrier")', 'Categorical("carrier", 2)')
    (tmp_path / "author.py").write_text(code)

    summary = fit_transform(
        given.examples,
        given.statistics,
        given.schema,
        tmp_path / "graph",
        str(tmp_path / "author.py"),
        base_model=champion,
    )

    assert summary["sources"] == {"base_model": 1, "statistics": 1}


def test_transform_says_when_the_base_model_is_none(given, tmp_path):
    with pytest.raises(PenstockError, match="does not say how its features were made"):
        fit(given, tmp_path / "graph", base_model=tmp_path)


def test_the_module_of_the_documentation_trains_in_under_40_lines(write_artifacts, tmp_path):
    guide = Path(penstock.__file__).parent / "docs" / "authoring.md"
    (code,) = re.findall(r"```python\n# trips.py\n(.*?)```", guide.read_text(), re.S)
    (tmp_path / "trips.py").write_text(code)
    random = np.random.default_rng(0)
    table = trips(600, 0).append_column("hour", pa.array(random.integers(0, 24, 600)))
    for name in ("tail", "origin", "dest"):
        values = random.choice(["A", "B", "C"], 600)
        table = table.append_column(name, pa.array(values))
    artifacts = write_artifacts(tmp_path / "given", {"train": table, "eval": table})
    folders = (artifacts.examples, artifacts.statistics, artifacts.schema)

    fit_transform(*folders, tmp_path / "graph", str(tmp_path / "trips.py"))
    summary = train(
        artifacts.examples,
        tmp_path / "graph",
        artifacts.schema,
        tmp_path / "model",
        str(tmp_path / "trips.py"),
        "late",
        train_steps=20,
        batch_size=64,
    )

    assert summary["steps"] == 20
    assert len(code.splitlines()) < 40


@pytest.mark.parametrize("does", ["is_sklearn", "is_xgboost"])
def test_models_beyond_keras_are_exported_behind_the_same_preprocessing(
    given, graph, tmp_path, does
):
    summary = run(given, graph, tmp_path / "model", does)
    record = json.loads((tmp_path / "model" / "model.json").read_text())

    rows = read_table(given.examples, "eval")
    answers = load_model(tmp_path / "model").predict(rows)[:, 0]
    labels = rows["late"].to_numpy()
    assert record["kind"] == does.removeprefix("is_") == summary["framework"]
    assert summary["metrics"]["eval_auc"] == pytest.approx(roc_auc_score(labels, answers))
    assert summary["metrics"]["eval_loss"] == pytest.approx(log_loss(labels, answers), rel=1e-5)
    assert summary["metrics"]["eval_auc"] > 0.75
    assert summary["summary"].startswith(f"exported as {summary['framework']}, eval")
    assert {"sklearn": "skops", "xgboost": "xgboost"}[record["kind"]] in record["libraries"]
    if does == "is_xgboost":
        assert len(curves(tmp_path / "model")["train_loss"]) == 5


OWN_KIND = """
import json
import numpy as np
from penstock.models.model import Model, read_description

class Average(Model):
    def __init__(self, base, signature):
        self.base, self.signature = base, signature

    @classmethod
    def load(cls, folder):
        _, signature = read_description(folder)
        return cls(json.loads((folder / "average.json").read_text()), signature)

    def predict(self, rows):
        return np.full((rows.num_rows, 1), self.base, np.float32)
"""


def test_a_kind_of_the_authors_own_is_checked_and_recorded(given, graph, tmp_path, monkeypatch):
    (tmp_path / "average_models.py").write_text(OWN_KIND)
    monkeypatch.syspath_prepend(str(tmp_path))

    summary = run(given, graph, tmp_path / "model", "is_an_own_kind")

    assert summary["framework"] == "average_models:Average"
    assert read_parity(tmp_path / "model").answers.shape == (64, 1)
    with pytest.raises(PenstockError, match="takes 'speed', which the schema does not have"):
        run(given, graph, tmp_path / "new", "is_an_own_kind", config={"column": "speed"})
    with pytest.raises(
        PenstockError, match="takes 'distance' as string; by the schema it is float"
    ):
        run(given, graph, tmp_path / "new", "is_an_own_kind", config={"type": "string"})


def test_run_fn_is_given_the_statistics_when_the_step_is(given, graph, tmp_path):
    mean = float(np.mean(trips(2000, 0)["distance"].to_numpy()))
    config = {"mean": mean}

    run(
        given, graph, tmp_path / "m", "reads_statistics", config=config, statistics=given.statistics
    )

    with pytest.raises(PenstockError, match="the trainer was given none; connect its input"):
        run(given, graph, tmp_path / "n", "reads_statistics", config=config)


def test_a_tuners_reporter_sees_the_curve_and_may_end_the_trial(given, graph, tmp_path):
    """Given a reporter that has seen enough after two evaluations."""
    seen = []

    def report(step, metrics):
        seen.append((step, metrics["eval_auc"]))
        if len(seen) == 2:
            raise Pruned

    with pytest.raises(Pruned):
        train_model(load_author_module(MODULE), arguments(given, graph, tmp_path, reporter=report))

    assert [step for step, _ in seen] == [8, 16]
    assert not (tmp_path / "serving").exists()


def test_a_trial_is_measured_without_an_export(given, graph, tmp_path):
    trained = train_model(load_author_module(MODULE), arguments(given, graph, tmp_path))

    assert trained.steps == 60
    assert trained.metrics["eval_auc"] > 0.7
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize(
    ("does", "settings", "sentence"),
    [
        ("goes_back", {}, "report was given step 4 after step 5"),
        ("is_not_fitted", {}, "The LogisticRegression that run_fn returned is not fitted"),
        ("fits_uncompiled", {}, "that is not compiled; it must return a keras.Model after"),
        ("fits", {"evaluate_every": 0}, "evaluate_every is 0; it must be 1 step or more"),
        ("fits", {"patience": -1}, "patience is -1; it must be 0 evaluations or more"),
        ("fits", {"patience": 1, "monitor": "auc"}, "monitor is 'auc'; it must be a metric as"),
        (
            "fits",
            {"patience": 1, "monitor": "eval_f1"},
            "no metric 'eval_f1' to stop early by; .*eval_auc",
        ),
        ("fits", {"class_weights": {0: 1.0}}, "class_weights say nothing of the label 1"),
    ],
)
def test_what_is_asked_wrongly_gets_a_sentence(given, graph, tmp_path, does, settings, sentence):
    with pytest.raises(PenstockError, match=sentence):
        run(given, graph, tmp_path / "model", does, config={"settings": settings})

    assert list(tmp_path.iterdir()) == []
