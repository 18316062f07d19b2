"""The migrations lead to the tables that the code declares."""

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from penstock.metadata import schema
from penstock.metadata.models import Table


def test_newest_revision_is_the_one_the_code_expects():
    config = Config()
    folder = schema.__file__.replace("schema.py", "migrations")
    config.set_main_option("script_location", folder)

    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_migrations_make_the_tables_of_the_models(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda thing, name, kind, *rest: name != schema.VERSION_TABLE,
            },
        )
        assert compare_metadata(context, Table.metadata) == []


def test_sqlite_keeps_a_write_ahead_log_and_checks_references(tmp_path):
    from penstock.metadata.store import Store

    with Store.open(tmp_path / "m.sqlite") as store, store.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
