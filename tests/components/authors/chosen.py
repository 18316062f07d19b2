"""An author's module whose `run_fn` does what `custom_config["does"]` says, beyond Keras too."""

import keras
import numpy as np

from penstock.components.transform.features import Categorical, Numeric
from penstock.training.keras_run import keras_run_fn
from penstock.training.reporting import Pruned

FEATURES = {"distance": Numeric("distance"), "carrier": Categorical("carrier")}


def run_fn(fn_args):
    return globals()[fn_args.custom_config["does"]](fn_args)


def build(fn_args):
    inputs = fn_args.transform.inputs()
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    hidden = keras.layers.Dense(fn_args.hyperparameters.get("units", 4), "relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
    rate = float(fn_args.hyperparameters.get("rate", 0.05))
    auc = keras.metrics.AUC(name="auc")
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=[auc])
    return model


def fits(fn_args):
    """Pass on what `keras_run_fn` is asked for."""
    return keras_run_fn(fn_args, build, verbose=0, **fn_args.custom_config.get("settings", {}))


def fits_uncompiled(fn_args):
    def build_only(fn_args):
        inputs = fn_args.transform.inputs()
        return keras.Model(inputs, inputs["distance"])

    return keras_run_fn(fn_args, build_only)


def is_sklearn(fn_args):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(*fn_args.train_matrix())


def is_xgboost(fn_args):
    import xgboost

    data = xgboost.DMatrix(*fn_args.train_matrix())
    found = {}
    model = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1},
        data,
        5,
        evals=[(data, "train")],
        evals_result=found,
        verbose_eval=False,
    )
    for step, loss in enumerate(found["train"]["logloss"], start=1):
        fn_args.report(step, {"train_loss": loss})
    return model


def is_not_fitted(fn_args):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


def is_pruned(fn_args):
    fn_args.report(1, {"eval_auc": 0.5})
    raise Pruned


def goes_back(fn_args):
    fn_args.report(5, {"eval_auc": 0.5})
    fn_args.report(4, {"eval_auc": 0.6})


def reads_statistics(fn_args):
    (distance,) = (f for f in fn_args.statistics.features if f.path.step[0] == "distance")
    assert np.isclose(distance.num_stats.mean, fn_args.custom_config["mean"])
    return fits(fn_args)


def is_an_own_kind(fn_args):
    from penstock.models.model import write_description

    fn_args.serving_dir.mkdir()
    (fn_args.serving_dir / "average.json").write_text("0.25")
    column = fn_args.custom_config.get("column", "distance")
    kind = {column: fn_args.custom_config.get("type", "float32")}
    write_description(fn_args.serving_dir, "average_models:Average", kind, 1)
