"""LightGBM models, in LightGBM's own text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm

from ..errors import PenstockError
from .estimators import Estimator, Matrix, not_fitted

FILE = "booster.txt"


class LightGBMModel(Estimator):
    """A LightGBM booster behind its preprocessing."""

    kind = "lightgbm"

    @classmethod
    def check(cls, model: Any) -> tuple[Any, int]:
        """Take a `Booster`, or that of an `LGBMModel`; its best round is its own affair."""
        try:
            booster = model if isinstance(model, lightgbm.Booster) else model.booster_
        except Exception as error:  # scikit-learn's NotFittedError, or LightGBM's own
            raise not_fitted(model) from error
        return booster, int(booster.num_model_per_iteration())

    @classmethod
    def read(cls, folder: Path) -> Any:
        """Read the booster."""
        try:
            return lightgbm.Booster(model_file=folder / FILE)
        except (lightgbm.basic.LightGBMError, OSError, ValueError) as error:
            raise PenstockError(
                f"LightGBM {lightgbm.__version__} does not read {folder / FILE}; export the model "
                "again with the version installed here."
            ) from error

    def write(self, folder: Path) -> None:
        """Write the booster, up to its best round."""
        self.fitted.save_model(folder / FILE)

    def ask(self, matrix: Matrix) -> Any:
        """Return what the objective gives: a probability or value, or one per class."""
        return self.fitted.predict(matrix)
