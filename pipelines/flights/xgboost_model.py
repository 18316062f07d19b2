"""The same flights by XGBoost, which says after each round how it is doing."""

from .features import FEATURES

__all__ = ["FEATURES", "run_fn"]


def run_fn(fn_args):
    """Boost until ten rounds have brought nothing on the evaluation split."""
    import xgboost

    class Report(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            fn_args.report(epoch + 1, {f"eval_{n}": v[-1] for n, v in evals_log["eval"].items()})
            return False

    train, evaluation = (
        xgboost.DMatrix(features, labels)
        for features, labels in (fn_args.train_matrix(), fn_args.eval_matrix())
    )
    return xgboost.train(
        {
            "objective": "binary:logistic",
            "eval_metric": ["logloss", "auc"],
            "eta": fn_args.hyperparameters.get("learning_rate", 0.2),
            "max_depth": fn_args.hyperparameters.get("depth", 6),
            "seed": fn_args.seed,
        },
        train,
        num_boost_round=fn_args.hyperparameters.get("rounds", 200),
        evals=[(evaluation, "eval")],
        early_stopping_rounds=10,
        callbacks=[Report()],
        verbose_eval=False,
    )
