"""Connections to the store: SQLite or PostgreSQL, set up alike, failing with sentences."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from ..errors import PenstockError

WRITES = "penstock_writes"


def parse(where: str | Path) -> URL:
    """Return the URL of a store given as a URL or as the path of an SQLite file.

    Args:
        where: `postgresql://user@host/database`, `sqlite:///file`, or a path.

    Raises:
        PenstockError: It is neither.
    """
    text = str(where)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).absolute()))
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise PenstockError(
            "The metadata store's URL cannot be read; write it as "
            "postgresql://user:password@host:port/database or give the path of an SQLite file."
        ) from error
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url.set(database=str(Path(url.database).absolute()))
    if url.drivername != "postgresql+psycopg":
        raise PenstockError(
            f"The metadata store {url.render_as_string(hide_password=True)} is of a kind that is "
            "not supported; use a file of SQLite or a postgresql:// URL."
        )
    return url


def name_of(url: URL) -> str:
    """Return what to call a store in a sentence: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def connect(url: URL, busy_seconds: float) -> Engine:
    """Return an engine whose transactions are short and wait for others.

    SQLite: write-ahead log, foreign keys, and a write transaction takes its lock at once (option
    `WRITES`), since one that first reads cannot wait for another writer. A killed process leaves a
    consistent file; so does a power cut, at worst without the last few transactions.

    Args:
        url: As `parse` returns it.
        busy_seconds: How long to wait for a lock that another process holds.

    Raises:
        PenstockError: The driver for PostgreSQL is not installed.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": busy_seconds}, max_overflow=-1)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", partial(_begin_sqlite, busy_seconds))
        return engine
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,
            max_overflow=-1,
            connect_args={"connect_timeout": max(2, int(busy_seconds))},
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise PenstockError(
            f"The metadata store {name_of(url)} needs the PostgreSQL driver; install it with "
            "pip install 'penstock[postgres]'."
        ) from error
    limit = f"SET lock_timeout = {int(busy_seconds * 1000)}"

    @event.listens_for(engine, "connect")
    def _set_up_postgres(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(limit)
        connection.commit()

    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # the driver opens no transactions of its own
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(busy_seconds: float, connection: Connection) -> None:
    if not connection.get_execution_options().get(WRITES, False):
        connection.exec_driver_sql("BEGIN")
        return
    until = time.monotonic() + busy_seconds
    # SQLite itself asks ever more seldom, and goes without while others write all the time.
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0.001, 0.005))  # noqa: S311 - so that two do not keep step
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")


@contextmanager
def sentences(name: str, busy_seconds: float) -> Iterator[None]:
    """Turn the database's errors that a person can mend into sentences.

    Args:
        name: What to call the store.
        busy_seconds: How long was waited for a lock.

    Raises:
        PenstockError: The store is locked, damaged, full, not writable or not reachable.
    """
    try:
        yield
    except DBAPIError as error:
        what = _explain(str(error.orig), busy_seconds)
        if what is None:
            raise
        raise PenstockError(f"The metadata store {name} {what}") from error


def _explain(text: str, busy_seconds: float) -> str | None:
    """Return the end of the sentence that starts with the store, or None when there is none."""
    known = {
        ("is locked", "lock timeout"): (
            f"has been locked by another process for {busy_seconds:g} s; wait until that one is "
            "done, or end it."
        ),
        ("malformed", "not a database", "corrupt"): (
            "is damaged; restore a copy of it, or move it away and a new one is made."
        ),
        ("readonly", "unable to open", "read-only", "permission denied"): (
            "cannot be written; make it and its folder writable, or choose another place."
        ),
        ("is full", "No space left"): "cannot grow, the disk is full; make room and try again.",
        ("disk I/O error",): "cannot be read or written: the disk reports an error.",
    }
    for signs, sentence in known.items():
        if any(sign in text for sign in signs):
            return sentence
    refused = ("connection failed", "connection is bad", "server closed", "terminating connection")
    if any(sign in text for sign in (*refused, "timeout expired", "failed to resolve host")):
        reason = text.strip().splitlines()[-1].rpartition("FATAL:")[2].strip().rstrip(".")
        return f"cannot be reached: {reason}; check its URL and that the server runs."
    return None
