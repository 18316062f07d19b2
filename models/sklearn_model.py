"""scikit-learn models, stored by skops: no pickle is written or read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skops.io

from ..errors import PenstockError
from .estimators import Estimator, Matrix, check_classes, not_fitted

FILE = "estimator.skops"

# What scikit-learn's estimators hold and skops does not trust by itself. None runs anything when it
# is made; a damaged tree could at worst read what is not its own.
TRUSTED = (
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance32",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


class SklearnModel(Estimator):
    """A scikit-learn estimator or pipeline behind its preprocessing."""

    kind = "sklearn"

    @classmethod
    def check(cls, model: Any) -> tuple[Any, int]:
        """Take an estimator that is fitted and, if it classifies, gives probabilities."""
        from sklearn.base import is_classifier
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(model)
        except (NotFittedError, TypeError) as error:
            raise not_fitted(model) from error
        if not is_classifier(model):
            return model, 1
        if not hasattr(model, "predict_proba"):
            raise PenstockError(
                f"The classifier {type(model).__name__} gives no probabilities; wrap it in "
                "CalibratedClassifierCV, or use one with predict_proba."
            )
        return model, check_classes(model.classes_)

    @classmethod
    def read(cls, folder: Path) -> Any:
        """Read the estimator, refusing types that are not trusted."""
        _check_types(folder / FILE, f"The model at {folder}")
        return skops.io.load(folder / FILE, trusted=list(TRUSTED))

    def write(self, folder: Path) -> None:
        """Write the estimator, refusing types that would not be trusted when it is loaded."""
        skops.io.dump(self.fitted, folder / FILE)
        _check_types(folder / FILE, f"The {type(self.fitted).__name__} that run_fn returned")

    def ask(self, matrix: Matrix) -> Any:
        """Return the probability of class 1, of each class, or the value."""
        if not hasattr(self.fitted, "predict_proba"):
            return self.fitted.predict(matrix)
        chances = self.fitted.predict_proba(matrix)
        return chances[:, 1] if chances.shape[1] == 2 else chances


def _check_types(file: Path, what: str) -> None:
    try:
        unknown = set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED)
    except Exception as error:  # skops lets zipfile's, json's and its own errors through
        raise PenstockError(
            f"{file} is not a scikit-learn model stored by skops ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}); export it again."
        ) from error
    if unknown:
        raise PenstockError(
            f"{what} holds types that are not trusted: {', '.join(sorted(unknown))}; use "
            "scikit-learn's own estimators and functions, or export a kind of your own "
            "(penstock.models.model)."
        )
