"""Models of scikit-learn, XGBoost and LightGBM behind the preprocessing they were trained on."""

import os

import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from penstock.errors import PenstockError
from penstock.models.estimators import as_estimator
from penstock.models.loading import load_model, model_kind

try:
    import lightgbm
except OSError as error:  # its wheel counts on the system's libgomp, which slim images lack
    lightgbm, why = None, str(error)
else:
    why = ""

needs_lightgbm = pytest.mark.skipif(lightgbm is None, reason=f"LightGBM does not load: {why}")


def of_lightgbm(name, **settings):
    """A parameter: an estimator of LightGBM's, or nothing where LightGBM does not load."""
    settings = {"verbosity": -1, "num_threads": 1, **settings}
    model = getattr(lightgbm, name)(**settings) if lightgbm else None
    return pytest.param(model, marks=needs_lightgbm, id=name)


def booster(matrix, labels, **settings):
    data = xgboost.DMatrix(matrix, labels, feature_names=[f"f{i}" for i in range(6)])
    return xgboost.train({"objective": "binary:logistic", "nthread": 1, **settings}, data, 5)


def asked(folder, model, transform, rows):
    as_estimator(model, transform).save(folder)
    return load_model(folder).predict(rows)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=5),
        RandomForestClassifier(5, random_state=0),
        KNeighborsClassifier(),
        CalibratedClassifierCV(LinearSVC(), cv=2),
        make_pipeline(StandardScaler(), LogisticRegression()),
        xgboost.XGBClassifier(n_estimators=5, n_jobs=1),
        of_lightgbm("LGBMClassifier", n_estimators=5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_classifier_gives_the_probability_of_label_1(
    tmp_path, transform, rows, matrix, labels, model
):
    model.fit(matrix, labels)

    answers = asked(tmp_path / "model", model, transform, rows)

    assert answers.shape == (600, 1)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers[:, 0], model.predict_proba(matrix)[:, 1], atol=1e-6)
    assert np.std(answers) > 0.01


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingRegressor(n_estimators=5),
        PoissonRegressor(),
        xgboost.XGBRegressor(n_estimators=5, n_jobs=1),
        of_lightgbm("LGBMRegressor", n_estimators=5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_regressor_gives_its_value(tmp_path, transform, rows, matrix, labels, model):
    model.fit(matrix, labels + 0.5)

    answers = asked(tmp_path / "model", model, transform, rows)

    np.testing.assert_allclose(answers[:, 0], model.predict(matrix), rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=3),
        xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
        of_lightgbm("LGBMClassifier", n_estimators=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_more_classes_give_a_probability_each(tmp_path, transform, rows, matrix, labels, model):
    model.fit(matrix, labels + (matrix[:, 4] == 1))

    answers = asked(tmp_path / "model", model, transform, rows)

    assert answers.shape == (600, 3)
    np.testing.assert_allclose(answers, model.predict_proba(matrix), atol=1e-6)


def test_a_booster_trained_on_named_columns_is_asked_without_names(
    tmp_path, transform, rows, matrix, labels
):
    trained = booster(matrix, labels)

    answers = asked(tmp_path / "model", trained, transform, rows)

    expected = trained.predict(xgboost.DMatrix(matrix, feature_names=trained.feature_names))
    np.testing.assert_allclose(answers[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("library", ["xgboost", pytest.param("lightgbm", marks=needs_lightgbm)])
def test_after_early_stopping_the_best_round_answers(
    tmp_path, transform, rows, matrix, labels, library
):
    """Given labels of pure chance in the evaluation rows, so that an early round is best."""
    chance = np.random.default_rng(2).permutation(labels)
    if library == "xgboost":
        model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=30, n_jobs=1)
        model.fit(matrix, labels, eval_set=[(matrix, chance)], verbose=False)
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    else:
        model = lightgbm.LGBMClassifier(n_estimators=40, verbosity=-1, num_threads=1)
        stop = lightgbm.early_stopping(30, verbose=False)
        model.fit(matrix, labels, eval_set=[(matrix, chance)], callbacks=[stop])
        assert model.best_iteration_ < 40

    answers = asked(tmp_path / "model", model, transform, rows)

    np.testing.assert_allclose(answers[:, 0], model.predict_proba(matrix)[:, 1], atol=1e-6)


def test_no_rows_give_no_answers(tmp_path, transform, rows, matrix, labels):
    model = LogisticRegression().fit(matrix, labels)

    assert asked(tmp_path / "model", model, transform, rows.slice(0, 0)).shape == (0, 1)


def test_a_copy_of_serving_alone_is_enough(tmp_path, transform, rows, matrix, labels):
    """As when a server gets a pushed version."""
    estimator = as_estimator(LogisticRegression().fit(matrix, labels), transform)
    estimator.save(tmp_path / "model" / "serving")
    (tmp_path / "model" / "serving").rename(tmp_path / "1")

    pushed = load_model(tmp_path / "1")

    assert model_kind(tmp_path / "1") == "sklearn"
    assert dict(pushed.signature.inputs) == {"carrier": "string", "distance": "float32"}
    np.testing.assert_array_equal(pushed.predict(rows), estimator.predict(rows))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (LogisticRegression(), "The LogisticRegression that run_fn returned is not fitted"),
        (xgboost.XGBClassifier(), "The XGBClassifier that run_fn returned is not fitted"),
    ],
    ids=["sklearn", "xgboost"],
)
def test_a_model_that_is_not_fitted_gets_a_sentence(transform, model, sentence):
    with pytest.raises(PenstockError, match=sentence):
        as_estimator(model, transform)


def test_what_gives_no_probabilities_gets_a_sentence(transform, matrix, labels):
    with pytest.raises(PenstockError, match="LinearSVC gives no probabilities"):
        as_estimator(LinearSVC().fit(matrix, labels), transform)
    with pytest.raises(PenstockError, match="objective is multi:softmax"):
        model = booster(matrix, labels, objective="multi:softmax", num_class=2)
        as_estimator(model, transform)


def test_labels_that_are_no_classes_from_0_get_a_sentence(transform, matrix, labels):
    with pytest.raises(PenstockError, match="knows the classes 1, 2; labels must be 0 to"):
        as_estimator(LogisticRegression().fit(matrix, labels + 1), transform)


def test_what_is_of_no_library_is_no_estimator(transform):
    assert as_estimator({"weights": 1}, transform) is None


def test_code_in_an_estimator_is_neither_exported_nor_loaded(
    tmp_path, transform, rows, matrix, labels
):
    """Given a step whose function would be called, were the file trusted."""
    harmful = make_pipeline(FunctionTransformer(os.path.abspath), LogisticRegression())
    harmless = LogisticRegression().fit(matrix, labels)
    harmful.steps[1] = ("model", harmless)

    with pytest.raises(PenstockError, match=r"that run_fn returned holds types .*abspath"):
        as_estimator(harmful, transform).save(tmp_path / "new")
    as_estimator(harmless, transform).save(tmp_path / "model")
    skops.io.dump(harmful, tmp_path / "model" / "estimator.skops")
    with pytest.raises(PenstockError, match=r"holds types that are not trusted: .*abspath"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        xgboost.XGBClassifier(n_estimators=2, n_jobs=1),
        of_lightgbm("LGBMClassifier", n_estimators=2),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_file_gets_a_sentence(tmp_path, transform, matrix, labels, model, damage):
    names = {"skops": "estimator.skops", "xgboost": "booster.json", "lightgbm": "booster.txt"}
    file = names[type(model).__module__.partition(".")[0].replace("sklearn", "skops")]
    as_estimator(model.fit(matrix, labels), transform).save(tmp_path / "model")
    place = tmp_path / "model" / file
    place.unlink()
    if damage is not None:
        place.write_bytes(damage)

    with pytest.raises(PenstockError, match=file.replace(".", r"\.")):
        load_model(tmp_path / "model")
