"""Where a registry lies: a folder of its own, or an MLflow server."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PenstockError

DATABASE = "registry.sqlite"
ARTIFACTS = "artifacts"
LOCK = "lock"
# A registry tells nobody what it does, and prints nothing, unless its owner says otherwise.
QUIET = (
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
    ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
)
# Products are MLflow's registered models; this ending is kept for their deployments.
DEPLOYMENTS = ".deployments"
_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Registry:
    """An open registry.

    Attributes:
        where: The folder or the server's URI, as it was given.
        client: MLflow's client, for tracking and registry alike.
        folder: The folder; None for a server.
    """

    where: str
    client: Any
    folder: Path | None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold a folder's lock while writing: SQLite has one writer. A server needs none."""
        if self.folder is None:
            yield
            return
        with _locked(self.folder):
            yield

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn MLflow's errors into a sentence about `what` was to be done.

        Raises:
            PenstockError: MLflow refused, or was not reachable.
        """
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise PenstockError(
                f"The registry at {self.where} could not {what} ({reason}); see that it is "
                "reachable and that you may use it, and try again."
            ) from error


def open_registry(where: str | os.PathLike[str], *, create: bool = True) -> Registry:
    """Open a registry.

    Args:
        where: A folder, which holds an SQLite database and the models' files; or the URI of an
            MLflow server, `http://` or `https://`, whose credentials are what MLflow reads from
            the environment (`MLFLOW_TRACKING_USERNAME`, `MLFLOW_TRACKING_TOKEN` and so on).
        create: Make the folder's registry if there is none.

    Raises:
        PenstockError: It is neither, MLflow is not installed, there is no registry and none is to
            be made, or the folder cannot be written to.
    """
    text = str(where).strip()
    if not text:
        raise PenstockError("The registry is not said; give a folder or an MLflow server's URI.")
    if text.startswith(("http://", "https://")):
        return Registry(text, _client(text), None)
    if "://" in text:
        raise PenstockError(
            f"The registry {text!r} is neither a folder nor a server; give a folder's path, or "
            "start an MLflow server on that database and give its http:// or https:// URI."
        )
    folder = Path(text).expanduser().absolute()
    database = folder / DATABASE
    if not database.exists() and not create:
        raise PenstockError(
            f"There is no registry at {folder}; give the folder or the MLflow server that models "
            "were registered in."
        )
    with _locked(folder):
        # MLflow makes and migrates its tables at the first call, which two must not do at once.
        client = _client(f"sqlite:///{database}")
        registry = Registry(text, client, folder)
        with registry.asking("be opened"):
            client.search_registered_models(max_results=1)
    return registry


def check_product(product: str) -> str:
    """Return the product's name if it can be one.

    Raises:
        PenstockError: It cannot.
    """
    if not _PRODUCT.fullmatch(product) or product.endswith(DEPLOYMENTS):
        raise PenstockError(
            f"{product!r} cannot be a product's name; use letters, digits, '_', '-' and '.', "
            f"beginning with a letter or digit, at most 100, not ending in {DEPLOYMENTS!r}."
        )
    return product


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel gives back when its holder dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise PenstockError(
            f"The registry's folder {folder} cannot be written to ({error.strerror}); give one "
            "that can."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _client(uri: str) -> Any:
    for quiet in QUIET:
        os.environ.setdefault(*quiet)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise PenstockError(
            "The registry needs MLflow, which is not installed; install penstock[registry]."
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)
