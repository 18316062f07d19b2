"""The same flights by scikit-learn: gradient-boosted trees on histograms."""

from .features import FEATURES

__all__ = ["FEATURES", "run_fn"]


def run_fn(fn_args):
    """Fit the trees to the transformed features as one matrix."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=fn_args.hyperparameters.get("learning_rate", 0.1),
        max_iter=fn_args.hyperparameters.get("rounds", 60),
        random_state=fn_args.seed,
    )
    return model.fit(*fn_args.train_matrix())
