"""What a worker of the search is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .settings import Search, Training
from .storage import storage_url
from .study import Budget, SharedStudy


@dataclass(frozen=True)
class PreparedFold:
    """A fold that is ready to be trained and scored on.

    Attributes:
        examples: Folder of the Examples.
        train: Their split to learn from.
        eval: Their split to score on.
        train_rows: Rows to learn from.
        eval_rows: Rows to score on.
        begins: In order of time, the validation's first time in words; else empty.
        statistics: Folder of the Statistics of `train`.
        transform_graph: Folder of the TransformGraph fitted to `train`.
    """

    examples: str
    train: str
    eval: str
    train_rows: int
    eval_rows: int
    begins: str
    statistics: str
    transform_graph: str


@dataclass(frozen=True)
class Job:
    """All that a worker needs, as plain data.

    Attributes:
        storage: URL of the study's storage.
        study: The study's name.
        schema: Folder of the Schema.
        search: How it is searched.
        training: How one model is trained.
        folds: What a trial is scored on.
    """

    storage: str
    study: str
    schema: str
    search: Search
    training: Training
    folds: tuple[PreparedFold, ...] = ()

    @property
    def budget(self) -> Budget:
        """Of the whole study."""
        return Budget(self.search.trials, self.search.time_budget)

    def open(self) -> SharedStudy:
        """Open the study, which must exist."""
        url = storage_url(self.storage, self.study)
        return SharedStudy(url, self.study, self.training.seed, self.search.pruner)

    @staticmethod
    def from_plain(content: Mapping[str, Any]) -> Job:
        """Return the job that `dataclasses.asdict` took apart."""
        return Job(
            content["storage"],
            content["study"],
            content["schema"],
            Search(**content["search"]),
            Training(**content["training"]),
            tuple(PreparedFold(**fold) for fold in content["folds"]),
        )
