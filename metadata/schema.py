"""The store's schema: its version is checked on opening, and older ones are brought up to date."""

import time
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from ..errors import PenstockError
from .engine import WRITES

HEAD = "0001"  # the newest revision under migrations/versions
VERSION_TABLE = "penstock_schema"
MIGRATION_LOCK = 7_305_420  # any number that nobody else locks


def prepare(engine: Engine, name: str, busy_seconds: float) -> None:
    """Create the tables, or bring them up to date, unless they are.

    Several processes may do so at once: one does it, the others wait.

    Args:
        engine: Connects to the store.
        name: What to call the store in a sentence.
        busy_seconds: How long to wait for another process.

    Raises:
        PenstockError: The store was written by a newer Penstock, or is some other database.
    """
    with engine.connect() as connection:
        version = _version(connection)
    if version == HEAD:
        return
    if engine.dialect.name == "sqlite":
        _write_ahead(engine, busy_seconds)
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        version = _version(connection)
        if version is None and (others := _other_tables(connection)):
            raise PenstockError(
                f"{name} is a database of something else: it has the table {others[0]} and no "
                f"{VERSION_TABLE}; give the metadata store a database of its own."
            )
        if version != HEAD:
            _upgrade(connection, name, version)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return found.scalar_one_or_none()


def _other_tables(connection: Connection) -> list[str]:
    return sorted(inspect(connection).get_table_names())


def _write_ahead(engine: Engine, busy_seconds: float) -> None:
    """Switch to SQLite's write-ahead log; the switch itself does not wait for locks."""
    until = time.monotonic() + busy_seconds
    raw = engine.raw_connection()
    try:
        while True:
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL").close()
                return
            except Exception as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise OperationalError("PRAGMA journal_mode = WAL", None, error) from error
                time.sleep(0.02)
    finally:
        raw.close()


def _upgrade(connection: Connection, name: str, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if version is not None and version not in known:
        raise PenstockError(
            f"The metadata store {name} was written by a newer Penstock (schema {version}, this "
            f"one knows up to {HEAD}); upgrade Penstock, or choose another store."
        )
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")
