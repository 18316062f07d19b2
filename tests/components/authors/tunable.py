"""An author's module whose scores a test can foresee: no model, only what is reported."""

from penstock.components.transform.features import Numeric

FEATURES = {"distance": Numeric("distance")}


def tuner_space(trial):
    return {
        "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True),
        "units": trial.suggest_int("units", 1, 64),
        "kind": trial.suggest_categorical("kind", ["a", "b"]),
    }


def run_fn(fn_args):
    """Report `(units - 20)^2 / 1000`, after doing what the custom configuration says."""
    chosen, config = fn_args.hyperparameters, fn_args.custom_config
    units = chosen.get("units", 0)
    if config.get("raises"):
        raise RuntimeError(f"{units} units explode")
    if config.get("nan"):
        return fn_args.report(1, {"eval_loss": float("nan")})
    loss = (units - 20) ** 2 / 1000
    for step in (1, 2):
        fn_args.report(step, {"eval_loss": loss / step, "train_loss": 0.5})
    mean = fn_args.transform.features["distance"]["state"]["shift"]
    seen = fn_args.statistics.num_examples
    return fn_args.report(2, {"eval_mean": mean, "eval_seen": seen})
