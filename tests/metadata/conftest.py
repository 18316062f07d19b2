"""An open store, on SQLite and on PostgreSQL."""

import pytest

from penstock.metadata.store import Store


@pytest.fixture
def store(where):
    with Store.open(where) as opened:
        yield opened
