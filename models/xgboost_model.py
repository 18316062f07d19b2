"""XGBoost models, in XGBoost's own JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xgboost

from ..errors import PenstockError
from .estimators import Estimator, Matrix, not_fitted

FILE = "booster.json"


class XGBoostModel(Estimator):
    """An XGBoost booster behind its preprocessing."""

    kind = "xgboost"

    @classmethod
    def check(cls, model: Any) -> tuple[Any, int]:
        """Take a `Booster`, or that of an `XGBModel`, up to its best round."""
        try:
            booster = model if isinstance(model, xgboost.Booster) else model.get_booster()
            rounds = booster.num_boosted_rounds()
        except Exception as error:  # scikit-learn's NotFittedError, or XGBoost's own
            raise not_fitted(model) from error
        learner = json.loads(booster.save_config())["learner"]
        if learner["objective"]["name"] == "multi:softmax":
            raise PenstockError(
                "The XGBoost model's objective is multi:softmax, which gives a class and no "
                "probabilities; use multi:softprob."
            )
        best = booster.attr("best_iteration")
        if best is not None and int(best) + 1 < rounds:
            booster = booster[: int(best) + 1]
        return booster, max(1, int(learner["learner_model_param"]["num_class"]))

    @classmethod
    def read(cls, folder: Path) -> Any:
        """Read the booster."""
        booster = xgboost.Booster()
        try:
            booster.load_model(folder / FILE)
        except (xgboost.core.XGBoostError, OSError, ValueError) as error:
            raise PenstockError(
                f"XGBoost {xgboost.__version__} does not read {folder / FILE}; export the model "
                "again with the version installed here."
            ) from error
        return booster

    def write(self, folder: Path) -> None:
        """Write the booster."""
        self.fitted.save_model(folder / FILE)

    def ask(self, matrix: Matrix) -> Any:
        """Return what the objective gives: a probability or value, or one per class."""
        rows = xgboost.DMatrix(matrix, feature_names=self.fitted.feature_names)
        return self.fitted.predict(rows)
