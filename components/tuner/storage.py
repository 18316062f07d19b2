"""Where a study lies, so that processes share it and it outlives them: SQLite or PostgreSQL."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from ...errors import PenstockError

# Beside the runs of `penstock run`, in the folder where it was called.
DEFAULT_FOLDER = Path("penstock-runs") / "studies"
BUSY_SECONDS = 120


def storage_url(storage: str, study: str) -> URL:
    """Return the URL of the database that a study lies in.

    Args:
        storage: `postgresql://user:password@host/database`, `sqlite:///file` or the path of an
            SQLite file; when empty, a file of the study's own in `DEFAULT_FOLDER`.
        study: The study's name.

    Raises:
        PenstockError: It is neither.
    """
    if "://" not in storage:
        file = Path(storage) if storage else DEFAULT_FOLDER / f"{study}.sqlite"
        return URL.create("sqlite", database=str(file.absolute()))
    try:
        url = make_url(storage)
    except ArgumentError as error:
        raise PenstockError(
            "The storage's URL cannot be read; write it as "
            "postgresql://user:password@host:port/database, or give the path of an SQLite file."
        ) from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite" or url.database in (None, "", ":memory:"):
        raise PenstockError(
            f"The storage {name_of(url)} is of a kind that is not supported; give a file of SQLite "
            "or a postgresql:// URL."
        )
    return url.set(database=str(Path(str(url.database)).absolute()))


def name_of(url: URL) -> str:
    """Return what to call a storage in a sentence: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return str(url.database)
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def open_storage(url: URL) -> optuna.storages.RDBStorage:
    """Return Optuna's storage, with its tables made if they are not there.

    Raises:
        PenstockError: The database cannot be reached, or is not one of Optuna's.
    """
    given = {"timeout": BUSY_SECONDS} if url.get_backend_name() == "sqlite" else {}
    try:
        if url.database and url.get_backend_name() == "sqlite":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        # Two processes at once would both make the tables.
        with exclusive(url):
            return optuna.storages.RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": given, "pool_pre_ping": True},
            )
    except (DBAPIError, OSError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")
        raise PenstockError(
            f"The study cannot be kept in {name_of(url)} ({reason}); give a storage that can be "
            "reached and written to."
        ) from error
    except (ImportError, NoSuchModuleError) as error:
        raise PenstockError(
            f"The storage {name_of(url)} needs the PostgreSQL driver; install it with "
            "pip install 'penstock[postgres]'."
        ) from error


@contextmanager
def exclusive(url: URL) -> Iterator[None]:
    """Keep all other processes that use this storage out of such a block.

    SQLite: a lock on a file beside it. PostgreSQL: an advisory lock, which ends with the
    connection. Neither outlives a killed process.
    """
    if url.get_backend_name() == "sqlite":
        with Path(f"{url.database}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    key = int.from_bytes(hashlib.sha256(b"penstock tuner").digest()[:8], "big", signed=True)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield
